"""Binary cross-entropy: the loss for several labels per sample (multi-label classification)."""

import torch  # noqa: F401  (for the examples)
from torch import Tensor
from torch.nn.functional import logsigmoid

from ftlab.errors import argument_error
from ftlab.formulas._checks import span


def binary_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    r"""Return the mean negative log-probability of the true answer to each label, over samples and labels.

    .. math:: J = -\frac{1}{NC}\sum_{i=1}^{N}\sum_{c=1}^{C}
              \big[y_{ic}\log\sigma(z_{ic}) + (1-y_{ic})\log\sigma(-z_{ic})\big]

    =========  ==========  ==============================================
    symbol     code        meaning
    =========  ==========  ==============================================
    :math:`z`  ``logits``  the model's score for each label
    :math:`y`  ``labels``  1 where the label applies, 0 where it does not
    =========  ==========  ==============================================

    Args:
        logits: Shape (N, C); not probabilities.
        labels: Shape (N, C), float, each from 0 to 1.

    Returns:
        A scalar in nats: 0 if every true answer has probability 1, log 2 if every probability is 1/2.

    Raises:
        ArgumentError: If the shapes differ, or a label is below 0 or above 1.

    Source:
        The article's formula (1), applied to C independent yes/no labels. Departure: none.

    Example:
        >>> binary_cross_entropy(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))
        tensor(0.6931)
    """
    if logits.ndim != 2 or logits.shape != labels.shape or not labels.numel():
        raise argument_error(
            "binary_cross_entropy",
            "labels",
            "have the shape (N, C) of the logits, N at least 1",
            f"{tuple(labels.shape)} beside {tuple(logits.shape)}",
            "Give a 0 or a 1 for each label of each sample",
        )
    low, high = span(labels)
    if low < 0 or high > 1:
        raise argument_error(
            "binary_cross_entropy",
            "labels",
            "lie from 0 to 1",
            f"{low:g} to {high:g}",
            "Give 1 where a label applies, 0 where it does not",
        )
    return -(labels * logsigmoid(logits) + (1 - labels) * logsigmoid(-logits)).mean()
