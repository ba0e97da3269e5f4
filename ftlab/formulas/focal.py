"""Focal loss: cross-entropy that forgets what the model is already sure of."""

import math

import torch
from torch import Tensor

from ftlab.errors import argument_error, check_number
from ftlab.formulas._checks import check_labels, check_weights


def focal(logits: Tensor, labels: Tensor, gamma: float = 2.0, weight: Tensor | None = None) -> Tensor:
    r"""Return the cross-entropy in which a sample counts the less the surer the model is of its true class.

    .. math:: J = -\frac{1}{\sum_i w_{y_i}}\sum_{i=1}^{N} w_{y_i}\,(1-p_i)^{\gamma}\log p_i,
              \qquad p_i = \frac{e^{z_{iy_i}}}{\sum_k e^{z_{ik}}}

    ==============  ==============  ==========================================================
    symbol          code            meaning
    ==============  ==============  ==========================================================
    :math:`z`       ``logits``      the model's scores, one row a sample, one column a class
    :math:`y`       ``labels``      the true class of each sample
    :math:`\gamma`  ``gamma``       how fast the sure ones are forgotten
    :math:`w`       ``weight``      how much each class counts; 1 for all where it is left out
    ==============  ==============  ==========================================================

    A sample with a chance of 0.9 for its true class counts for 0.1 to the power of γ: a hundredth for γ = 2. So the loss
    is lower than cross-entropy, and the two must not be compared as numbers.

    Args:
        logits: Shape (N, C), C at least 2, any float dtype; not probabilities.
        labels: Shape (N,), whole numbers from 0 to C - 1.
        gamma: At least 0; 2 is usual, and 0 is cross-entropy exactly.
        weight: Shape (C,), each at least 0, as in :func:`~ftlab.formulas.cross_entropy.cross_entropy`.

    Returns:
        A scalar from 0 to the cross-entropy.

    Raises:
        ArgumentError: If the shapes do not fit, a label is no class, or ``gamma`` is not a number of at least 0.

    Source:
        Lin, Goyal, Girshick, He and Dollár 2017, "Focal Loss for Dense Object Detection", arXiv 1708.02002.
        Departure: a softmax over classes instead of a sigmoid for each box, the same for two classes; the mean is
        over the samples by their weights, not over the boxes that hold something.

    Example:
        A model that gives the true class 3 parts of 4: the loss is -log(3/4)/16.

        >>> focal(torch.tensor([[3.0, 1.0]]).log(), torch.tensor([0]))
        tensor(0.0180)
    """
    check_number("focal", "gamma", gamma, "2.0 is usual, 0 is cross-entropy", at_least=0)
    check_labels("focal", logits, labels)
    check_weights("focal", logits, weight)
    if logits.shape[1] < 2:
        raise argument_error(
            "focal", "logits", "have two columns at least", str(tuple(logits.shape)), "One class is no choice"
        )
    true = torch.nn.functional.one_hot(labels, logits.shape[1]).bool()
    logs = logits.log_softmax(dim=1)
    doubt = logs.masked_fill(true, -math.inf).logsumexp(dim=1, keepdim=True)  # log(1 - p), exact where p is all but 1
    weights = torch.ones_like(logits[0]) if weight is None else weight.to(logits)
    return -(weights * true * logs * (gamma * doubt).exp()).sum() / weights[labels].sum()
