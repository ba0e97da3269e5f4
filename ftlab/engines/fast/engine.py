"""The fast engine: packed texts, bf16 products where the hardware has them, and little overhead."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ftlab.engines.engine import Reference
from ftlab.engines.fast.cuda_graphs import Recordings, replay
from ftlab.engines.fast.frozen_cache import FrozenCache
from ftlab.engines.fast.in_place import in_place, penalty_in_place
from ftlab.engines.fast.malloc import kept_memory
from ftlab.engines.fast.parity import packed_context
from ftlab.engines.fast.precision import fp32_products
from ftlab.engines.fast.transfer import item_async, to_device
from ftlab.rule import GradientRule, Loss, Memory, Now, Penalty, Shape


@dataclass
class Session:
    """What the engine keeps for one model between passes."""

    frozen: FrozenCache = field(default_factory=FrozenCache)
    recordings: Recordings | None = None
    """Recorded passes, while a training on a GPU lasts."""


class Fast(Reference):
    """The reference engine, faster. What it cannot do faster, it does as the reference does.

    Args:
        bf16: Whether matrix products are computed in bf16.
    """

    def __init__(self, *, bf16: bool) -> None:
        self.bf16 = bf16
        self._sessions: WeakKeyDictionary[nn.Module, Session] = WeakKeyDictionary()

    @property
    def name(self) -> str:  # type: ignore[override]
        """``"fast"``, or ``"fast-fp32"`` without bf16."""
        return "fast" if self.bf16 else "fast-fp32"

    @contextmanager
    def session(self, model: nn.Module) -> Iterator[None]:
        """Keep freed memory on a CPU, recorded passes on a GPU, and the outputs of frozen layers, until the context ends."""
        device = next(model.parameters()).device.type
        self._sessions[model] = Session(recordings=Recordings(list(model.modules())) if device == "cuda" else None)
        try:
            with kept_memory() if device == "cpu" else nullcontext():
                yield
        finally:
            self._sessions.pop(model, None)

    def session_of(self, model: nn.Module) -> Session:
        """Return the model's open session; outside of one, what the engine keeps for the model as long as both live."""
        session = self._sessions.get(model)
        if session is None:
            session = self._sessions[model] = Session()
        return session

    def to_device(self, batch: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
        """Copy a batch to the device; the copy to a GPU is asynchronous."""
        return to_device(batch, device)

    @contextmanager
    def forward(self, model: nn.Module, batch: Mapping[str, Tensor]) -> Iterator[None]:
        """Pack the texts if the model can be packed, and compute products in bf16 if the engine does."""
        device = next(iter(batch.values())).device.type
        with ExitStack() as stack:
            if self.bf16:
                capturing = device == "cuda" and torch.cuda.is_current_stream_capturing()
                stack.enter_context(torch.autocast(device, torch.bfloat16, cache_enabled=not capturing))
            stack.enter_context(packed_context(model, batch, self.session_of(model).frozen))
            stack.enter_context(fp32_products(device))
            yield

    def backward(self, model: nn.Module, loss: Loss, batch: dict[str, Tensor], share: float) -> float:
        """Compute loss and gradient; on a GPU, copy the loss after the forward pass and read it after the backward pass."""
        value, run_backward = self._passes(model, loss, batch, share)
        read = item_async(value)
        run_backward()
        return read()

    def _passes(
        self, model: nn.Module, loss: Loss, batch: dict[str, Tensor], share: float
    ) -> tuple[Tensor, Callable[[], None]]:
        """Run the forward pass; return the loss and the function that runs the backward pass."""
        recordings = self.session_of(model).recordings
        if recordings is not None:
            replayed = replay(recordings, model, loss, batch, share, partial(self.forward, model))
            if replayed is not None:
                return replayed
        with self.forward(model, batch):
            value = loss(model, batch) * share
        return value.detach(), value.backward

    def penalty(self, rule: Penalty, params: Mapping[str, nn.Parameter], memory: Memory, now: Now) -> Tensor:
        """Add the gradient directly if that is cheaper than differentiating the penalty."""
        value = penalty_in_place(rule, params, memory, now)
        return super().penalty(rule, params, memory, now) if value is None else value

    def transform(self, rule: GradientRule) -> Shape:
        """Return the rule's in-place version, if it has one."""
        return in_place(rule)
