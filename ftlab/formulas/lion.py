"""Lion: a sign step along a mixture of the gradient and its running mean."""

import torch

from ftlab.errors import check_number
from ftlab.parameters import Tensors


def lion(
    params: Tensors,
    grads: Tensors,
    momentum: Tensors,
    lr: float,
    *,
    betas: tuple[float, float] = (0.9, 0.99),
    weight_decay: float = 0.0,
) -> tuple[Tensors, Tensors]:
    r"""Move every entry by the same length, against the sign of a mixture of its gradient and its momentum.

    .. math:: c_t = \beta_1 m_{t-1} + (1-\beta_1) g_t, \quad
              \theta_t = (1 - \alpha\lambda)\,\theta_{t-1} - \alpha\,\mathrm{sign}(c_t), \quad
              m_t = \beta_2 m_{t-1} + (1-\beta_2) g_t

    =========================  =================  ==================================================
    symbol                     code               meaning
    =========================  =================  ==================================================
    :math:`\theta`, :math:`g`  ``params, grads``  parameters and gradients, by name
    :math:`m`                  ``momentum``       running mean of the gradients, by name
    :math:`\alpha`             ``lr``             the learning rate: how far each entry moves
    :math:`\beta_1`            ``betas[0]``       the share of the mean in the direction of the step
    :math:`\beta_2`            ``betas[1]``       decay rate of the running mean
    :math:`\lambda`            ``weight_decay``   decoupled weight decay
    =========================  =================  ==================================================

    It keeps one tensor per parameter, Adam keeps two. Every step is a sign step, which is longer than most of Adam's:
    the authors use a learning rate 3 to 10 times smaller than AdamW's, and a decay as many times larger.

    Args:
        params: Tensors by name. A name without a gradient is unchanged: no decay.
        grads: Tensors by name, each of its parameter's shape.
        momentum: An empty dictionary at the first step, then the one that the last step returned.
        lr: At least 0; 0 changes no parameter.
        betas: Each from 0 to below 1. If the first is 0, the step is that of signSGD.
        weight_decay: At least 0; 0 switches it off.

    Returns:
        The new parameters and the new momentum. The inputs are not modified.

    Raises:
        ArgumentError: If a number is outside its range.

    Source:
        Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms", arXiv 2302.06675. Departure:
        none. The default is no weight decay, as in the authors' code; optax has 0.001.

    Example:
        The first step of each entry is as long as the learning rate, however large its gradient is.

        >>> params, momentum = lion({"w": torch.tensor([1.0, 1.0])}, {"w": torch.tensor([500.0, -0.5])}, {}, 0.25)
        >>> params["w"]
        tensor([0.7500, 1.2500])
    """
    check_number("lion", "lr", lr, "1e-5 is usual for fine-tuning", at_least=0)
    check_number("lion", "weight_decay", weight_decay, "0.01 is usual, 0 switches it off", at_least=0)
    for beta in betas:
        check_number("lion", "beta", beta, "0.9 and 0.99 are usual", at_least=0, below=1)
    new, means = {}, dict(momentum)
    for name, param in params.items():
        if name not in grads:
            new[name] = param.clone()
            continue
        grad = grads[name]
        mean = means.get(name, torch.zeros_like(grad))
        mixture = betas[0] * mean + (1 - betas[0]) * grad
        new[name] = (1 - lr * weight_decay) * param - lr * mixture.sign()
        means[name] = betas[1] * mean + (1 - betas[1]) * grad
    return new, means
