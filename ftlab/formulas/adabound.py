"""AdaBound: Adam's learning rate of every entry is clipped, between bounds that close in on one rate for all."""

import math

import torch

from ftlab.errors import check_number
from ftlab.parameters import Tensors

Past = dict[str, tuple[torch.Tensor, torch.Tensor, int]]
"""By name: the running means of the gradient and of its square, and how many were taken."""


def adabound(
    params: Tensors,
    grads: Tensors,
    past: Past,
    lr: float,
    *,
    final_rate: float = 0.1,
    gamma: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> tuple[Tensors, Past]:
    r"""Begin as Adam and end as gradient descent with momentum, by bounds on the rate of every entry.

    .. math:: m_t = \beta_1 m_{t-1} + (1-\beta_1) g_t, \quad v_t = \beta_2 v_{t-1} + (1-\beta_2) g_t^2, \quad
              \eta_t = \min\Big(\max\Big(\frac{\alpha\sqrt{1-\beta_2^t}}{(1-\beta_1^t)(\sqrt{v_t}+\epsilon)},
              \alpha^*\big(1-\tfrac{1}{\gamma t+1}\big)\Big), \alpha^*\big(1+\tfrac{1}{\gamma t}\big)\Big)

    .. math:: \theta_t = (1 - \alpha\lambda)\,\theta_{t-1} - \eta_t\, m_t

    ==========================  ====================  ===================================================
    symbol                      code                  meaning
    ==========================  ====================  ===================================================
    :math:`\theta`, :math:`g`   ``params, grads``     parameters and gradients, by name
    :math:`m, v, t`             ``past``              running means of g and g², and the number of steps
    :math:`\alpha`              ``lr``              Adam's learning rate, with which it begins
    :math:`\alpha^*`            ``final_rate``        the rate of gradient descent, with which it ends
    :math:`\gamma`              ``gamma``             how fast the bounds close: at step 1/γ they are α*/2, 2α*
    :math:`\beta_1, \beta_2`    ``betas``             how long the two means remember
    :math:`\epsilon`            ``eps``               keeps the quotient finite
    :math:`\lambda`             ``weight_decay``      pull towards 0, apart from the gradient (decoupled)
    ==========================  ====================  ===================================================

    Args:
        params: Tensors by name. A name without a gradient stays as it is, without decay, and its t does not grow.
        grads: Tensors by name, each of its parameter's shape.
        past: An empty dictionary at the first step, then what the last step gave back.
        lr: At least 0. A rate of 0 does not stand still: the lower bound holds it up.
        final_rate: At least 0; 0 stands still. A schedule has to scale it together with ``lr``.
        gamma: Greater than 0; towards 0 it is Adam, towards infinity gradient descent with momentum.
        betas: Each from 0 to below 1.
        eps: Greater than 0.
        weight_decay: At least 0; 0 switches it off.

    Returns:
        New parameters and the new past; what came in is not changed.

    Raises:
        ArgumentError: If a number is outside its range.

    Source:
        Luo et al. 2019, "Adaptive Gradient Methods with Dynamic Bound of Learning Rate", arXiv 1902.09843. Departure:
        as in the authors' code Adam's bias correction and ε are there, and neither a division by √t nor a projection;
        the decay is decoupled, where theirs is a part of the gradient.

    Example:
        With γ = 1 the first bounds are 1/2 and 2. A small gradient would have the rate 0.5/0.1 = 5, a large one 0.5/10;
        both are clipped: 1 - 2 · 0.1 and 10 - 1/2 · 10.

        >>> params, _ = adabound({"w": torch.tensor([1.0, 10.0])}, {"w": torch.tensor([0.1, 10.0])}, {}, 0.5,
        ...                      final_rate=1.0, gamma=1.0, betas=(0.0, 0.0))
        >>> params["w"]
        tensor([0.8000, 5.0000])
    """
    check_number("adabound", "lr", lr, "1e-3 is usual, 5e-5 for fine-tuning", at_least=0)
    check_number("adabound", "final_rate", final_rate, "0.1 is usual, 100 times the rate", at_least=0)
    check_number("adabound", "gamma", gamma, "1e-3 is usual", above=0)
    check_number("adabound", "eps", eps, "1e-8 is usual", above=0)
    check_number("adabound", "weight_decay", weight_decay, "0.01 is usual, 0 switches it off", at_least=0)
    for beta in betas:
        check_number("adabound", "beta", beta, "0.9 and 0.999 are usual", at_least=0, below=1)
    new, kept = {}, dict(past)
    for name, param in params.items():
        if name not in grads:
            new[name] = param.clone()
            continue
        grad = grads[name]
        zeros = torch.zeros_like(grad)
        first, second, step = past.get(name, (zeros, zeros, 0))
        first = (betas[0] * first).add_(grad, alpha=1 - betas[0])
        second = (betas[1] * second).addcmul_(grad, grad, value=1 - betas[1])
        step += 1
        corrected = lr * math.sqrt(1 - betas[1] ** step) / (1 - betas[0] ** step)
        low, high = final_rate * (1 - 1 / (gamma * step + 1)), final_rate * (1 + 1 / (gamma * step))
        rates = second.sqrt().add_(eps).reciprocal_().mul_(corrected).clamp_(low, high)
        new[name] = ((1 - lr * weight_decay) * param).addcmul_(rates, first, value=-1)
        kept[name] = first, second, step
    return new, kept
