"""FreeLB: adversarial training with several ascent steps on the embeddings, and one update for all of them."""

from collections.abc import Callable

import torch
from torch import Tensor

from ftlab.errors import argument_error, check_int, check_number


def free_lb(loss: Callable[[Tensor], Tensor], start: Tensor, step_size: float = 1e-1, steps: int = 2) -> Tensor:
    r"""Return the mean loss over the steps of a gradient ascent on the input.

    .. math:: J = \frac{1}{K}\sum_{k=0}^{K-1} L(\delta_k),\qquad
              \delta_{k+1} = \delta_k + \alpha\,\frac{\nabla_\delta L(\delta_k)}{\lVert\nabla_\delta L(\delta_k)\rVert_2}

    ================  =============  =================================================
    symbol            code           meaning
    ================  =============  =================================================
    :math:`L`         ``loss``       maps a perturbation of the input to the mean loss
    :math:`\delta_0`  ``start``      the first perturbation
    :math:`\alpha`    ``step_size``  the length of a step of each sample
    :math:`K`         ``steps``      the number of forward passes
    ================  =============  =================================================

    The gradient of a mean is the mean of the gradients, so one backward pass gives what the paper adds up in K backward
    passes; the graphs of all K forward passes are kept until then. No gradient flows through the perturbations.

    Args:
        loss: Takes a tensor of the shape of ``start`` and returns a scalar. It must be deterministic: the caller fixes
            the dropout masks.
        start: Shape (N, ...), one entry per sample. Zeros start at the clean input.
        step_size: At least 0, in the unit of the input.
        steps: At least 1. One step from zeros is the plain loss.

    Returns:
        A scalar.

    Raises:
        ArgumentError: If a number is outside its range, or ``start`` has fewer than two dimensions.

    Source:
        Zhu, Cheng, Gan, Sun, Goldstein and Liu 2020, "FreeLB: Enhanced Adversarial Training for Natural Language
        Understanding", arXiv 1909.11764. Departure: the norm of δ has no bound of its own; each of the ``steps`` - 1
        steps moves δ by ``step_size`` at most. The gradient is normalised for each sample.

    Example:
        L(δ) = δ² from 1 with steps of 1: δ is 1 and 2, and the losses 1 and 4 have the mean 2.5.

        >>> free_lb(lambda delta: delta.square().sum(), torch.ones(1, 1), step_size=1.0, steps=2).item()
        2.5
    """
    check_number("free_lb", "step_size", step_size, "0.1 is a first try", at_least=0)
    check_int("free_lb", "steps", steps, "2 is usual", at_least=1)
    if start.ndim < 2:
        raise argument_error("free_lb", "start", "have the shape (N, ...)", str(tuple(start.shape)), "Add a dimension")
    delta, losses = start.detach(), []
    for step in range(steps):
        with torch.enable_grad():
            delta = delta.clone().requires_grad_()
            losses.append(loss(delta))
        if step + 1 < steps:
            (grad,) = torch.autograd.grad(losses[-1], delta, retain_graph=True)
            length = torch.linalg.vector_norm(grad, dim=tuple(range(1, grad.ndim)), keepdim=True)
            delta = delta.detach() + step_size * torch.where(length > 0, grad / length, 0.0)
    return torch.stack(losses).sum() / steps
