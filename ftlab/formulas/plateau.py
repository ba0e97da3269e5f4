"""Plateau: reduce the learning rate when the validation loss stops improving."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

from ftlab.errors import argument_error, check_int, check_number
from ftlab.rule import Memory, Now, Rates, Rule, Schedule


def plateau(lr: float, losses: Sequence[float], factor: float, patience: int, threshold: float) -> float:
    r"""Multiply a learning rate by a factor whenever the loss has not improved for a number of epochs.

    .. math:: \alpha \leftarrow \alpha\cdot\gamma \quad\text{whenever}\quad
              J_e \ge J_{best}\,(1-\tau) \;\text{ for } n + 1 \text{ epochs in a row}

    ================  =============  ===================================================
    symbol            code           meaning
    ================  =============  ===================================================
    :math:`\alpha`    ``lr``         the learning rate at the start
    :math:`J_e`       ``losses``     the validation loss after each epoch
    :math:`\gamma`    ``factor``     the factor of one reduction
    :math:`n`         ``patience``   epochs without improvement that are tolerated
    :math:`\tau`      ``threshold``  the relative decrease that counts as an improvement
    :math:`J_{best}`                 the best loss so far
    ================  =============  ===================================================

    After a reduction the count of epochs restarts at 0; the best loss is kept.

    Args:
        lr: At least 0.
        losses: One number per finished epoch. NaN is not an improvement.
        factor: Greater than 0 and at most 1; 1 changes nothing.
        patience: A whole number of at least 0; 0 reduces after every epoch without improvement.
        threshold: From 0 to 1; with 0 every lower loss is an improvement.

    Returns:
        The learning rate after these epochs.

    Raises:
        ArgumentError: If a number is outside its range.

    Source:
        ``torch.optim.lr_scheduler.ReduceLROnPlateau``, in its relative mode. Departure: torch ignores a
        reduction of less than 1e-8; here every reduction counts. There is no cooldown and no minimum rate.

    Example:
        >>> plateau(1.0, [0.7, 0.5, 0.6, 0.5], factor=0.5, patience=1, threshold=0.0)
        0.5
        >>> plateau(1.0, [0.7, 0.5, 0.6, 0.4], factor=0.5, patience=1, threshold=0.0)
        1.0
    """
    check_number("plateau", "lr", lr, "5e-5 is usual for fine-tuning", at_least=0)
    _check("plateau", factor, patience, threshold)
    best, bad = math.inf, 0
    for loss in losses:
        if loss < best * (1 - threshold):
            best, bad = loss, 0
        else:
            bad += 1
        if bad > patience:
            lr, bad = lr * factor, 0
    return lr


def _check(where: str, factor: float, patience: int, threshold: float) -> None:
    check_number(where, "factor", factor, "0.1 is usual, 1 switches it off", above=0, at_most=1)
    check_int(where, "patience", patience, "Count the epochs without improvement that are tolerated")
    check_number(where, "threshold", threshold, "1e-4 is usual", at_least=0, at_most=1)


@final
@dataclass(frozen=True)
class Plateau(Schedule):
    """Reduce the learning rate when the validation loss stops improving. See :func:`plateau`."""

    example: ClassVar[str] = "Plateau(0.1, patience=1)"
    neutral: ClassVar[str] = "Plateau(1.0)"

    factor: float = 0.1
    patience: int = 1
    threshold: float = 1e-4

    def __post_init__(self) -> None:
        _check("Plateau", self.factor, self.patience, self.threshold)

    @property
    def equation(self) -> str:
        return f"α ← α·{self.factor:g} if J ≥ J_best·(1 − {self.threshold:g}) for {self.patience + 1} epochs in a row"

    @property
    def description(self) -> str:
        count = f"{self.patience + 1} epochs in a row" if self.patience else "an epoch"
        return f"multiply the learning rate by {self.factor:g} after {count} without a better validation loss"

    def cautions(self, recipe: Sequence[Rule]) -> list[str]:
        sentences = ["Plateau needs a validation split; without one it never acts."]
        others = [
            type(rule).__name__ for rule in recipe if isinstance(rule, Schedule) and not isinstance(rule, Plateau)
        ]
        if others:
            sentences.append(f"A loss that stops improving because of {' and '.join(others)} also counts as a plateau.")
        return sentences

    def schedule(self, rates: Rates, memory: Memory, now: Now) -> tuple[Rates, Memory]:
        losses = [_loss(evaluation) for evaluation in now.evaluations]
        new = {name: plateau(lr, losses, self.factor, self.patience, self.threshold) for name, lr in rates.items()}
        return new, memory


def _loss(evaluation: dict[str, Any]) -> float:
    """Return the loss of an evaluation; a loss that is not finite is recorded as None and returned as NaN."""
    if "loss" not in evaluation:
        do = "Evaluate with the loss, or use a schedule that does not need it"
        raise argument_error("Plateau", "evaluations", "hold the loss", f"only {', '.join(evaluation)}", do)
    loss = evaluation["loss"]
    return math.nan if loss is None else float(loss)
