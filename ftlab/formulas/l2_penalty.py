"""L2 penalty: add the squares of the weights to the loss."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from ftlab.errors import check_number
from ftlab.parameters import Pattern, Tensors, join_patterns, penalised
from ftlab.rule import Memory, Now, Penalty, Rule


def l2_penalty(params: Tensors, strength: float) -> Tensor:
    r"""Return half the sum of the squares of all entries, times the strength.

    .. math:: \Omega(\theta) = \frac{\lambda}{2}\sum_i \theta_i^2, \qquad \nabla\Omega = \lambda\,\theta

    ===============  ============  ===========================
    symbol           code          meaning
    ===============  ============  ===========================
    :math:`\theta`   ``params``    the parameters, by name
    :math:`\lambda`  ``strength``  the strength of the penalty
    ===============  ============  ===========================

    Under plain gradient descent it is :func:`weight_decay`. Under Adam it is not: its gradient is divided by the
    root-mean-square of the whole gradient, so weights with large gradients are hardly decayed.

    Args:
        params: Tensors by name, any shapes.
        strength: At least 0; 0 is no penalty.

    Returns:
        A differentiable scalar, at least 0, in single precision at least.

    Raises:
        ArgumentError: If ``strength`` is not a number of at least 0.

    Source:
        Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization", arXiv 1711.05101 (called L2
        regularization there). Departure: none.

    Example:
        >>> l2_penalty({"w": torch.tensor([3.0, 4.0])}, 0.5)
        tensor(6.2500)
    """
    check_number("l2_penalty", "strength", strength, "0.01 is usual, 0 switches it off", at_least=0)
    squares = [param.square().sum(dtype=torch.promote_types(param.dtype, torch.float32)) for param in params.values()]
    return strength / 2 * torch.stack(squares).sum() if squares else torch.zeros(())


@final
@dataclass(frozen=True)
class L2Penalty(Penalty):
    """Add the squared L2 norm of the weights to the loss: coupled weight decay. See :func:`l2_penalty`.

    Biases and the gains of normalisation layers are not penalised, whatever their names are.
    """

    example: ClassVar[str] = "L2Penalty(0.01)"
    neutral: ClassVar[str] = "L2Penalty(0.0)"

    strength: float
    pattern: Pattern = "*"

    def __post_init__(self) -> None:
        check_number("L2Penalty", "strength", self.strength, "0.01 is usual, 0 switches it off", at_least=0)

    @property
    def equation(self) -> str:
        return f"Ω = {self.strength / 2:g}·Σθ²"

    @property
    def description(self) -> str:
        what = "every weight" if self.pattern == "*" else f"the weights among {join_patterns(self.pattern)}"
        return f"add {self.strength / 2:g} times the square of {what} (no biases, no gains) to the loss"

    def cautions(self, recipe: Sequence[Rule]) -> list[str]:
        return [
            "Under Adam an L2 penalty is not weight decay: weights with large gradients hardly decay. WeightDecay decays all alike."
        ]

    def start(self, model: nn.Module, batches: Any, loss: Any, now: Now) -> Memory:
        return penalised(model, now.params, self.pattern, "L2Penalty")

    def penalty(self, params: Tensors, memory: Memory, now: Now) -> Tensor:
        return l2_penalty({name: params[name] for name in memory if self.strength}, self.strength)
