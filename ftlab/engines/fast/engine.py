"""The fast engine: texts packed, products in bf16 where the hardware has it, and as little besides as can be."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ftlab.engines.engine import Reference
from ftlab.engines.fast.cuda_graphs import recording, replayed
from ftlab.engines.fast.frozen_cache import forget
from ftlab.engines.fast.in_place import in_place, own_penalty
from ftlab.engines.fast.malloc import kept_memory
from ftlab.engines.fast.parity import packing
from ftlab.engines.fast.precision import fp32_products
from ftlab.engines.fast.transfer import later, moved
from ftlab.rule import GradientRule, Loss, Memory, Now, Penalty, Shape


@dataclass(frozen=True)
class Fast(Reference):
    """The reference engine, faster. What it does not know how to do faster, it does as the reference does."""

    bf16: bool

    @property
    def name(self) -> str:  # type: ignore[override]
        """``"fast"``, or ``"fast-fp32"`` without bf16."""
        return "fast" if self.bf16 else "fast-fp32"

    @contextmanager
    def session(self, model: nn.Module) -> Iterator[None]:
        """Keep the memory that a step frees on a CPU, recorded passes on a GPU, and the outputs of frozen layers."""
        device = next(model.parameters()).device.type
        kept: dict[str, Callable[[], Any]] = {"cpu": kept_memory, "cuda": partial(recording, model)}
        try:
            with kept.get(device, nullcontext)():
                yield
        finally:
            forget(model)

    def to_device(self, batch: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
        """Copy a batch to the device; to a GPU without waiting for the copy."""
        return moved(batch, device)

    @contextmanager
    def forward(self, model: nn.Module, batch: Mapping[str, Tensor]) -> Iterator[None]:
        """Pack the texts where the model can be packed, and compute products in bf16 if asked to."""
        device = next(iter(batch.values())).device.type
        with ExitStack() as stack:
            if self.bf16:
                recorded = device == "cuda" and torch.cuda.is_current_stream_capturing()
                stack.enter_context(torch.autocast(device, torch.bfloat16, cache_enabled=not recorded))
            stack.enter_context(packing(model, batch))
            stack.enter_context(fp32_products(device))
            yield

    def backward(self, model: nn.Module, loss: Loss, batch: dict[str, Tensor], share: float) -> float:
        """Compute loss and gradient; on a GPU, copy the loss after the forward pass and read it after the backward pass."""
        value, run_backward = self._passes(model, loss, batch, share)
        read = later(value)
        run_backward()
        return read()

    def _passes(
        self, model: nn.Module, loss: Loss, batch: dict[str, Tensor], share: float
    ) -> tuple[Tensor, Callable[[], None]]:
        """Run the forward pass; return the loss and what runs the backward pass."""
        if next(iter(batch.values())).is_cuda:
            done = replayed(model, loss, batch, share, partial(self.forward, model))
            if done is not None:
                return done
        with self.forward(model, batch):
            value = loss(model, batch) * share
        return value.detach(), value.backward

    def penalty(self, rule: Penalty, params: Mapping[str, nn.Parameter], memory: Memory, now: Now) -> Tensor:
        """Add the gradient directly where that is cheaper than to differentiate the penalty."""
        done = own_penalty(rule, params, memory, now)
        return super().penalty(rule, params, memory, now) if done is None else done

    def transform(self, rule: GradientRule) -> Shape:
        """Return the rule's twin that acts in place, where there is one."""
        return in_place(rule)
