"""L1 penalty: add the absolute values of the weights to the loss."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from ftlab.errors import check_number
from ftlab.parameters import Pattern, Tensors, join_patterns, penalised
from ftlab.rule import Memory, Now, Penalty, Rule


def l1_penalty(params: Tensors, strength: float) -> Tensor:
    r"""Return the sum of the absolute values of all entries, times the strength.

    .. math:: \Omega(\theta) = \lambda\sum_i |\theta_i|, \qquad \nabla\Omega = \lambda\,\mathrm{sign}(\theta)

    ===============  ============  ===========================
    symbol           code          meaning
    ===============  ============  ===========================
    :math:`\theta`   ``params``    the parameters, by name
    :math:`\lambda`  ``strength``  the strength of the penalty
    ===============  ============  ===========================

    Its minimum has exact zeros, but gradient steps do not reach them: an entry near zero steps across it, and back in
    the next update. :func:`soft_threshold`, the proximal step of the same penalty, stops at zero.

    Args:
        params: Tensors by name, any shapes.
        strength: At least 0; 0 is no penalty.

    Returns:
        A differentiable scalar, at least 0, in single precision at least. The gradient of an entry that is 0 is 0.

    Raises:
        ArgumentError: If ``strength`` is not a number of at least 0.

    Source:
        Tibshirani 1996, "Regression Shrinkage and Selection via the Lasso", in its penalised form. Departure: none.
        At 0 the subgradient 0 is used.

    Example:
        >>> l1_penalty({"w": torch.tensor([3.0, -4.0])}, 0.5)
        tensor(3.5000)
    """
    check_number("l1_penalty", "strength", strength, "1e-4 is a first try, 0 switches it off", at_least=0)
    norms = [param.abs().sum(dtype=torch.promote_types(param.dtype, torch.float32)) for param in params.values()]
    return strength * torch.stack(norms).sum() if norms else torch.zeros(())


@final
@dataclass(frozen=True)
class L1Penalty(Penalty):
    """Add the L1 norm of the weights to the loss. See :func:`l1_penalty`.

    Biases and the gains of normalisation layers are not penalised, whatever their names are.
    """

    example: ClassVar[str] = "L1Penalty(1e-4)"
    neutral: ClassVar[str] = "L1Penalty(0.0)"

    strength: float
    pattern: Pattern = "*"

    def __post_init__(self) -> None:
        check_number("L1Penalty", "strength", self.strength, "1e-4 is a first try, 0 switches it off", at_least=0)

    @property
    def equation(self) -> str:
        return f"Ω = {self.strength:g}·Σ|θ|"

    @property
    def description(self) -> str:
        what = "every weight" if self.pattern == "*" else f"the weights among {join_patterns(self.pattern)}"
        return f"add {self.strength:g} times the absolute value of {what} (no biases, no gains) to the loss"

    def cautions(self, recipe: Sequence[Rule]) -> list[str]:
        return ["L1Penalty makes almost no exact zeros, because its steps cross zero; SoftThreshold makes them."]

    def start(self, model: nn.Module, batches: Any, loss: Any, now: Now) -> Memory:
        return penalised(model, now.params, self.pattern, "L1Penalty")

    def penalty(self, params: Tensors, memory: Memory, now: Now) -> Tensor:
        return l1_penalty({name: params[name] for name in memory if self.strength}, self.strength)
