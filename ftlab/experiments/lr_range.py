"""The learning-rate range test: one short run in which the rate grows, to see where learning begins and where it ends."""

import copy
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ftlab.errors import DivergenceError, argument_error, check_int, check_number
from ftlab.models.load import Pretrained
from ftlab.rule import Loss, Rule, Schedule
from ftlab.training.loop import begin, step
from ftlab.training.optimizers import MakeOptimizer

LIMIT = 4.0
"""The test stops when the average loss is more than so many times the best one."""


@dataclass(frozen=True)
class RangeTest:
    """What came of a range test."""

    rates: tuple[float, ...]
    """The learning rates that were tried, rising."""
    losses: tuple[float, ...]
    """The loss of the batch with which each update began, so before its rate acted."""
    smoothed: tuple[float, ...]
    """The same losses, each averaged with its neighbours on both sides; those after the best are cut to the worst before."""
    suggestion: float | None
    """The rate at which the smoothed loss falls most steeply, per factor in the rate; None where it never falls."""
    stopped: float | None
    """The rate at which the loss ran away; None where the test went through."""

    def __str__(self) -> str:
        end = f"the loss ran away at {self.stopped:.2g}" if self.stopped else "the loss never ran away"
        found = f"it falls most steeply at {self.suggestion:.2g}" if self.suggestion else "it never falls"
        return f"{len(self.rates)} learning rates from {self.rates[0]:.2g} to {self.rates[-1]:.2g}: {found}, and {end}."


def find_lr(
    model: Any,
    batches: Any,
    *,
    low: float = 1e-7,
    high: float = 1.0,
    steps: int = 100,
    smoothing: float = 0.8,
    recipe: Sequence[Rule] = (),
    seed: int = 0,
    loss: Loss | None = None,
    optimizer: str | MakeOptimizer = "adamw",
    engine: str = "reference",
) -> RangeTest:
    """Train a copy of a model while the learning rate grows, and say at which rate the loss falls most steeply.

    Update i of n has the rate ``low`` · (``high`` / ``low``) ^ (i / (n - 1)). The test ends before that when the running
    average of the loss is more than 4 times its best, or no longer finite. The copy and its optimizer are thrown away:
    the model is afterwards what it was, bit for bit.

    Args:
        model: As for :func:`ftlab.begin`; it is not changed.
        batches: As for :func:`ftlab.begin`; they are gone through as often as it takes.
        low: The first rate, greater than 0.
        high: The last rate, greater than ``low``.
        steps: How many updates, at least 3.
        smoothing: From 0 to less than 1: the weight of a neighbour in the averages, relative to the loss itself.
        recipe: Rules that act meanwhile. A schedule is refused, since the test sets the rate.
        seed: Of dropout and of the rules' own draws.
        loss: As for :func:`ftlab.begin`.
        optimizer: As for :func:`ftlab.begin`, but for AdaBound, which has two rates; a new one is made.
        engine: As for :func:`ftlab.begin`.

    Returns:
        The rates, the losses, and a suggestion. It is a place to begin, not the best rate: a schedule that falls from it
        and another batch size move the optimum.

    Raises:
        ArgumentError: If an argument is invalid.

    Source:
        Smith 2015, "Cyclical Learning Rates for Training Neural Networks", arXiv 1506.01186. Departure: the rate grows
        by a constant factor, not by a constant amount; the steepest descent is taken, not the range.

    Example:
        >>> from ftlab.experiments.conformance import batch, model
        >>> found = find_lr(model(), [batch(0), batch(1)], low=1e-5, high=1.0, steps=30)
        >>> 1e-4 < found.suggestion < 0.1
        True
    """
    check_number("find_lr", "low", low, "1e-7 is usual", above=0)
    check_number("find_lr", "high", high, "1 is usual", above=low)
    check_int("find_lr", "steps", steps, "100 is usual", at_least=3)
    check_number("find_lr", "smoothing", smoothing, "0.8 is usual", at_least=0, below=1)
    schedules = [type(rule).__name__ for rule in recipe if isinstance(rule, Schedule)]
    if schedules:
        raise argument_error("find_lr", "recipe", "have no schedule", ", ".join(schedules), "The test sets the rate")
    if optimizer == "adabound":
        do = "AdaBound has two, whose bounds would run away with the first; test 'adamw' and 'sgd', which it lies between"
        raise argument_error("find_lr", "optimizer", "have one learning rate", repr(optimizer), do)
    if not len(batches):
        raise argument_error("find_lr", "batches", "hold at least one", "none", "Give a list of batches")
    state = begin(
        model.copy() if isinstance(model, Pretrained) else copy.deepcopy(model),
        batches,
        recipe,
        epochs=math.ceil(steps / len(batches)),
        lr=low,
        seed=seed,
        loss=loss,
        optimizer=optimizer,
        engine=engine,
    )
    rates: list[float] = []
    losses: list[float] = []
    average, best, highest, stopped = 0.0, math.inf, math.inf, None
    for number, batch in enumerate(itertools.islice(_again_and_again(batches), steps)):
        state.lr = low * (high / low) ** (number / (steps - 1))
        try:
            seen = step(state, batch)["loss"]
        except DivergenceError:
            stopped = state.lr
            break
        rates.append(state.lr)
        losses.append(seen)
        average = smoothing * average + (1 - smoothing) * seen
        level = average / (1 - smoothing ** (number + 1))
        if level < best:
            best, highest = level, max(losses)
        if level > LIMIT * best:
            stopped = state.lr
            break
    if not losses:
        do = "Look for odd rows in the data, and for weights that are not finite"
        raise argument_error("find_lr", "loss", "be finite at the first batch", "NaN or infinity", do)
    # what comes after the best counts as no worse than the worst before it, or a loss that ran away would hide the fall
    smoothed = _smooth(torch.tensor(losses, dtype=torch.double).clamp(max=highest), smoothing)
    return RangeTest(tuple(rates), tuple(losses), tuple(smoothed.tolist()), _steepest(rates, smoothed), stopped)


def _again_and_again(batches: Any) -> Iterator[Any]:
    """Yield batches without end: epoch by epoch where they have epochs, each with its own order."""
    for number in itertools.count():
        yield from batches.epoch(number) if hasattr(batches, "epoch") else batches


def _smooth(losses: Tensor, smoothing: float) -> Tensor:
    """Average each loss with all others; one that is k places away has the weight smoothing^k."""
    index = torch.arange(len(losses))
    weights = torch.tensor(smoothing, dtype=torch.double) ** (index[:, None] - index).abs()
    return weights @ losses / weights.sum(1)


def _steepest(rates: Sequence[float], smoothed: Tensor) -> float | None:
    """Return the rate where the loss falls most per factor in the rate, by differences over both neighbours."""
    if len(rates) < 3:
        return None
    logs = torch.tensor(rates, dtype=torch.double).log()
    slopes = (smoothed[2:] - smoothed[:-2]) / (logs[2:] - logs[:-2])
    index = int(slopes.argmin())
    return rates[index + 1] if slopes[index] < 0 else None
