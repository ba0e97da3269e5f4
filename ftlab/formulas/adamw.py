"""AdamW: the default optimizer."""

from dataclasses import dataclass, field

import torch

from ftlab.errors import check_number
from ftlab.parameters import Tensors


@dataclass(frozen=True)
class Moments:
    """AdamW's state by name: running means of the gradient and of its square, and the number of steps."""

    first: Tensors = field(default_factory=dict)
    second: Tensors = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)


def adamw(
    params: Tensors,
    grads: Tensors,
    moments: Moments,
    lr: float,
    *,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.01,
    bias_correction: bool = True,
) -> tuple[Tensors, Moments]:
    r"""Move every entry by about the same length, against the running mean of its gradient.

    .. math:: m_t = \beta_1 m_{t-1} + (1-\beta_1) g_t, \quad v_t = \beta_2 v_{t-1} + (1-\beta_2) g_t^2, \quad
              \hat{m}_t = \frac{m_t}{1-\beta_1^t}, \quad \hat{v}_t = \frac{v_t}{1-\beta_2^t}

    .. math:: \theta_t = (1 - \alpha\lambda)\,\theta_{t-1} - \alpha\,\frac{\hat{m}_t}{\sqrt{\hat{v}_t} + \epsilon}

    =========================  =================  ==================================================
    symbol                     code               meaning
    =========================  =================  ==================================================
    :math:`\theta`, :math:`g`  ``params, grads``  parameters and gradients, by name
    :math:`m, v, t`            ``moments``        running means of g and g², and the number of steps
    :math:`\alpha`             ``lr``             the learning rate
    :math:`\beta_1, \beta_2`   ``betas``          decay rates of the two running means
    :math:`\epsilon`           ``eps``            keeps the quotient finite
    :math:`\lambda`            ``weight_decay``   decoupled weight decay
    =========================  =================  ==================================================

    It differs from :func:`gradient_descent` in three ways. The gradient is replaced by its running mean. Each entry is
    divided by the root of its mean square, so the first step is :math:`\alpha\,\mathrm{sign}(g)`. And m and v start at
    0, a bias that the division by :math:`1-\beta^t` corrects. Without the correction the step is
    :math:`(1-\beta_1^t)/\sqrt{1-\beta_2^t}` times as long: 3.2 times at step 1, 6.5 times at step 10, 1.3 times at step
    1000.

    Args:
        params: Tensors by name. A name without a gradient is unchanged: no decay, and its t does not advance.
        grads: Tensors by name, each of its parameter's shape.
        moments: ``Moments()`` at the first step, then those that the last step returned.
        lr: At least 0; 0 changes no parameter.
        betas: Each from 0 to below 1; (0, 0) makes each step a sign step.
        eps: Greater than 0.
        weight_decay: At least 0; 0 is Adam.
        bias_correction: Whether to divide by :math:`1-\beta^t`.

    Returns:
        The new parameters and the new moments. The inputs are not modified.

    Raises:
        ArgumentError: If a number is outside its range.

    Source:
        Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization", arXiv 1711.05101; Kingma and Ba 2015
        for the moments. Departure: the decay is multiplied by the learning rate, as in ``torch.optim.AdamW``.

    Example:
        The first step of each entry is as long as the learning rate, however large its gradient is.

        >>> params, _ = adamw({"w": torch.tensor([1.0, 1.0])}, {"w": torch.tensor([500.0, -0.5])},
        ...                   Moments(), 0.1, weight_decay=0.0)
        >>> params["w"]
        tensor([0.9000, 1.1000])
    """
    check_number("adamw", "lr", lr, "5e-5 is usual for fine-tuning", at_least=0)
    check_number("adamw", "weight_decay", weight_decay, "0.01 is usual, 0 switches it off", at_least=0)
    check_number("adamw", "eps", eps, "1e-8 is usual", above=0)
    for beta in betas:
        check_number("adamw", "beta", beta, "0.9 and 0.999 are usual", at_least=0, below=1)
    new, first, second, steps = {}, dict(moments.first), dict(moments.second), dict(moments.steps)
    for name, param in params.items():
        if name not in grads:
            new[name] = param.clone()
            continue
        grad = grads[name]
        steps[name] = steps.get(name, 0) + 1
        first[name] = betas[0] * first.get(name, torch.zeros_like(grad)) + (1 - betas[0]) * grad
        second[name] = betas[1] * second.get(name, torch.zeros_like(grad)) + (1 - betas[1]) * grad.square()
        correct_first = 1 - betas[0] ** steps[name] if bias_correction else 1.0
        correct_second = 1 - betas[1] ** steps[name] if bias_correction else 1.0
        direction = (first[name] / correct_first) / ((second[name] / correct_second).sqrt() + eps)
        new[name] = (1 - lr * weight_decay) * param - lr * direction
    return new, Moments(first, second, steps)
