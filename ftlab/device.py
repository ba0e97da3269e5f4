"""Choose where a model runs, and in which precision."""

from contextlib import AbstractContextManager, nullcontext

import torch

from ftlab.errors import check_choice, misused

ENGINES = ("auto", "reference", "fast")


def choose_device(asked: str = "auto") -> str:
    """Return the device to use: what is asked for, else cuda, mps or cpu, the first that is there."""
    check_choice("finetune", "device", asked, ("auto", "cpu", "cuda", "mps"))
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if asked == "auto":
        return next(device for device, present in there.items() if present)
    if not there[asked]:
        present = ", ".join(device for device, is_there in there.items() if is_there)
        raise misused("finetune", "device", f"be on this machine ({present})", repr(asked), "Use 'auto'")
    return asked


def choose_engine(asked: str, device: str) -> str:
    """Return ``"fast"`` (bf16 products) or ``"reference"`` (fp32); ``"auto"`` is fast where the hardware has bf16."""
    check_choice("finetune", "engine", asked, ENGINES)
    try:
        from ftlab.fast.precision import has_bf16
    except ImportError:  # the folder may be deleted
        return "reference"
    fast = has_bf16(device)
    if asked == "fast" and not fast:
        do = "Use 'auto' or 'reference'"
        raise misused("finetune", "engine", "be one that this device has", f"'fast' on {device} without bf16", do)
    return "fast" if fast and asked != "reference" else "reference"


def precision(engine: str, device: str) -> AbstractContextManager[object]:
    """Return the context in which a forward pass runs."""
    return torch.autocast(device, torch.bfloat16) if engine == "fast" else nullcontext()
