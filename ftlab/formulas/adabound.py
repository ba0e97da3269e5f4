"""AdaBound: Adam with the learning rate of every entry clipped between two bounds that converge to one rate."""

import math

import torch

from ftlab.errors import check_number
from ftlab.parameters import Tensors

Past = dict[str, tuple[torch.Tensor, torch.Tensor, int]]
"""By name: the running means of the gradient and of its square, and the number of steps."""


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
    r"""Take a step that changes from Adam to gradient descent with momentum, by clipping the rate of every entry.

    .. math:: m_t = \beta_1 m_{t-1} + (1-\beta_1) g_t, \quad v_t = \beta_2 v_{t-1} + (1-\beta_2) g_t^2, \quad
              \eta_t = \min\Big(\max\Big(\frac{\alpha\sqrt{1-\beta_2^t}}{(1-\beta_1^t)(\sqrt{v_t}+\epsilon)},
              \alpha^*\big(1-\tfrac{1}{\gamma t+1}\big)\Big), \alpha^*\big(1+\tfrac{1}{\gamma t}\big)\Big)

    .. math:: \theta_t = (1 - \alpha\lambda)\,\theta_{t-1} - \eta_t\, m_t

    =========================  =================  ===============================================================
    symbol                     code               meaning
    =========================  =================  ===============================================================
    :math:`\theta`, :math:`g`  ``params, grads``  parameters and gradients, by name
    :math:`m, v, t`            ``past``           running means of g and g², and the number of steps
    :math:`\alpha`             ``lr``             Adam's learning rate, used at the beginning
    :math:`\alpha^*`           ``final_rate``     the rate of gradient descent, reached at the end
    :math:`\gamma`             ``gamma``          how fast the bounds converge: at step 1/γ they are α*/2 and 2α*
    :math:`\beta_1, \beta_2`   ``betas``          decay rates of the two running means
    :math:`\epsilon`           ``eps``            keeps the quotient finite
    :math:`\lambda`            ``weight_decay``   decoupled weight decay
    =========================  =================  ===============================================================

    Args:
        params: Tensors by name. A name without a gradient is unchanged: no decay, and its t does not advance.
        grads: Tensors by name, each of its parameter's shape.
        past: An empty dictionary at the first step, then the one that the last step returned.
        lr: At least 0. With 0 the parameters still move, at the lower bound.
        final_rate: At least 0; with 0 the gradient moves nothing. A schedule has to scale it together with ``lr``.
        gamma: Greater than 0. Towards 0 the step is that of Adam, towards infinity that of gradient descent with
            momentum.
        betas: Each from 0 to below 1.
        eps: Greater than 0.
        weight_decay: At least 0; 0 switches it off.

    Returns:
        The new parameters and the new past. The inputs are not modified.

    Raises:
        ArgumentError: If a number is outside its range.

    Source:
        Luo et al. 2019, "Adaptive Gradient Methods with Dynamic Bound of Learning Rate", arXiv 1902.09843. Departure:
        as in the authors' code, Adam's bias correction and ε are used, and neither a division by √t nor a projection.
        The decay is decoupled; the authors add it to the gradient.

    Example:
        With γ = 1 the first bounds are 1/2 and 2. The gradient 0.1 has the rate 0.5/0.1 = 5, the gradient 10 has
        0.5/10. Both rates are clipped: 1 - 2 · 0.1 and 10 - 1/2 · 10.

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
    new, new_past = {}, dict(past)
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
        new_past[name] = first, second, step
    return new, new_past
