"""Signum: a sign step along the running mean of the gradients. Without momentum it is signSGD."""

import torch

from ftlab.errors import check_number
from ftlab.parameters import Tensors


def signum(
    params: Tensors, grads: Tensors, momentum: Tensors, lr: float, *, beta: float = 0.9
) -> tuple[Tensors, Tensors]:
    r"""Move every entry by the same length, against the sign of the running mean of its gradients.

    .. math:: m_t = \beta\, m_{t-1} + (1-\beta)\, g_t, \qquad \theta_t = \theta_{t-1} - \alpha\,\mathrm{sign}(m_t)

    =========================  =================  ============================================
    symbol                     code               meaning
    =========================  =================  ============================================
    :math:`\theta`, :math:`g`  ``params, grads``  parameters and gradients, by name
    :math:`m`                  ``momentum``       running mean of the gradients, by name
    :math:`\alpha`             ``lr``             the learning rate: how far each entry moves
    :math:`\beta`              ``beta``           decay rate of the running mean; 0 is signSGD
    =========================  =================  ============================================

    The step of d entries has norm α√d, whatever the gradient is. A learning rate that suits Adam suits it; one that
    suits gradient descent is far too large. The step does not shrink near a minimum, only with the learning rate.

    Args:
        params: Tensors by name. A name without a gradient is unchanged.
        grads: Tensors by name, each of its parameter's shape.
        momentum: An empty dictionary at the first step, then the one that the last step returned.
        lr: At least 0; 0 changes no parameter.
        beta: From 0 to below 1. With 0 the momentum is the last gradient.

    Returns:
        The new parameters and the new momentum. The inputs are not modified.

    Raises:
        ArgumentError: If a number is outside its range.

    Source:
        Bernstein et al. 2018, "signSGD", arXiv 1802.04434. Departure: none.

    Example:
        m = 2, then 1 - 1/2 = 1/2: the second step keeps its direction although the gradient has changed its sign.

        >>> params, momentum = signum({"w": torch.tensor([1.0])}, {"w": torch.tensor([4.0])}, {}, 0.25, beta=0.5)
        >>> signum(params, {"w": torch.tensor([-1.0])}, momentum, 0.25, beta=0.5)
        ({'w': tensor([0.5000])}, {'w': tensor([0.5000])})
    """
    check_number("signum", "lr", lr, "1e-5 is a first try for fine-tuning", at_least=0)
    check_number("signum", "beta", beta, "0.9 is usual, 0 is signSGD", at_least=0, below=1)
    new, means = {}, dict(momentum)
    for name, param in params.items():
        if name not in grads:
            new[name] = param.clone()
            continue
        grad = grads[name]
        means[name] = beta * means.get(name, torch.zeros_like(grad)) + (1 - beta) * grad
        new[name] = param - lr * means[name].sign()
    return new, means
