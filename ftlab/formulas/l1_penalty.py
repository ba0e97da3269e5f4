"""L1 penalty: the loss grows with the sizes of the weights, so that its gradient pulls all alike towards zero."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from ftlab.errors import check_number
from ftlab.parameters import Pattern, Tensors, join_patterns, penalised
from ftlab.rule import Memory, Now, Penalty, Rule


def l1_penalty(params: Tensors, strength: float) -> Tensor:
    r"""Add up the sizes of all entries, times the strength.

    .. math:: \Omega(\theta) = \lambda\sum_i |\theta_i|, \qquad \nabla\Omega = \lambda\,\mathrm{sign}(\theta)

    ==================  ==============  ===============================
    symbol              code            meaning
    ==================  ==============  ===============================
    :math:`\theta`      ``params``      the parameters, by name
    :math:`\lambda`     ``strength``    how strong the pull is
    ==================  ==============  ===============================

    Its minimum has exact zeros, but gradient steps do not reach them: an entry near zero is carried across it, and back
    at the next step. :func:`soft_threshold`, the proximal step of the same penalty, stops at zero.

    Args:
        params: Tensors by name, any shapes.
        strength: At least 0; 0 is no penalty.

    Returns:
        One number, at least 0, in single precision at least, through which a gradient flows to each parameter; to an
        entry that is 0 flows 0.

    Raises:
        ArgumentError: If ``strength`` is not a number of at least 0.

    Source:
        Tibshirani 1996, "Regression Shrinkage and Selection via the Lasso", in its penalised form. Departure: none;
        at 0, where there is no slope, the one chosen is 0.

    Example:
        >>> l1_penalty({"w": torch.tensor([3.0, -4.0])}, 0.5)
        tensor(3.5000)
    """
    check_number("l1_penalty", "strength", strength, "1e-4 is a first try, 0 switches it off", at_least=0)
    sizes = [param.abs().sum(dtype=torch.promote_types(param.dtype, torch.float32)) for param in params.values()]
    return strength * torch.stack(sizes).sum() if sizes else torch.zeros(())


@final
@dataclass(frozen=True)
class L1Penalty(Penalty):
    """The Lasso's penalty, as a part of the loss. See :func:`l1_penalty`.

    Biases and the gains of normalising modules are left alone, whatever they are called.
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
        return f"add {self.strength:g} times the size of {what}, but of no bias or gain, to the loss"

    def cautions(self, recipe: Sequence[Rule]) -> list[str]:
        return ["L1Penalty makes almost no exact zeros, since its steps pass over zero; SoftThreshold makes them."]

    def start(self, model: nn.Module, batches: Any, loss: Any, now: Now) -> Memory:
        return penalised(model, now.params, self.pattern, "L1Penalty")

    def penalty(self, params: Tensors, memory: Memory, now: Now) -> Tensor:
        return l1_penalty({name: params[name] for name in memory if self.strength}, self.strength)
