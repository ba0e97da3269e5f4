"""Cross-entropy: the loss of single-label classification. The article's formula (1)."""

import torch
from torch import Tensor

from ftlab.errors import check_number
from ftlab.formulas._checks import check_labels, check_weights


def cross_entropy(logits: Tensor, labels: Tensor, *, weight: Tensor | None = None, smoothing: float = 0.0) -> Tensor:
    r"""Return the mean negative log-probability of the true labels.

    .. math:: J = -\frac{1}{N}\sum_{i=1}^{N}\sum_{c=1}^{C} y_{ic}\log\hat{y}_{ic},
              \qquad \hat{y}_{ic} = \frac{e^{z_{ic}}}{\sum_k e^{z_{ik}}}

    =========  =============  =============================================================
    symbol     code           meaning
    =========  =============  =============================================================
    :math:`z`  ``logits``     the model's scores, one row per sample, one column per class
    :math:`y`  ``labels``     the true class of each sample; 1 in its column, 0 elsewhere
    :math:`w`  ``weight``     the weight of each class; 1 for all by default
    :math:`s`  ``smoothing``  the share of the label that is spread evenly over all classes
    =========  =============  =============================================================

    With smoothing, :math:`y_{ic}` is :math:`(1-s)+s/C` for the true class and :math:`s/C` for the others. With
    weights, each term is multiplied by :math:`w_c`, and :math:`N` is replaced by :math:`\sum_i w_{y_i}`.

    Args:
        logits: Shape (N, C), any float dtype; not probabilities.
        labels: Shape (N,), whole numbers from 0 to C - 1.
        weight: Shape (C,), each at least 0. Multiplying all weights by one factor does not change the loss.
        smoothing: From 0 (the label as it is) to 1 (all classes alike).

    Returns:
        A scalar in nats: 0 if every true class has probability 1, log C if all classes are equally probable.

    Raises:
        ArgumentError: If the shapes do not fit, a label is not a class, or ``smoothing`` is not from 0 to 1.

    Source:
        The article, section 3.3, formula (1). Label smoothing: Szegedy et al. 2016, "Rethinking the Inception
        Architecture". Departure: class weights, which the article does not have, are normalised as in
        ``torch.nn.functional.cross_entropy``. If the weights of all labels in the batch are 0, the loss is NaN, as
        there.

    Example:
        Two classes, and a model that gives the true one probability 3/4: the loss is -log(3/4).

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
