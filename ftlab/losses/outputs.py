"""What every loss needs of a model: its scores for a batch."""

from typing import Any, Protocol

from torch import Tensor, nn

from ftlab.batches import Batch


class Loss(Protocol):
    """Anything that gives the mean loss of a batch."""

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor: ...


def logits_of(model: nn.Module, batch: Batch) -> Tensor:
    """Run the model on a batch without its labels; the scores come back in fp32."""
    output: Any = model(**{name: tensor for name, tensor in batch.items() if name != "labels"})
    logits: Tensor = output if isinstance(output, Tensor) else output.logits
    return logits.float()
