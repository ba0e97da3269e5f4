"""SMART's smoothness penalty: nearby inputs should have nearly the same predictions."""

from collections.abc import Callable

import torch
from torch import Tensor

from ftlab.errors import argument_error, check_number


def smart(
    scores: Callable[[Tensor], Tensor], clean: Tensor, noise: Tensor, radius: float = 1e-2, step: float = 1e-2
) -> Tensor:
    r"""Return the divergence of the predictions for an input and for a small adversarial perturbation of it.

    .. math:: R = \frac{1}{N}\sum_{i=1}^{N}\ell\big(f(x_i+\delta_i), f(x_i)\big),\qquad
              \delta = \Pi_{\lVert\delta\rVert_\infty\le\varepsilon}\Big(\nu + \eta\,\frac{g}{\lVert g\rVert_\infty}\Big),
              \qquad g = \nabla_\nu\,\ell\big(f(x+\nu), f(x)\big)

    ===================  ==========  ==============================================
    symbol               code        meaning
    ===================  ==========  ==============================================
    :math:`f(x+\delta)`  ``scores``  maps a perturbation of the input to the logits
    :math:`f(x)`         ``clean``   the logits without a perturbation
    :math:`\nu`          ``noise``   the start of the search for the perturbation
    :math:`\varepsilon`  ``radius``  the bound on each entry of the perturbation
    :math:`\eta`         ``step``    the length of the search step
    :math:`\ell`                     KL(p‖q) + KL(q‖p) of the two predictions
    ===================  ==========  ==============================================

    The perturbation is found by one step of gradient ascent. The noise must not be 0: there the predictions are equal,
    so the divergence has its minimum and its gradient is 0.

    Args:
        scores: Takes a tensor of the shape of ``noise`` and returns logits of shape (N, C). It must be deterministic:
            the caller fixes the dropout masks.
        clean: Shape (N, C).
        noise: Shape (N, ...), small and random.
        radius: At least 0, in the unit of the input; with 0 the penalty is 0.
        step: At least 0, in the unit of the input. A step much longer than ``radius`` moves nearly all entries to the
            bound.

    Returns:
        A scalar, at least 0. Gradients flow through both predictions, and not through the perturbation.

    Raises:
        ArgumentError: If a number is outside its range, or the shapes do not fit.

    Source:
        Jiang, He, Chen, Liu, Gao and Zhao 2020, "SMART: Robust and Efficient Fine-Tuning for Pre-trained Natural
        Language Models through Principled Regularized Optimization", arXiv 1911.03437, the smoothness-inducing part.
        Departure: the Bregman proximal part is left out, and the search has one step. The authors' code does not
        project: its epsilon is only added to a divisor, so the perturbation has the length of the step. It normalises
        the gradient by token, not by sample, and uses one of the two divergences for the search.

    Example:
        A model with the scores (0, x) at x = 0, and a radius of 0.1: p = σ(0.1) = 0.5250, and the sum of the
        divergences is (0.5250 - 0.5) · 0.1 = 0.0025.

        >>> line = lambda delta: torch.cat([torch.zeros(1, 1), delta], dim=1)
        >>> smart(line, line(torch.zeros(1, 1)), torch.full((1, 1), 0.01), radius=0.1, step=1.0)
        tensor(0.0025)
    """
    check_number("smart", "radius", radius, "1e-2 is a first try, 0 switches it off", at_least=0)
    check_number("smart", "step", step, "1e-2 is a first try", at_least=0)
    if clean.ndim != 2 or noise.ndim < 2 or len(noise) != len(clean) or len(clean) == 0:
        must, got = (
            "have one entry for each row of clean, of shape (N, C)",
            f"{tuple(noise.shape)} beside {tuple(clean.shape)}",
        )
        raise argument_error("smart", "noise", must, got, "Both belong to one batch")
    with torch.enable_grad():
        start = noise.detach().clone().requires_grad_()
        (grad,) = torch.autograd.grad(_divergence(scores(start), clean.detach()), start)
    largest = grad.abs().amax(dim=tuple(range(1, grad.ndim)), keepdim=True)
    direction = torch.where(largest > 0, grad / largest, 0.0)
    return _divergence(scores((start.detach() + step * direction).clamp(-radius, radius)), clean)


def _divergence(first: Tensor, second: Tensor) -> Tensor:
    """Return the mean over samples of KL(p‖q) + KL(q‖p), as a sum of terms of at least 0."""
    p, q = first.log_softmax(dim=1), second.log_softmax(dim=1)
    return ((p.exp() - q.exp()) * (p - q)).sum() / len(p)
