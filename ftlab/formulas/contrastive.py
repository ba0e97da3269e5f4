"""Supervised contrastive loss: pull vectors of one label together, and push those of other labels apart."""

import math

import torch
from torch import Tensor

from ftlab.errors import argument_error, check_number


def contrastive(vectors: Tensor, labels: Tensor, temperature: float) -> Tensor:
    r"""Return the mean negative log-probability that a neighbour drawn by similarity has the same label.

    .. math:: J = \frac{1}{|A|}\sum_{i\in A}\frac{-1}{|P(i)|}\sum_{p\in P(i)}
              \log\frac{\exp(z_i\cdot z_p/\tau)}{\sum_{a\neq i}\exp(z_i\cdot z_a/\tau)},
              \qquad z = \frac{v}{\lVert v\rVert_2}

    ============  ===============  ========================================================
    symbol        code             meaning
    ============  ===============  ========================================================
    :math:`v`     ``vectors``      one row per sample; only its direction counts
    :math:`P(i)`  ``labels``       the other samples with the label of sample i (positives)
    :math:`A`     ``labels``       the samples with at least one positive
    :math:`\tau`  ``temperature``  the smaller, the more the nearest neighbours dominate
    ============  ===============  ========================================================

    Samples are compared within their batch. With gradient accumulation they are compared within their micro-batch, so
    the loss is not that of the whole batch.

    Args:
        vectors: Shape (N, D), any float dtype.
        labels: Shape (N,), whole numbers.
        temperature: Greater than 0.

    Returns:
        A scalar, the mean over the samples with a positive; 0, with a gradient of 0, if there is none.

    Raises:
        ArgumentError: If the shapes do not fit, or ``temperature`` is not greater than 0.

    Source:
        Khosla, Teterwak, Wang and others 2020, "Supervised Contrastive Learning", arXiv 2004.11362, the form
        with the sum outside the logarithm; for fine-tuning Gunel, Du, Conneau and Stoyanov 2021, arXiv 2011.01403.
        Departure: samples without a positive, for which the paper's term is 0/0, are left out of the mean. The paper's
        batches hold two views of each sample, so each has a positive.

    Example:
        Two samples have one label and the same direction, a third is orthogonal: each of the two draws the other with
        probability e/(e + 1) = 0.7311. The third has no positive and is left out.

        >>> contrastive(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 5.0]]), torch.tensor([0, 0, 1]), 1.0)
        tensor(0.3133)
    """
    check_number("contrastive", "temperature", temperature, "0.3 is usual", above=0)
    if vectors.ndim != 2 or labels.shape != vectors.shape[:1] or labels.is_floating_point() or len(labels) == 0:
        got = f"{labels.dtype} {tuple(labels.shape)} beside {tuple(vectors.shape)}"
        must = "be whole numbers of shape (N,) beside vectors of shape (N, D)"
        raise argument_error("contrastive", "labels", must, got, "Give one label for each row of vectors")
    z = torch.nn.functional.normalize(vectors, dim=1)
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    logs = (z @ z.T / temperature).masked_fill(itself, -math.inf).log_softmax(dim=1)
    positive = (labels[:, None] == labels) & ~itself
    count = positive.sum(dim=1)
    losses = -logs.masked_fill(~positive, 0.0).sum(dim=1) / count.clamp(min=1)
    return losses.sum() / (count > 0).sum().clamp(min=1)
