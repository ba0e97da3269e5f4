"""R-Drop: penalise the divergence between two passes with different dropout masks."""

import torch
from torch import Tensor

from ftlab.errors import argument_error, check_number
from ftlab.formulas._checks import check_labels


def r_drop(first: Tensor, second: Tensor, labels: Tensor, alpha: float) -> Tensor:
    r"""Return the mean cross-entropy of two passes over the same samples, plus the divergence between the passes.

    .. math:: J = \frac{1}{N}\sum_{i=1}^{N}\left[-\frac{\log p_{iy_i} + \log q_{iy_i}}{2}
              + \alpha\,\frac{\mathrm{KL}(p_i\Vert q_i) + \mathrm{KL}(q_i\Vert p_i)}{2}\right]

    ==============  ==========  =========================================================
    symbol          code        meaning
    ==============  ==========  =========================================================
    :math:`p`       ``first``   softmax of the scores of the first pass
    :math:`q`       ``second``  softmax of the scores of a pass with another dropout mask
    :math:`y`       ``labels``  the true class of each sample
    :math:`\alpha`  ``alpha``   the weight of the divergence
    ==============  ==========  =========================================================

    The two divergences together are :math:`\sum_c (p_c-q_c)(\log p_c-\log q_c)`, a sum of terms of at least 0.

    Args:
        first: Logits of shape (N, C).
        second: Logits of the same shape.
        labels: Shape (N,), whole numbers from 0 to C - 1.
        alpha: At least 0; with 0 it is the mean of both cross-entropies.

    Returns:
        A scalar. Two equal passes give the cross-entropy of one, for every ``alpha``.

    Raises:
        ArgumentError: If the shapes do not fit, a label is not a class, or ``alpha`` is not a number of at least 0.

    Source:
        Liang, Wu, Li and others 2021, "R-Drop: Regularized Dropout for Neural Networks", arXiv 2106.14448.
        Departure: half the sum of both cross-entropies, so that equal passes give one cross-entropy. Both terms are
        means over the samples. The code in the authors' README and their code for text classification sum the
        divergence over the batch, which multiplies ``alpha`` by the batch size.

    Example:
        The true class has probability 1/4 and 3/4. Cross-entropy: (log 4 + log 4/3)/2 = 0.8370.
        Divergence: (1/2 · log 3 + 1/2 · log 3)/2 = 0.5493.

        >>> first, second = torch.tensor([[1.0, 3.0]]).log(), torch.tensor([[3.0, 1.0]]).log()
        >>> r_drop(first, second, torch.tensor([0]), 0.0), r_drop(first, second, torch.tensor([0]), 1.0)
        (tensor(0.8370), tensor(1.3863))
    """
    check_number("r_drop", "alpha", alpha, "1.0 is usual, 0 switches it off", at_least=0)
    if first.shape != second.shape:
        must, got = "have the shape of first, (N, C)", f"{tuple(second.shape)} beside {tuple(first.shape)}"
        raise argument_error("r_drop", "second", must, got, "Both are logits of the same samples")
    check_labels("r_drop", first, labels)
    p, q = first.log_softmax(dim=1), second.log_softmax(dim=1)
    true = torch.nn.functional.one_hot(labels, first.shape[1]).to(first)
    entropy = -((true * p).sum() + (true * q).sum()) / 2
    divergence = ((p.exp() - q.exp()) * (p - q)).sum() / 2
    return (entropy + alpha * divergence) / len(labels)
