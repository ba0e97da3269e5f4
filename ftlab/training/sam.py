"""Alternatives to the plain step: ``step(state, batch) -> record``, for ``finetune(..., step=...)``."""

from dataclasses import dataclass

import torch

from ftlab.data.batches import Batch
from ftlab.errors import check_number
from ftlab.formulas.sam import sam
from ftlab.training.loop import Record, State, penalty_gradients, step, task_gradients, update


@dataclass(frozen=True)
class SAM:
    """Sharpness-aware minimisation: use the gradient at a point uphill. See :func:`ftlab.formulas.sam.sam`.

    The first pass computes the gradient of the task loss, which points uphill; the second computes the gradient at that
    point, with the same dropout masks. Then the weights and the model's buffers, such as running statistics, are
    restored to their values before the second pass, and penalties, rules and the optimizer act as usual. The record has
    the loss of the first pass. A step costs two passes.

    >>> SAM(0.05)
    SAM(rho=0.05)
    """

    rho: float = 0.05
    """The L2 distance of the uphill point from the weights, at least 0."""

    def __post_init__(self) -> None:
        check_number("SAM", "rho", self.rho, "0.05 is usual, 0 switches it off", at_least=0)

    def __call__(self, state: State, batch: Batch | list[Batch]) -> Record:
        if self.rho == 0:
            return step(state, batch)
        task, samples = task_gradients(state, batch)
        params = {name: param for name, param in state.params.items() if param.grad is not None}
        weights = {name: param.detach().clone() for name, param in params.items()}
        buffers = {name: buffer.clone() for name, buffer in state.model.named_buffers()}
        grads = {name: param.grad for name, param in params.items() if param.grad is not None}
        try:
            with torch.no_grad():
                for name, tensor in sam(weights, grads, self.rho).items():
                    params[name].copy_(tensor)
            task_gradients(state, batch)
        finally:
            with torch.no_grad():
                for name, param in params.items():
                    param.copy_(weights[name])
                for name, buffer in state.model.named_buffers():
                    buffer.copy_(buffers[name])
        return update(state, task, penalty_gradients(state), samples)
