"""Slanted triangle: raise the learning rate steeply, then lower it slowly. The schedule of ULMFiT."""

import math
from dataclasses import dataclass
from typing import ClassVar, final

from ftlab.errors import argument_error, check_int, check_number
from ftlab.rule import Memory, Now, Rates, Schedule


def slanted_triangular(lr: float, step: int, steps: int, cut: float, ratio: float) -> float:
    r"""Return a learning rate that rises linearly in a short phase, then falls linearly in a long one.

    .. math:: \alpha_t = \alpha\cdot\frac{1 + p\,(r-1)}{r}, \qquad
              p = \begin{cases} t/w & t < w \\ 1 - \frac{t-w}{T-w} & t \ge w \end{cases}, \qquad
              w = \lfloor T\cdot c\rfloor

    ==============  =========  ====================================================
    symbol          code       meaning
    ==============  =========  ====================================================
    :math:`\alpha`  ``lr``     the learning rate at the peak
    :math:`t`       ``step``   updates made so far, 0 at the first one
    :math:`T`       ``steps``  updates of the whole run
    :math:`c`       ``cut``    share of the updates in which the rate rises
    :math:`r`       ``ratio``  ratio of the peak to the lowest rate
    :math:`w`                  updates before the peak
    :math:`p`                  height in the triangle: 0 at the ends, 1 at the peak
    ==============  =========  ====================================================

    Args:
        lr: At least 0.
        step: From 0 to ``steps`` - 1.
        steps: At least 1.
        cut: From 0 to 1; 0 starts at the peak.
        ratio: At least 1; 1 changes nothing.

    Returns:
        The learning rate of that update, from ``lr / ratio`` to ``lr``.

    Raises:
        ArgumentError: If a number is outside its range.

    Source:
        Howard and Ruder 2018, "ULMFiT", arXiv 1801.06146. Departure: here the fall lasts T - w updates. The paper's
        lasts w·(1/c - 1), which is the same if T·c is a whole number. If it is not, the paper's fall ends before the
        run and the rate can become negative; if T·c is below 1, the paper divides by 0.

    Example:
        >>> [slanted_triangular(1.0, step, steps=8, cut=0.25, ratio=2) for step in (0, 1, 2, 5)]
        [0.5, 0.75, 1.0, 0.75]
    """
    check_number("slanted_triangular", "lr", lr, "0.01 is the peak in the paper", at_least=0)
    check_int("slanted_triangular", "steps", steps, "Count the updates of the whole run", at_least=1)
    check_int("slanted_triangular", "step", step, f"It lies below the {steps} steps of the run")
    if step >= steps:
        raise argument_error("slanted_triangular", "step", f"be less than steps, {steps}", repr(step), "Count from 0")
    _check("slanted_triangular", cut, ratio)
    peak = math.floor(steps * cut + 1e-9)  # 100·0.29 is 28.999999999999996
    share = step / peak if step < peak else 1 - (step - peak) / (steps - peak)
    return lr * (1 + share * (ratio - 1)) / ratio


def _check(where: str, cut: float, ratio: float) -> None:
    check_number(where, "cut", cut, "0.1 is usual: a tenth of the updates", at_least=0, at_most=1)
    check_number(where, "ratio", ratio, "32 is usual, 1 switches it off", at_least=1)


@final
@dataclass(frozen=True)
class SlantedTriangular(Schedule):
    """Raise the learning rate steeply over a share of the run, then lower it slowly. See :func:`slanted_triangular`."""

    example: ClassVar[str] = "SlantedTriangular(0.1, 32)"
    neutral: ClassVar[str] = "SlantedTriangular(0.1, 1)"

    cut: float = 0.1
    ratio: float = 32

    def __post_init__(self) -> None:
        _check("SlantedTriangular", self.cut, self.ratio)

    @property
    def equation(self) -> str:
        return f"α_t = α·(1 + p·({self.ratio:g} − 1))/{self.ratio:g},  p = t/w, then 1 − (t−w)/(T−w)"

    @property
    def description(self) -> str:
        fall = f"linearly to 1/{self.ratio:g} of its peak"
        if not self.cut:
            return f"lower the learning rate {fall}"
        share = f"the first {100 * self.cut:.3g}% of the updates"
        return (
            f"raise the learning rate from 1/{self.ratio:g} of its peak to the peak over {share}, then lower it {fall}"
        )

    def schedule(self, rates: Rates, memory: Memory, now: Now) -> tuple[Rates, Memory]:
        new = {name: slanted_triangular(lr, now.step, now.steps, self.cut, self.ratio) for name, lr in rates.items()}
        return new, memory
