"""An engine says how a pass is computed. The reference engine is the plain way; ``fast/`` holds the fast one."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from ftlab.errors import argument_error, check_choice
from ftlab.rule import GradientRule, Loss, Memory, Now, Penalty, Shape

ENGINES = ("auto", "reference", "fast", "fast-fp32")
"""The names of the engines, and ``"auto"``, which chooses one."""


@runtime_checkable
class Engine(Protocol):
    """How a pass is computed. Every engine computes the same mathematics."""

    @property
    def name(self) -> str:
        """One of :data:`ENGINES`."""

    def session(self, model: nn.Module) -> AbstractContextManager[None]:
        """Keep what helps from step to step while a training of the model lasts, and free it afterwards."""

    def to_device(self, batch: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
        """Return a batch on a device."""

    def forward(self, model: nn.Module, batch: Mapping[str, Tensor]) -> AbstractContextManager[None]:
        """Run the forward passes of the model on this batch in the engine's way while the context lasts."""

    def backward(self, model: nn.Module, loss: Loss, batch: dict[str, Tensor], share: float) -> float:
        """Add the gradient of ``share · loss`` to those in the parameters, and return ``share · loss``."""

    def penalty(self, rule: Penalty, params: Mapping[str, nn.Parameter], memory: Memory, now: Now) -> Tensor:
        """Add the gradient of a rule's penalty to those in the parameters, and return the penalty."""

    def transform(self, rule: GradientRule) -> Shape:
        """Return how the first gradient rule of a recipe acts; it may change the gradients in place."""


class Reference:
    """Every text padded to the longest of its batch, in fp32, one operation after the other."""

    name = "reference"

    def session(self, model: nn.Module) -> AbstractContextManager[None]:
        """Keep nothing."""
        return nullcontext()

    def to_device(self, batch: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
        """Copy each tensor of a batch to the device."""
        return {name: tensor.to(device) for name, tensor in batch.items()}

    def forward(self, model: nn.Module, batch: Mapping[str, Tensor]) -> AbstractContextManager[None]:
        """Change nothing."""
        return nullcontext()

    def backward(self, model: nn.Module, loss: Loss, batch: dict[str, Tensor], share: float) -> float:
        """Compute the loss, then its gradient."""
        value = loss(model, batch) * share
        value.backward()  # type: ignore[no-untyped-call]
        return value.item()

    def penalty(self, rule: Penalty, params: Mapping[str, nn.Parameter], memory: Memory, now: Now) -> Tensor:
        """Compute the penalty, then its gradient."""
        value = torch.as_tensor(rule.penalty(dict(params), memory, now))  # a rule may return 0.0
        if value.requires_grad:
            value.backward()  # type: ignore[no-untyped-call]
        return value.detach()

    def transform(self, rule: GradientRule) -> Shape:
        """Return the rule's own function."""
        return rule.shape


def choose_engine(asked: "str | Engine", device: str, *, emulated: bool = False) -> Engine:
    """Return the engine to use: the one asked for; or the fast one, in bf16 where the hardware has it, else in fp32.

    ===============  =====================================================================
    ``"reference"``  fp32, every text padded to the longest of its batch
    ``"fast"``       products in bf16, texts packed, cheap dropout
    ``"fast-fp32"``  the same in fp32; without dropout it equals the reference
    ===============  =====================================================================

    Args:
        asked: One of these, ``"auto"``, or an engine.
        device: ``"cpu"``, ``"cuda"`` or ``"mps"``.
        emulated: Whether to allow ``"fast"`` where bf16 has to be emulated, which is many times slower.

    Raises:
        ArgumentError: If the engine is unknown or not there, or the device does not have it.

    Example:
        >>> choose_engine("reference", "cpu").name
        'reference'
    """
    if isinstance(asked, Engine):
        return asked
    check_choice("finetune", "engine", asked, ENGINES)
    if asked == "reference":
        return Reference()
    try:
        from ftlab.engines.fast.engine import Fast
        from ftlab.engines.fast.precision import has_bf16
    except ImportError as error:  # the folder may be deleted
        if asked == "auto":
            return Reference()
        got = f"{asked!r}, whose folder ftlab/engines/fast is not there"
        raise argument_error("finetune", "engine", "be installed", got, "Use 'auto' or 'reference'") from error
    if asked == "fast" and not (emulated or has_bf16(device)):
        do = "Use 'auto', 'fast-fp32' or 'reference'"
        got = f"'fast' on {device} without bf16"
        raise argument_error("finetune", "engine", "be one that this device has", got, do)
    if asked == "auto" and device == "mps":
        return Reference()
    return Fast(bf16=has_bf16(device) if asked == "auto" else asked == "fast")
