"""Losses that apply one formula to the model's scores."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ftlab.data.batches import Batch
from ftlab.errors import argument_error, check_number
from ftlab.formulas.binary_cross_entropy import binary_cross_entropy
from ftlab.formulas.cross_entropy import cross_entropy
from ftlab.formulas.focal import focal
from ftlab.formulas.mean_squared_error import mean_squared_error
from ftlab.formulas.r_drop import r_drop
from ftlab.losses.logits import logits_of
from ftlab.losses.next_token import NextToken
from ftlab.rule import Loss


@dataclass(frozen=True)
class CrossEntropy:
    """The loss for one label per row. See :func:`ftlab.formulas.cross_entropy.cross_entropy`."""

    weight: tuple[float, ...] | None = None
    """The weight of each class, at least 0; by default all classes count the same."""
    smoothing: float = 0.0
    """Label smoothing, from 0 to 1."""

    def __post_init__(self) -> None:
        _check_weight("CrossEntropy", self.weight)
        check_number("CrossEntropy", "smoothing", self.smoothing, "0.1 is usual, 0 is none", at_least=0, at_most=1)

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        logits = logits_of(model, batch)
        weight = None if self.weight is None else torch.tensor(self.weight, device=logits.device)
        return cross_entropy(logits, batch["labels"], weight=weight, smoothing=self.smoothing)

    def denominator(self, batch: Batch) -> float:
        """Return the sum of the samples' weights, by which the mean divides."""
        return _sum_of_weights(self.weight, batch)


@dataclass(frozen=True)
class Focal:
    """The focal loss, for rare classes or many easy samples. See :func:`ftlab.formulas.focal.focal`."""

    gamma: float = 2.0
    """How strongly easy samples are down-weighted, at least 0; 0 is cross-entropy."""
    weight: tuple[float, ...] | None = None
    """The weight of each class, at least 0; by default all classes count the same."""

    def __post_init__(self) -> None:
        _check_weight("Focal", self.weight)
        check_number("Focal", "gamma", self.gamma, "2.0 is usual, 0 is cross-entropy", at_least=0)

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        logits = logits_of(model, batch)
        weight = None if self.weight is None else torch.tensor(self.weight, device=logits.device)
        return focal(logits, batch["labels"], self.gamma, weight)

    def denominator(self, batch: Batch) -> float:
        """Return the sum of the samples' weights, by which the mean divides."""
        return _sum_of_weights(self.weight, batch)


@dataclass(frozen=True)
class RDrop:
    """Cross-entropy of two passes plus their disagreement under dropout. See :func:`ftlab.formulas.r_drop.r_drop`.

    An update costs two passes. Without dropout they are equal, and the loss is cross-entropy.
    """

    alpha: float = 1.0
    """The weight of the disagreement, at least 0."""

    def __post_init__(self) -> None:
        check_number("RDrop", "alpha", self.alpha, "1.0 is usual, 0 switches it off", at_least=0)

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        first, second = logits_of(model, batch), logits_of(model, batch)
        return r_drop(first, second, batch["labels"], self.alpha)


@dataclass(frozen=True)
class BinaryCrossEntropy:
    """The loss for several labels per row. See :func:`ftlab.formulas.binary_cross_entropy.binary_cross_entropy`."""

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        return binary_cross_entropy(logits_of(model, batch), batch["labels"])


@dataclass(frozen=True)
class MeanSquaredError:
    """The loss for a number per row. See :func:`ftlab.formulas.mean_squared_error.mean_squared_error`."""

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        return mean_squared_error(logits_of(model, batch).squeeze(-1), batch["labels"])


def _sum_of_weights(weight: tuple[float, ...] | None, batch: Batch) -> float:
    labels = batch["labels"]
    if weight is None or labels.ndim != 1 or int(labels.max()) >= len(weight):  # what does not fit, the loss refuses
        return len(labels)
    return float(torch.tensor(weight)[labels.cpu()].sum())


def _check_weight(where: str, weight: tuple[float, ...] | None) -> None:
    if not isinstance(weight, tuple | None):
        must = "be a tuple, one number per class"
        raise argument_error(where, "weight", must, type(weight).__name__, "Write it as in weight=(1.0, 3.0)")
    for value in weight or ():
        check_number(where, "weight", value, "Give a number for each class; 1.0 is neutral", at_least=0)


def loss_for(kind: str) -> Loss:
    """Return the default loss for a kind of task.

    >>> loss_for("regression")
    MeanSquaredError()
    """
    losses: dict[str, Loss] = {
        "classification": CrossEntropy(),
        "multilabel": BinaryCrossEntropy(),
        "regression": MeanSquaredError(),
        "generation": NextToken(),
    }
    return losses[kind]
