"""Choose where a model runs, and in which precision."""

import os
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ftlab.errors import argument_error, check_choice
from ftlab.rule import GradientRule, Memory, Now, Penalty, Shape

ENGINES = ("auto", "reference", "fast", "fast-fp32")
"""``"fast-fp32"`` has the fast paths without bf16."""


def choose_device(asked: str = "auto") -> str:
    """Return the device to use: what is asked for, else cuda, mps or cpu, the first that is there."""
    check_choice("finetune", "device", asked, ("auto", "cpu", "cuda", "mps"))
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if asked == "auto":
        return next(device for device, present in there.items() if present)
    if not there[asked]:
        present = ", ".join(device for device, is_there in there.items() if is_there)
        raise argument_error("finetune", "device", f"be on this machine ({present})", repr(asked), "Use 'auto'")
    return asked


def choose_engine(asked: str, device: str, *, emulated: bool = False) -> str:
    """Return the engine to use: what is asked for, else fast, in bf16 where the hardware has it and in fp32 elsewhere.

    ===============  =====================================================================
    ``"reference"``  fp32, every text padded to the longest of its batch
    ``"fast"``       products in bf16, texts packed, cheap dropout
    ``"fast-fp32"``  the same in fp32; without dropout it equals the reference
    ===============  =====================================================================

    Args:
        asked: One of these, or ``"auto"``.
        device: ``"cpu"``, ``"cuda"`` or ``"mps"``.
        emulated: Whether to allow ``"fast"`` where bf16 has to be emulated, which is many times slower: for a rehearsal.

    Raises:
        ArgumentError: If the engine is unknown, or one that the device does not have.
    """
    check_choice("finetune", "engine", asked, ENGINES)
    try:
        from ftlab.engines.fast.precision import has_bf16
    except ImportError:  # the folder may be deleted
        return "reference"
    if asked == "fast" and not (emulated or has_bf16(device)):
        do = "Use 'auto', 'fast-fp32' or 'reference'"
        raise argument_error(
            "finetune", "engine", "be one that this device has", f"'fast' on {device} without bf16", do
        )
    if asked != "auto":
        return asked
    return "reference" if device == "mps" else "fast" if has_bf16(device) else "fast-fp32"


@contextmanager
def forward_pass(engine: str, model: nn.Module, batch: Mapping[str, Tensor]) -> Iterator[None]:
    """Run the forward passes of a model as an engine does: its precision, and texts packed where it is a fast one.

    Args:
        engine: As :func:`choose_engine` gives it.
        model: On the device of the batch.
        batch: Padded rows.
    """
    device = next(iter(batch.values())).device.type
    with ExitStack() as stack:
        if engine == "fast":
            recorded = device == "cuda" and torch.cuda.is_current_stream_capturing()
            stack.enter_context(torch.autocast(device, torch.bfloat16, cache_enabled=not recorded))
        if engine != "reference":
            from ftlab.engines.fast.precision import fp32_products
            from ftlab.engines.fast.verdict import packing

            stack.enter_context(packing(model, batch))
            stack.enter_context(fp32_products(device))
        yield


def forward(
    engine: str, model: nn.Module, loss: Callable[..., Tensor], batch: Mapping[str, Tensor], share: float
) -> tuple[Tensor, Callable[[], None]]:
    """Run the forward pass of a loss as an engine does.

    Args:
        engine: As :func:`choose_engine` gives it.
        model: On the device of the batch.
        loss: ``loss(model, batch)``.
        batch: Padded rows.
        share: What the loss is multiplied with.

    Returns:
        The loss, and what runs the backward pass: it adds to the gradients that stand in the parameters.
    """
    if engine != "reference" and next(iter(batch.values())).is_cuda:
        from ftlab.engines.fast.graphs import replayed

        done = replayed(model, loss, batch, share, partial(forward_pass, engine, model))
        if done is not None:
            return done
    with forward_pass(engine, model, batch):
        value = loss(model, batch) * share
    return value.detach(), value.backward


@contextmanager
def training_memory(engine: str, model: nn.Module) -> Iterator[None]:
    """Keep what a fast engine keeps from step to step while a whole training runs, and let go of it afterwards.

    On a CPU that is the memory which a step frees; on a GPU its passes, recorded; everywhere the outputs of frozen layers.
    """
    if engine == "reference":
        yield
        return
    from ftlab.engines.fast.graphs import recording
    from ftlab.engines.fast.memory import kept_memory
    from ftlab.engines.fast.prefix import forget

    device = next(model.parameters()).device.type
    kept: dict[str, Callable[[], Any]] = {"cpu": kept_memory, "cuda": partial(recording, model)}
    try:
        with kept.get(device, nullcontext)():
            yield
    finally:
        forget(model)


def first_shape(engine: str, rule: GradientRule) -> Shape:
    """Return how the first gradient rule of a recipe acts: a fast engine may do it in place."""
    if engine == "reference":
        return rule.shape
    from ftlab.engines.fast.in_place import in_place

    return in_place(rule)


def penalty_of(engine: str, rule: Penalty, params: Mapping[str, nn.Parameter], memory: Memory, now: Now) -> Tensor:
    """Return a rule's penalty, to be differentiated; of a fast engine, perhaps a number whose gradient is added already."""
    if engine != "reference":
        from ftlab.engines.fast.in_place import own_penalty

        done = own_penalty(rule, params, memory, now)
        if done is not None:
            return done
    return rule.penalty(dict(params), memory, now)


def cores() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def device_name(device: str) -> str:
    """Return a device with its maker's name; of a processor also family and model, which a rented one's name hides."""
    if device == "cuda":
        return f"cuda ({torch.cuda.get_device_name()})"
    info = Path("/proc/cpuinfo")
    if device != "cpu" or not info.exists():
        return f"{device} ({platform.processor() or platform.machine()})"
    pairs = (line.partition(":") for line in info.read_text(encoding="utf-8").splitlines())
    found = {key.strip(): value.strip() for key, _, value in pairs}
    name = found.get("model name", platform.machine())
    return f"cpu ({name}, family {found.get('cpu family', '?')}, model {found.get('model', '?')})"
