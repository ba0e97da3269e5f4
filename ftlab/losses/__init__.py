"""Losses: ``loss(model, batch)`` is a formula applied to what a model says of a batch, the mean over its samples."""

from ftlab.losses.adversarial import FreeLB, Smart
from ftlab.losses.classification import BinaryCrossEntropy, CrossEntropy, Focal, MeanSquaredError, RDrop
from ftlab.losses.contrastive import SupervisedContrastive
from ftlab.losses.distill import Distill
from ftlab.losses.logits import logits_of
from ftlab.rule import Loss

__all__ = [
    "BinaryCrossEntropy",
    "CrossEntropy",
    "Distill",
    "Focal",
    "FreeLB",
    "MeanSquaredError",
    "RDrop",
    "Smart",
    "SupervisedContrastive",
    "logits_of",
    "loss_for",
]


def loss_for(kind: str) -> Loss:
    """Return the usual loss of a kind of task.

    >>> loss_for("regression")
    MeanSquaredError()
    """
    losses: dict[str, Loss] = {
        "classification": CrossEntropy(),
        "multilabel": BinaryCrossEntropy(),
        "regression": MeanSquaredError(),
    }
    return losses[kind]
