"""Supervised contrastive loss: texts of one label are to lie near each other, and far from the others."""

import math

import torch
from torch import Tensor

from ftlab.errors import argument_error, check_number


def contrastive(vectors: Tensor, labels: Tensor, temperature: float) -> Tensor:
    r"""Return how surprised one is, when drawing a neighbour of a sample, that it has the same label.

    .. math:: J = \frac{1}{|A|}\sum_{i\in A}\frac{-1}{|P(i)|}\sum_{p\in P(i)}
              \log\frac{\exp(z_i\cdot z_p/\tau)}{\sum_{a\neq i}\exp(z_i\cdot z_a/\tau)},
              \qquad z = \frac{v}{\lVert v\rVert_2}

    ==============  ===============  ================================================================
    symbol          code             meaning
    ==============  ===============  ================================================================
    :math:`v`       ``vectors``      one row a sample; only its direction counts
    :math:`P(i)`    ``labels``       the other samples with the label of sample i, its positives
    :math:`A`       ``labels``       the samples that have a positive
    :math:`\tau`    ``temperature``  the smaller, the more the nearest neighbours count alone
    ==============  ===============  ================================================================

    The samples are compared within their batch, so that a batch of two halves is more than its halves: with gradient
    accumulation each part is compared within itself.

    Args:
        vectors: Shape (N, D), any float dtype.
        labels: Shape (N,), whole numbers.
        temperature: Greater than 0.

    Returns:
        A scalar, the mean over the samples that have a positive; 0 with a gradient of 0 where none has.

    Raises:
        ArgumentError: If the shapes do not fit, or ``temperature`` is not greater than 0.

    Source:
        Khosla, Teterwak, Wang and others 2020, "Supervised Contrastive Learning", arXiv 2004.11362, the form
        with the sum outside the logarithm; for fine-tuning Gunel, Du, Conneau and Stoyanov 2021, arXiv 2011.01403.
        Departure: the mean over the samples that have a positive, for which a batch of single views must have a rule;
        the sum over none is 0/0.

    Example:
        Two samples with one label and the same direction, one across: each of the two draws the other with a chance of
        e/(e + 1) = 0.7311. The third is alone with its label and is left out.

        >>> contrastive(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 5.0]]), torch.tensor([0, 0, 1]), 1.0)
        tensor(0.3133)
    """
    check_number("contrastive", "temperature", temperature, "0.3 is usual", above=0)
    if vectors.ndim != 2 or labels.shape != vectors.shape[:1] or labels.is_floating_point() or len(labels) == 0:
        got = f"{labels.dtype} {tuple(labels.shape)} beside {tuple(vectors.shape)}"
        must = "be whole numbers of shape (N,) beside vectors of shape (N, D)"
        raise argument_error("contrastive", "labels", must, got, "One label a row of vectors")
    z = torch.nn.functional.normalize(vectors, dim=1)
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    logs = (z @ z.T / temperature).masked_fill(itself, -math.inf).log_softmax(dim=1)
    positive = (labels[:, None] == labels) & ~itself
    count = positive.sum(dim=1)
    surprise = -logs.masked_fill(~positive, 0.0).sum(dim=1) / count.clamp(min=1)
    return surprise.sum() / (count > 0).sum().clamp(min=1)
