"""Cross-entropy: the loss of classification with one label. The article's formula (1)."""

import torch
from torch import Tensor

from ftlab.errors import check_number
from ftlab.formulas._checks import check_labels, check_weights


def cross_entropy(logits: Tensor, labels: Tensor, *, weight: Tensor | None = None, smoothing: float = 0.0) -> Tensor:
    r"""Return how surprised the model is by the true labels, on average over the samples.

    .. math:: J = -\frac{1}{N}\sum_{i=1}^{N}\sum_{c=1}^{C} y_{ic}\log\hat{y}_{ic},
              \qquad \hat{y}_{ic} = \frac{e^{z_{ic}}}{\sum_k e^{z_{ik}}}

    =====================  ==============  ==========================================================
    symbol                 code            meaning
    =====================  ==============  ==========================================================
    :math:`z`              ``logits``      the model's scores, one row a sample, one column a class
    :math:`y`              ``labels``      the true class of each sample; 1 in its column, 0 elsewhere
    :math:`w`              ``weight``      how much each class counts; 1 for all where it is left out
    :math:`s`              ``smoothing``   share of the label spread evenly over all classes
    =====================  ==============  ==========================================================

    With smoothing, :math:`y_{ic}` is :math:`(1-s)+s/C` for the true class and :math:`s/C` for the others. With
    weights, each term is multiplied by :math:`w_c` and :math:`N` gives way to :math:`\sum_i w_{y_i}`.

    Args:
        logits: Shape (N, C), any float dtype; not probabilities.
        labels: Shape (N,), whole numbers from 0 to C - 1.
        weight: Shape (C,), each at least 0. Twice the weights is the same loss, since they are a weighted mean's.
        smoothing: From 0 (the label as it is) to 1 (the label is forgotten).

    Returns:
        A scalar in nats: 0 for certainty in the right class, log C for a model that knows nothing.

    Raises:
        ArgumentError: If the shapes do not fit, a label is no class, or ``smoothing`` is not from 0 to 1.

    Source:
        The article, section 3.3, formula (1). Label smoothing: Szegedy et al. 2016, "Rethinking the Inception
        Architecture". Departure: class weights, which the article has not, are normalised as
        ``torch.nn.functional.cross_entropy`` does it; where all that count are 0, the loss is NaN, as there.

    Example:
        Two classes, and a model that gives the true one 3 parts of 4: the loss is -log(3/4).

        >>> cross_entropy(torch.tensor([[3.0, 1.0]]).log(), torch.tensor([0]))
        tensor(0.2877)
    """
    check_number("cross_entropy", "smoothing", smoothing, "0.1 is usual, 0 switches it off", at_least=0, at_most=1)
    check_labels("cross_entropy", logits, labels)
    check_weights("cross_entropy", logits, weight)
    classes = logits.shape[1]
    weights = torch.ones_like(logits[0]) if weight is None else weight.to(logits)
    target = torch.nn.functional.one_hot(labels, classes).to(logits) * (1 - smoothing) + smoothing / classes
    return -(weights * target * logits.log_softmax(dim=1)).sum() / weights[labels].sum()
