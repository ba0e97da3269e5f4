"""Clip rate: keep the learning rate between two bounds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

from ftlab.errors import argument_error, check_number
from ftlab.rule import Memory, Now, Rates, Rule, Schedule


def clip_rate(lr: float, low: float, high: float) -> float:
    r"""Clip a learning rate to a lower and an upper bound.

    .. math:: \alpha \leftarrow \min\big(\max(\alpha, \alpha_{low}), \alpha_{high}\big)

    =====================  ========  =================
    symbol                 code      meaning
    =====================  ========  =================
    :math:`\alpha`         ``lr``    the learning rate
    :math:`\alpha_{low}`   ``low``   the lower bound
    :math:`\alpha_{high}`  ``high``  the upper bound
    =====================  ========  =================

    Args:
        lr: At least 0.
        low: At least 0; 0 sets no lower bound. Above 0 it also raises a rate of 0.
        high: At least ``low``; ``math.inf`` sets no upper bound.

    Returns:
        The rate if it lies between the bounds, otherwise the nearer bound.

    Raises:
        ArgumentError: If a number is outside its range, or ``low`` is above ``high``.

    Source:
        Luo et al. 2019, "Adaptive Gradient Methods with Dynamic Bound of Learning Rate", arXiv 1902.09843
        (AdaBound). Departure: the bounds are constant and apply to the rate of a whole parameter. AdaBound's bounds
        converge, and clip Adam's rate of every entry, see :func:`adabound`.

    Example:
        >>> [clip_rate(lr, 0.25, 0.5) for lr in (0.125, 0.375, 1.0)]
        [0.25, 0.375, 0.5]
    """
    check_number("clip_rate", "lr", lr, "5e-5 is usual for fine-tuning", at_least=0)
    _check("clip_rate", low, high)
    return min(max(lr, low), high)


def _check(where: str, low: float, high: float) -> None:
    check_number(where, "low", low, "0 sets no lower bound", at_least=0)
    check_number(where, "high", high, "inf sets no upper bound", at_least=0, finite=False)
    if low > high:
        raise argument_error(where, "low", f"be at most high, {high:g}", f"{low!r}", "Give the lower bound first")


@final
@dataclass(frozen=True)
class ClipRate(Schedule):
    """Clip the learning rate of every parameter. See :func:`clip_rate`."""

    example: ClassVar[str] = "ClipRate(1e-6, 1e-4)"
    neutral: ClassVar[str] = "ClipRate(0.0, inf)"

    low: float
    high: float

    def __post_init__(self) -> None:
        _check("ClipRate", self.low, self.high)

    @property
    def equation(self) -> str:
        return f"α ← min(max(α, {self.low:g}), {self.high:g})"

    @property
    def description(self) -> str:
        if math.isinf(self.high):
            return f"keep every learning rate at {self.low:g} or above"
        return f"keep every learning rate between {self.low:g} and {self.high:g}"

    def cautions(self, recipe: Sequence[Rule]) -> list[str]:
        sentences = []
        index = max((index for index, rule in enumerate(recipe) if rule == self), default=len(recipe))
        later = [type(rule).__name__ for rule in recipe[index + 1 :] if isinstance(rule, Schedule)]
        if later:
            sentences.append(
                f"{' and '.join(later)} acts after ClipRate, so the learning rate may leave the bounds again."
            )
        if self.low > 0:
            sentences.append(f"A learning rate of 0, by which a rule freezes a parameter, becomes {self.low:g}.")
        return sentences

    def schedule(self, rates: Rates, memory: Memory, now: Now) -> tuple[Rates, Memory]:
        return {name: clip_rate(lr, self.low, self.high) for name, lr in rates.items()}, memory
