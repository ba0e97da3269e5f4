"""Step decay: multiply the learning rate by a constant factor every few epochs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

from ftlab.errors import check_int, check_number
from ftlab.rule import Memory, Now, Rates, Rule, Schedule


def step_decay(lr: float, gamma: float, epoch: int, every: int) -> float:
    r"""Multiply a learning rate by the same factor once every given number of epochs.

    .. math:: \alpha_e = \alpha_0\cdot\gamma^{\lfloor e/n\rfloor}

    ================  =========  ===================================
    symbol            code       meaning
    ================  =========  ===================================
    :math:`\alpha_0`  ``lr``     the learning rate at the start
    :math:`\gamma`    ``gamma``  the factor of one step
    :math:`e`         ``epoch``  finished epochs, 0 in the first one
    :math:`n`         ``every``  epochs between two steps
    ================  =========  ===================================

    With n = 1 it is :func:`decay` per epoch.

    Args:
        lr: At least 0.
        gamma: Greater than 0; 1 changes nothing, above 1 the rate grows.
        epoch: A whole number of at least 0.
        every: A whole number of at least 1.

    Returns:
        The learning rate in that epoch.

    Raises:
        ArgumentError: If a number is outside its range.

    Source:
        ``torch.optim.lr_scheduler.StepLR``; the article's formula (4) with a step of n epochs. Departure: none.

    Example:
        >>> [step_decay(1.0, 0.5, epoch, every=2) for epoch in range(5)]
        [1.0, 1.0, 0.5, 0.5, 0.25]
    """
    check_number("step_decay", "lr", lr, "5e-5 is usual for fine-tuning", at_least=0)
    check_int("step_decay", "epoch", epoch, "Count the epochs from 0")
    _check("step_decay", gamma, every)
    return lr * gamma ** (epoch // every)


def _check(where: str, gamma: float, every: int) -> None:
    check_number(where, "gamma", gamma, "0.1 is usual, 1 switches it off", above=0)
    check_int(where, "every", every, "1 is a step after every epoch", at_least=1)


@final
@dataclass(frozen=True)
class StepDecay(Schedule):
    """Multiply the learning rate by a factor every few epochs. See :func:`step_decay`."""

    example: ClassVar[str] = "StepDecay(0.1, every=2)"
    neutral: ClassVar[str] = "StepDecay(1.0)"

    gamma: float
    every: int = 1

    def __post_init__(self) -> None:
        _check("StepDecay", self.gamma, self.every)

    @property
    def equation(self) -> str:
        return f"α_e = α·{self.gamma:g}^⌊e/{self.every}⌋"

    @property
    def description(self) -> str:
        when = "every epoch" if self.every == 1 else f"every {self.every} epochs"
        return f"multiply the learning rate by {self.gamma:g} after {when}"

    def cautions(self, recipe: Sequence[Rule]) -> list[str]:
        return ["γ above 1 makes the learning rate grow."] if self.gamma > 1 else []

    def schedule(self, rates: Rates, memory: Memory, now: Now) -> tuple[Rates, Memory]:
        epoch = now.step // now.steps_per_epoch
        return {name: step_decay(lr, self.gamma, epoch, self.every) for name, lr in rates.items()}, memory
