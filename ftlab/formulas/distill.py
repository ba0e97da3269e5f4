"""Distillation: train a student on a teacher's probabilities and on the labels."""

import torch
from torch import Tensor

from ftlab.errors import argument_error, check_number
from ftlab.formulas._checks import check_labels


def distill(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float, alpha: float) -> Tensor:
    r"""Return a weighted mean of the student's cross-entropy and its divergence from the teacher.

    .. math:: J = \frac{1}{N}\sum_{i=1}^{N}\left[-(1-\alpha)\log\mathrm{softmax}(s_i)_{y_i}
              + \alpha\,T^2\,\mathrm{KL}\big(\mathrm{softmax}(t_i/T)\,\Vert\,\mathrm{softmax}(s_i/T)\big)\right]

    ==============  ===============  ============================================
    symbol          code             meaning
    ==============  ===============  ============================================
    :math:`s`       ``student``      the scores of the model that is trained
    :math:`t`       ``teacher``      the scores of the model to learn from
    :math:`y`       ``labels``       the true class of each sample
    :math:`T`       ``temperature``  divides both scores before they are compared
    :math:`\alpha`  ``alpha``        the teacher's weight; the labels have 1 - α
    ==============  ===============  ============================================

    A higher temperature shows which wrong classes the teacher considers likely. It also divides the gradient by about
    T², which the factor T² compensates.

    Args:
        student: Logits of shape (N, C).
        teacher: Logits of the same shape. No gradient flows into them.
        labels: Shape (N,), whole numbers from 0 to C - 1.
        temperature: Greater than 0.
        alpha: From 0 (only the labels: cross-entropy) to 1 (only the teacher).

    Returns:
        A scalar.

    Raises:
        ArgumentError: If the shapes do not fit, a label is not a class, or a number is outside its range.

    Source:
        Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network", arXiv 1503.02531.
        Departure: the divergence from the teacher instead of the cross-entropy with it. The two differ by the teacher's
        entropy, so their gradients are equal, and the divergence is 0 for a student that equals its teacher.

    Example:
        The student has the probabilities (1/2, 1/2), the teacher (3/4, 1/4). At T = 1 the teacher's term is
        3/4 · log(3/2) + 1/4 · log(1/2) = 0.1308.

        >>> student, teacher = torch.zeros(1, 2), torch.tensor([[3.0, 1.0]]).log()
        >>> distill(student, teacher, torch.tensor([0]), 1.0, 1.0), distill(student, teacher, torch.tensor([0]), 1.0, 0.0)
        (tensor(0.1308), tensor(0.6931))
    """
    check_number("distill", "temperature", temperature, "2.0 is usual", above=0)
    check_number("distill", "alpha", alpha, "0.5 is usual, 0 leaves the teacher out", at_least=0, at_most=1)
    if student.shape != teacher.shape:
        must, got = "have the shape of student, (N, C)", f"{tuple(teacher.shape)} beside {tuple(student.shape)}"
        raise argument_error("distill", "teacher", must, got, "Both are logits of the same samples for the same labels")
    check_labels("distill", student, labels)
    true = torch.nn.functional.one_hot(labels, student.shape[1]).to(student)
    entropy = -(true * student.log_softmax(dim=1)).sum()
    target = (teacher.detach().to(student) / temperature).log_softmax(dim=1)
    logs = (student / temperature).log_softmax(dim=1)
    divergence = (target.exp() * (target - logs)).sum()
    return ((1 - alpha) * entropy + alpha * temperature**2 * divergence) / len(labels)
