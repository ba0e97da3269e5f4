"""What every loss needs of a model: its scores for a batch."""

from contextvars import ContextVar
from typing import Any

from torch import Tensor, nn

from ftlab.data.batches import Batch

SCORES_ONLY: ContextVar[bool] = ContextVar("SCORES_ONLY", default=False)
"""Whether a model is run for nothing but its scores, so that what only others would read need not be computed."""


def logits_of(model: nn.Module, batch: Batch) -> Tensor:
    """Run the model on a batch without its labels; the scores come back in fp32."""
    before = SCORES_ONLY.set(True)
    try:
        output: Any = model(**{name: tensor for name, tensor in batch.items() if name != "labels"})
    finally:
        SCORES_ONLY.reset(before)
    logits: Tensor = output if isinstance(output, Tensor) else output.logits
    return logits.float()
