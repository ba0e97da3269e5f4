"""Focal loss: cross-entropy with less weight on samples that the model already classifies confidently."""

import math

import torch
from torch import Tensor

from ftlab.errors import argument_error, check_number
from ftlab.formulas._checks import check_labels, check_weights


def focal(logits: Tensor, labels: Tensor, gamma: float = 2.0, weight: Tensor | None = None) -> Tensor:
    r"""Return the mean cross-entropy with each sample weighted down as the probability of its true class grows.

    .. math:: J = -\frac{1}{\sum_i w_{y_i}}\sum_{i=1}^{N} w_{y_i}\,(1-p_i)^{\gamma}\log p_i,
              \qquad p_i = \frac{e^{z_{iy_i}}}{\sum_k e^{z_{ik}}}

    ==============  ==========  ============================================================
    symbol          code        meaning
    ==============  ==========  ============================================================
    :math:`z`       ``logits``  the model's scores, one row per sample, one column per class
    :math:`y`       ``labels``  the true class of each sample
    :math:`\gamma`  ``gamma``   how fast the weight of a confident sample falls
    :math:`w`       ``weight``  the weight of each class; 1 for all by default
    ==============  ==========  ============================================================

    A sample whose true class has probability 0.9 has the weight 0.1 to the power of γ: 1/100 for γ = 2. So the loss is
    lower than cross-entropy, and the two values cannot be compared.

    Args:
        logits: Shape (N, C), C at least 2, any float dtype; not probabilities.
        labels: Shape (N,), whole numbers from 0 to C - 1.
        gamma: At least 0; 2 is usual, 0 is cross-entropy.
        weight: Shape (C,), each at least 0, as in :func:`~ftlab.formulas.cross_entropy.cross_entropy`.

    Returns:
        A scalar from 0 to the cross-entropy.

    Raises:
        ArgumentError: If the shapes do not fit, a label is not a class, or ``gamma`` is not a number of at least 0.

    Source:
        Lin, Goyal, Girshick, He and Dollár 2017, "Focal Loss for Dense Object Detection", arXiv 1708.02002.
        Departure: a softmax over classes instead of a sigmoid for each box, which is the same for two classes. The mean
        is a weighted mean over samples, not over the boxes with an object.

    Example:
        The true class has probability 3/4: the loss is -log(3/4)/16.

        >>> focal(torch.tensor([[3.0, 1.0]]).log(), torch.tensor([0]))
        tensor(0.0180)
    """
    check_number("focal", "gamma", gamma, "2.0 is usual, 0 is cross-entropy", at_least=0)
    check_labels("focal", logits, labels)
    check_weights("focal", logits, weight)
    if logits.shape[1] < 2:
        raise argument_error(
            "focal", "logits", "have at least two columns", str(tuple(logits.shape)), "Give one column for each class"
        )
    true = torch.nn.functional.one_hot(labels, logits.shape[1]).bool()
    logs = logits.log_softmax(dim=1)
    log_other = logs.masked_fill(true, -math.inf).logsumexp(dim=1, keepdim=True)  # log(1 - p), exact also for p near 1
    weights = torch.ones_like(logits[0]) if weight is None else weight.to(logits)
    return -(weights * true * logs * (gamma * log_other).exp()).sum() / weights[labels].sum()
