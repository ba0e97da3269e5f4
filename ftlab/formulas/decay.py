"""Decay: multiply the learning rate by a constant factor. The article's formula (4)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

from ftlab.errors import check_choice, check_int, check_number
from ftlab.rule import Memory, Now, Rates, Rule, Schedule


def decay(lr: float, gamma: float, steps: int) -> float:
    r"""Multiply a learning rate by the same factor once for each step.

    .. math:: \alpha_{new} = \alpha_{old}\cdot\gamma \quad\Rightarrow\quad \alpha_t = \alpha_0\,\gamma^t

    ================  =========  ===========================================================
    symbol            code       meaning
    ================  =========  ===========================================================
    :math:`\alpha_0`  ``lr``     the learning rate at the start
    :math:`\gamma`    ``gamma``  the factor; log(1/2)/log(γ) steps halve the rate
    :math:`t`         ``steps``  the number of times it was applied: per update or per epoch
    ================  =========  ===========================================================

    The meaning of γ depends on whether t counts updates or epochs: 0.9 per epoch leaves 73 % of the rate after three
    epochs, 0.9 per update leaves 0.003 % after a hundred updates.

    Args:
        lr: At least 0.
        gamma: Greater than 0; 1 changes nothing, above 1 the rate grows.
        steps: A whole number of at least 0; 0 changes nothing.

    Returns:
        The learning rate after that many steps.

    Raises:
        ArgumentError: If a number is outside its range.

    Source:
        The article, section 3.3, formula (4), which does not define a step. Departure: none.

    Example:
        >>> decay(1.0, 0.5, 3)
        0.125
    """
    check_number("decay", "lr", lr, "5e-5 is usual for fine-tuning", at_least=0)
    check_number("decay", "gamma", gamma, "0.9 per epoch is usual, 1 switches it off", above=0)
    check_int("decay", "steps", steps, "Count the steps from 0")
    return lr * gamma**steps


@final
@dataclass(frozen=True)
class Decay(Schedule):
    """Formula (4), applied once per ``"epoch"`` or once per ``"step"``. See :func:`decay`."""

    example: ClassVar[str] = "Decay(0.9, per='epoch')"
    neutral: ClassVar[str] = "Decay(1.0, per='step')"

    gamma: float
    per: str

    def __post_init__(self) -> None:
        check_number("Decay", "gamma", self.gamma, "0.9 per epoch is usual, 1 switches it off", above=0)
        check_choice("Decay", "per", self.per, ("epoch", "step"))

    @property
    def equation(self) -> str:
        return f"α_e = α·{self.gamma:g}^e" if self.per == "epoch" else f"α_t = α·{self.gamma:g}^t"

    @property
    def description(self) -> str:
        return f"multiply the learning rate by {self.gamma:g} after every {self.per}"

    def cautions(self, recipe: Sequence[Rule]) -> list[str]:
        if self.per == "step" and self.gamma < 0.95:
            return [f"γ = {self.gamma:g} per step leaves {self.gamma**100:.1g} of the rate after 100 updates."]
        return ["γ above 1 makes the learning rate grow."] if self.gamma > 1 else []

    def schedule(self, rates: Rates, memory: Memory, now: Now) -> tuple[Rates, Memory]:
        steps = now.step if self.per == "step" else now.step // now.steps_per_epoch
        return {name: decay(lr, self.gamma, steps) for name, lr in rates.items()}, memory
