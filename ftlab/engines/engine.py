"""The protocol of an engine, which computes forward and backward passes, and the reference engine; ``fast/`` is the other."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from ftlab.errors import argument_error, check_choice
from ftlab.rule import GradientRule, Loss, Memory, Now, Penalty, Shape

ENGINES = ("auto", "reference", "fast", "fast-fp32")
"""The names of the engines, and ``"auto"``, which chooses between them."""


@runtime_checkable
class Engine(Protocol):
    """Computes forward and backward passes. All engines compute the same mathematics."""

    @property
    def name(self) -> str:
        """One of :data:`ENGINES`."""

    def session(self, model: nn.Module) -> AbstractContextManager[None]:
        """Keep memory and caches from step to step while a training of the model lasts, and free them afterwards."""

    def to_device(self, batch: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
        """Return a batch on a device."""

    def forward(self, model: nn.Module, batch: Mapping[str, Tensor]) -> AbstractContextManager[None]:
        """Let the engine compute the model's forward passes on this batch while the context lasts."""

    def backward(self, model: nn.Module, loss: Loss, batch: dict[str, Tensor], share: float) -> float:
        """Add the gradient of ``share · loss`` to the parameters' gradients, and return ``share · loss``."""

    def penalty(self, rule: Penalty, params: Mapping[str, nn.Parameter], memory: Memory, now: Now) -> Tensor:
        """Add the gradient of a rule's penalty to the parameters' gradients, and return the penalty."""

    def transform(self, rule: GradientRule) -> Shape:
        """Return the function of a recipe's first gradient rule; it may change the gradients in place."""


class Reference:
    """Computes in fp32, with every text padded to the longest of its batch."""

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
    """Return the engine to use: the requested one; for ``"auto"`` the fast one, in bf16 where the hardware has it.

    ===============  =====================================================================
    ``"reference"``  fp32, every text padded to the longest of its batch
    ``"fast"``       bf16 products, packed texts, cheap dropout masks
    ``"fast-fp32"``  the same in fp32; without dropout it equals the reference
    ===============  =====================================================================

    Args:
        asked: One of these names, ``"auto"``, or an engine, which is returned. ``"auto"`` is the reference on MPS, and
            if the folder of the fast engine is missing.
        device: ``"cpu"``, ``"cuda"`` or ``"mps"``.
        emulated: Whether to allow ``"fast"`` on a device that emulates bf16, which is many times slower.

    Raises:
        ArgumentError: If the engine is unknown or not installed, or the device does not support it.

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
