"""Other steps than the plain one: ``step(state, batch) -> record``, for ``finetune(..., step=...)``."""

from dataclasses import dataclass

import torch

from ftlab.data.batches import Batch
from ftlab.errors import check_number
from ftlab.formulas.sam import sam
from ftlab.training.loop import Record, State, penalty_gradients, step, task_gradients, update


@dataclass(frozen=True)
class SAM:
    """Sharpness-aware minimisation: the gradient is that of a point uphill. See :func:`ftlab.formulas.sam.sam`.

    The way uphill is that of the task's loss alone. What dropout leaves out is the same in both passes, and the record
    has the loss of the first. Penalties, rules and the optimizer act as ever, from the weights as they were; so do
    running statistics, which the second pass leaves alone. A step takes twice the time.

    >>> SAM(0.05)
    SAM(rho=0.05)
    """

    rho: float = 0.05

    def __post_init__(self) -> None:
        check_number("SAM", "rho", self.rho, "0.05 is usual, 0 switches it off", at_least=0)

    def __call__(self, state: State, batch: Batch | list[Batch]) -> Record:
        if self.rho == 0:
            return step(state, batch)
        task, samples = task_gradients(state, batch)
        moved = {name: param for name, param in state.params.items() if param.grad is not None}
        here = {name: param.detach().clone() for name, param in moved.items()}
        buffers = {name: buffer.clone() for name, buffer in state.model.named_buffers()}
        grads = {name: param.grad for name, param in moved.items() if param.grad is not None}
        try:
            with torch.no_grad():
                for name, uphill in sam(here, grads, self.rho).items():
                    moved[name].copy_(uphill)
            task_gradients(state, batch)
        finally:
            with torch.no_grad():
                for name, param in moved.items():
                    param.copy_(here[name])
                for name, buffer in state.model.named_buffers():
                    buffer.copy_(buffers[name])
        return update(state, task, penalty_gradients(state), samples)
