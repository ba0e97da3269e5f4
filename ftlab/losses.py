"""Task losses: ``loss(model, batch)`` is a formula applied to what a model says of a batch."""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ftlab.batches import Batch
from ftlab.errors import check_number
from ftlab.formulas import binary_cross_entropy, cross_entropy, mean_squared_error


class Loss(Protocol):
    """Anything that gives the mean loss of a batch."""

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor: ...


def logits_of(model: nn.Module, batch: Batch) -> Tensor:
    """Run the model on a batch without its labels; the scores come back in fp32."""
    output: Any = model(**{name: tensor for name, tensor in batch.items() if name != "labels"})
    logits: Tensor = output if isinstance(output, Tensor) else output.logits
    return logits.float()


@dataclass(frozen=True)
class CrossEntropy:
    """The loss of one label a row. See :func:`ftlab.formulas.cross_entropy`.

    With class weights, each part of an accumulated batch is a weighted mean of its own.
    """

    weight: tuple[float, ...] | None = None
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        check_number("CrossEntropy", "smoothing", self.smoothing, "0.1 is usual, 0 is none", at_least=0, at_most=1)

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        logits = logits_of(model, batch)
        weight = None if self.weight is None else torch.tensor(self.weight, device=logits.device)
        return cross_entropy(logits, batch["labels"], weight=weight, smoothing=self.smoothing)


@dataclass(frozen=True)
class BinaryCrossEntropy:
    """The loss of several labels a row. See :func:`ftlab.formulas.binary_cross_entropy`."""

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        return binary_cross_entropy(logits_of(model, batch), batch["labels"])


@dataclass(frozen=True)
class MeanSquaredError:
    """The loss of a number a row. See :func:`ftlab.formulas.mean_squared_error`."""

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        return mean_squared_error(logits_of(model, batch).squeeze(-1), batch["labels"])


def loss_for(kind: str) -> Loss:
    """Return the usual loss of a kind of task."""
    losses: dict[str, Loss] = {
        "classification": CrossEntropy(),
        "multilabel": BinaryCrossEntropy(),
        "regression": MeanSquaredError(),
    }
    return losses[kind]
