"""The logits of a model for a batch, which every loss needs."""

from contextvars import ContextVar
from typing import Any

from torch import Tensor, nn

from ftlab.data.batches import Batch

SCORES_ONLY: ContextVar[bool] = ContextVar("SCORES_ONLY", default=False)
"""Whether only the logits of the running pass are used, so that an engine may skip other outputs."""
TARGETS: ContextVar[Tensor | None] = ContextVar("TARGETS", default=None)
"""The cells whose logits alone are used, a mask of shape (texts, width). An engine may return only these, as one row."""


def logits_of(model: nn.Module, batch: Batch) -> Tensor:
    """Run the model on a batch, without its labels, and return the logits in fp32."""
    before = SCORES_ONLY.set(True)
    try:
        output: Any = model(**{name: tensor for name, tensor in batch.items() if name != "labels"})
    finally:
        SCORES_ONLY.reset(before)
    logits: Tensor = output if isinstance(output, Tensor) else output.logits
    return logits.float()
