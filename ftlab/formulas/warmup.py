"""Warm-up: raise the learning rate first, then lower it along a line or half a cosine wave."""

import math
from dataclasses import dataclass
from typing import ClassVar, final

from ftlab.errors import argument_error, check_int, check_number
from ftlab.rule import Memory, Now, Rates, Schedule


def warmup_linear(lr: float, step: int, steps: int, warmup_steps: int) -> float:
    r"""Return a learning rate that rises over the first updates, then falls linearly towards 0.

    .. math:: \alpha_t = \alpha\cdot\min\left(\frac{t+1}{w+1},\; \frac{T-t}{T-w}\right)

    ==============  ================  =======================================
    symbol          code              meaning
    ==============  ================  =======================================
    :math:`\alpha`  ``lr``            the learning rate at the peak
    :math:`t`       ``step``          updates made so far, 0 at the first one
    :math:`T`       ``steps``         updates of the whole run
    :math:`w`       ``warmup_steps``  updates before the peak; 0 for none
    ==============  ================  =======================================

    Args:
        lr: At least 0.
        step: From 0 to ``steps`` - 1.
        steps: At least 1.
        warmup_steps: From 0 to ``steps`` - 1.

    Returns:
        The learning rate of that update: ``lr`` at step w, and above 0 at every step if ``lr`` is.

    Raises:
        ArgumentError: If a number is outside its range.

    Source:
        Devlin et al. 2019, "BERT"; ``transformers.get_linear_schedule_with_warmup``. Departure: the
        warm-up counts from 1, so that no update has the learning rate 0.

    Example:
        >>> [warmup_linear(1.0, step, steps=6, warmup_steps=2) for step in range(2, 6)]
        [1.0, 0.75, 0.5, 0.25]
        >>> warmup_linear(1.0, 0, steps=5, warmup_steps=1)
        0.5
    """
    _check("warmup_linear", lr, step, steps, warmup_steps)
    return lr * min((step + 1) / (warmup_steps + 1), (steps - step) / (steps - warmup_steps))


def warmup_cosine(lr: float, step: int, steps: int, warmup_steps: int) -> float:
    r"""Return a learning rate that rises over the first updates, then falls along half a cosine wave towards 0.

    .. math:: \alpha_t = \alpha\cdot\begin{cases} (t+1)/(w+1) & t < w \\
              \tfrac12\big(1+\cos\pi\frac{t-w}{T-w}\big) & t \ge w \end{cases}

    ==============  ================  =======================================
    symbol          code              meaning
    ==============  ================  =======================================
    :math:`\alpha`  ``lr``            the learning rate at the peak
    :math:`t`       ``step``          updates made so far, 0 at the first one
    :math:`T`       ``steps``         updates of the whole run
    :math:`w`       ``warmup_steps``  updates before the peak; 0 for none
    ==============  ================  =======================================

    Args:
        lr: At least 0.
        step: From 0 to ``steps`` - 1.
        steps: At least 1.
        warmup_steps: From 0 to ``steps`` - 1.

    Returns:
        The learning rate of that update: ``lr`` at step w, and above 0 at every step if ``lr`` is.

    Raises:
        ArgumentError: If a number is outside its range.

    Source:
        Loshchilov and Hutter 2017, "SGDR", equation (5) without restarts;
        ``transformers.get_cosine_schedule_with_warmup``. Departure: the warm-up counts from 1.

    Example:
        >>> [round(warmup_cosine(1.0, step, steps=4, warmup_steps=0), 3) for step in range(4)]
        [1.0, 0.854, 0.5, 0.146]
    """
    _check("warmup_cosine", lr, step, steps, warmup_steps)
    if step < warmup_steps:
        return lr * (step + 1) / (warmup_steps + 1)
    return lr * (1 + math.cos(math.pi * (step - warmup_steps) / (steps - warmup_steps))) / 2


def _check(where: str, lr: float, step: int, steps: int, warmup_steps: int) -> None:
    check_number(where, "lr", lr, "5e-5 is usual for fine-tuning", at_least=0)
    check_int(where, "steps", steps, "Count the updates of the whole run", at_least=1)
    for name, value in (("step", step), ("warmup_steps", warmup_steps)):
        check_int(where, name, value, f"It lies below the {steps} steps of the run")
        if value >= steps:
            raise argument_error(where, name, f"be less than steps, {steps}", repr(value), "Count the updates from 0")


def _warmup_steps(share: float, steps: int) -> int:
    return min(math.ceil(share * steps - 1e-9), steps - 1)  # 0.07·100 is 7.000000000000001


def _rise(share: float) -> str:
    if not share:
        return "lower the learning rate"
    return f"raise the learning rate over the first {100 * share:.3g}% of the updates, then lower it"


def _check_share(where: str, share: float) -> None:
    check_number(where, "warmup", share, "0.1 is usual: a tenth of the updates", at_least=0, at_most=1)


@final
@dataclass(frozen=True)
class WarmupLinear(Schedule):
    """Warm up over a share of the run, then lower the learning rate linearly. See :func:`warmup_linear`."""

    example: ClassVar[str] = "WarmupLinear(0.1)"
    neutral: ClassVar[str] = "A learning rate that ends at 0 has to fall."

    warmup: float = 0.1

    def __post_init__(self) -> None:
        _check_share("WarmupLinear", self.warmup)

    @property
    def equation(self) -> str:
        return "α_t = α·min((t+1)/(w+1), (T−t)/(T−w))"

    @property
    def description(self) -> str:
        return f"{_rise(self.warmup)} linearly to 0"

    def schedule(self, rates: Rates, memory: Memory, now: Now) -> tuple[Rates, Memory]:
        warm = _warmup_steps(self.warmup, now.steps)
        return {name: warmup_linear(lr, now.step, now.steps, warm) for name, lr in rates.items()}, memory


@final
@dataclass(frozen=True)
class WarmupCosine(Schedule):
    """Warm up over a share of the run, then lower the learning rate along a cosine. See :func:`warmup_cosine`."""

    example: ClassVar[str] = "WarmupCosine(0.1)"
    neutral: ClassVar[str] = "A learning rate that ends at 0 has to fall."

    warmup: float = 0.1

    def __post_init__(self) -> None:
        _check_share("WarmupCosine", self.warmup)

    @property
    def equation(self) -> str:
        return "α_t = α·(t+1)/(w+1), then α·½(1+cos π(t−w)/(T−w))"

    @property
    def description(self) -> str:
        return f"{_rise(self.warmup)} along half a cosine wave to 0"

    def schedule(self, rates: Rates, memory: Memory, now: Now) -> tuple[Rates, Memory]:
        warm = _warmup_steps(self.warmup, now.steps)
        return {name: warmup_cosine(lr, now.step, now.steps, warm) for name, lr in rates.items()}, memory
