"""SMART's smoothness: near an input the model is to say nearly the same."""

from collections.abc import Callable

import torch
from torch import Tensor

from ftlab.errors import argument_error, check_number


def smart(
    scores: Callable[[Tensor], Tensor], clean: Tensor, noise: Tensor, radius: float = 1e-2, step: float = 1e-2
) -> Tensor:
    r"""Return how much the model's answer changes when its input is moved a little in a bad direction.

    .. math:: R = \frac{1}{N}\sum_{i=1}^{N}\ell\big(f(x_i+\delta_i), f(x_i)\big),\qquad
              \delta = \Pi_{\lVert\delta\rVert_\infty\le\varepsilon}\Big(\nu + \eta\,\frac{g}{\lVert g\rVert_\infty}\Big),
              \qquad g = \nabla_\nu\,\ell\big(f(x+\nu), f(x)\big)

    =====================  ==============  =============================================================
    symbol                 code            meaning
    =====================  ==============  =============================================================
    :math:`f(x+\delta)`    ``scores``      the function from what is added to the input to the logits
    :math:`f(x)`           ``clean``       the logits with nothing added
    :math:`\nu`            ``noise``       where the search for a bad direction begins
    :math:`\varepsilon`    ``radius``      how far each entry of the input may be moved
    :math:`\eta`           ``step``        how far one step of the search goes
    :math:`\ell`                           KL(p‖q) + KL(q‖p) of the two answers
    =====================  ==============  =============================================================

    The best direction is sought by one step of ascent. The noise must not be 0: there the answers are equal, which is a
    minimum, and the gradient shows no way.

    Args:
        scores: Takes a tensor of the shape of ``noise`` and returns logits of shape (N, C), the same for the same
            tensor: dropout is held fixed by whoever makes it.
        clean: Shape (N, C).
        noise: Shape (N, ...), small and random.
        radius: At least 0, in the input's unit; 0 gives 0.
        step: At least 0, in the input's unit. Much more than ``radius`` drives nearly all entries to the bound.

    Returns:
        A scalar of at least 0. Its gradient goes through both answers, and none through the direction.

    Raises:
        ArgumentError: If a number is outside its range, or the shapes do not fit.

    Source:
        Jiang, He, Chen, Liu, Gao and Zhao 2020, "SMART: Robust and Efficient Fine-Tuning for Pre-trained Natural Language
        Models through Principled Regularized Optimization", arXiv 1911.03437, the smoothness-inducing part. Departure:
        the Bregman proximal part is left out, and the search has one step. The authors' code never projects: its epsilon
        is only added to a divisor, so that its inputs move by the step; it divides token by token, not by the greatest
        entry of the sample, and seeks the direction by one of the two divergences.

    Example:
        A model with the scores (0, x) at x = 0, moved by 0.1 at most: p = σ(0.1) = 0.5250, and the two divergences make
        (0.5250 - 0.5) · 0.1 = 0.0025.

        >>> line = lambda delta: torch.cat([torch.zeros(1, 1), delta], dim=1)
        >>> smart(line, line(torch.zeros(1, 1)), torch.full((1, 1), 0.01), radius=0.1, step=1.0)
        tensor(0.0025)
    """
    check_number("smart", "radius", radius, "1e-2 is a first try, 0 switches it off", at_least=0)
    check_number("smart", "step", step, "1e-2 is a first try", at_least=0)
    if clean.ndim != 2 or noise.ndim < 2 or len(noise) != len(clean) or len(clean) == 0:
        must, got = (
            "have one entry a row of clean, of shape (N, C)",
            f"{tuple(noise.shape)} beside {tuple(clean.shape)}",
        )
        raise argument_error("smart", "noise", must, got, "Both are of one batch")
    with torch.enable_grad():
        start = noise.detach().clone().requires_grad_()
        (grad,) = torch.autograd.grad(_apart(scores(start), clean.detach()), start)
    greatest = grad.abs().amax(dim=tuple(range(1, grad.ndim)), keepdim=True)
    direction = torch.where(greatest > 0, grad / greatest, 0.0)
    return _apart(scores((start.detach() + step * direction).clamp(-radius, radius)), clean)


def _apart(one: Tensor, other: Tensor) -> Tensor:
    """Return the sum of both divergences, on average over the samples; no term of it is negative."""
    p, q = one.log_softmax(dim=1), other.log_softmax(dim=1)
    return ((p.exp() - q.exp()) * (p - q)).sum() / len(p)
