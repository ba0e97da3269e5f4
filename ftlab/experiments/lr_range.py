"""The learning-rate range test: a short run with a growing learning rate, which shows where the loss falls and diverges."""

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
"""The test stops when the running average of the loss exceeds its minimum by more than this factor."""


@dataclass(frozen=True)
class RangeTest:
    """The result of a learning-rate range test."""

    rates: tuple[float, ...]
    """The learning rates that were tried, ascending."""
    losses: tuple[float, ...]
    """The loss of each batch before its update."""
    smoothed: tuple[float, ...]
    """The losses, each averaged with its neighbours on both sides; losses after the minimum are capped at the largest before it."""
    suggestion: float | None
    """The learning rate at which the smoothed loss falls most steeply on a log scale; None if it never falls."""
    stopped: float | None
    """The learning rate at which the loss diverged; None if it never did."""

    def __str__(self) -> str:
        falls = f"the loss falls most steeply at {self.suggestion:.2g}" if self.suggestion else "the loss never falls"
        end = f"diverges at {self.stopped:.2g}" if self.stopped else "never diverges"
        tried = f"{len(self.rates)} learning rates from {self.rates[0]:.2g} to {self.rates[-1]:.2g}"
        return f"{tried}: {falls}, and it {end}."


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
    """Train a copy of a model with a growing learning rate and return where the loss falls most steeply.

    Update i of n has the learning rate ``low`` · (``high`` / ``low``) ^ (i / (n - 1)). The test stops early when the
    running average of the loss exceeds 4 times its minimum or the loss is no longer finite. The model is not modified.

    Args:
        model: As for :func:`ftlab.begin`.
        batches: As for :func:`ftlab.begin`; they are repeated as often as necessary.
        low: The first learning rate, greater than 0.
        high: The last learning rate, greater than ``low``.
        steps: The number of updates, at least 3.
        smoothing: From 0 to less than 1: the weight of a neighbouring loss in the averages, relative to the loss itself.
        recipe: Rules to apply during the test. A schedule is refused, since the test sets the learning rate.
        seed: The seed of the dropout and of the rules' random draws.
        loss: As for :func:`ftlab.begin`.
        optimizer: As for :func:`ftlab.begin`, except AdaBound, which has two learning rates.
        engine: As for :func:`ftlab.begin`.

    Returns:
        The learning rates, the losses, and a suggestion. The suggestion is a starting point, not the optimum, which also
        depends on the schedule and the batch size.

    Raises:
        ArgumentError: If an argument is invalid.

    Source:
        Smith 2015, "Cyclical Learning Rates for Training Neural Networks", arXiv 1506.01186. Departure: the learning
        rate grows by a constant factor, not by a constant amount; the result is the steepest descent, not a range.

    Example:
        >>> from ftlab.experiments.tiny_run import batch, model
        >>> result = find_lr(model(), [batch(0), batch(1)], low=1e-5, high=1.0, steps=30)
        >>> 1e-4 < result.suggestion < 0.1
        True
    """
    check_number("find_lr", "low", low, "1e-7 is usual", above=0)
    check_number("find_lr", "high", high, "1 is usual", above=low)
    check_int("find_lr", "steps", steps, "100 is usual", at_least=3)
    check_number("find_lr", "smoothing", smoothing, "0.8 is usual", at_least=0, below=1)
    schedules = [type(rule).__name__ for rule in recipe if isinstance(rule, Schedule)]
    if schedules:
        raise argument_error("find_lr", "recipe", "have no schedule", ", ".join(schedules), "The test sets the lr")
    if optimizer == "adabound":
        do = "AdaBound has two; test 'adamw' and 'sgd', between which it moves"
        raise argument_error("find_lr", "optimizer", "have one learning rate", repr(optimizer), do)
    if not len(batches):
        raise argument_error("find_lr", "batches", "hold at least one batch", "none", "Give a list of batches")
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
    average, lowest, cap, stopped = 0.0, math.inf, math.inf, None
    for index, batch in enumerate(itertools.islice(_repeat(batches), steps)):
        state.lr = low * (high / low) ** (index / (steps - 1))
        try:
            value = step(state, batch)["loss"]
        except DivergenceError:
            stopped = state.lr
            break
        rates.append(state.lr)
        losses.append(value)
        average = smoothing * average + (1 - smoothing) * value
        corrected = average / (1 - smoothing ** (index + 1))
        if corrected < lowest:
            lowest, cap = corrected, max(losses)
        if corrected > LIMIT * lowest:
            stopped = state.lr
            break
    if not losses:
        do = "Check the data for invalid rows, and the weights for NaN"
        raise argument_error("find_lr", "loss", "be finite at the first batch", "NaN or infinity", do)
    # losses after the minimum are capped at the largest one before it; otherwise a diverged loss would hide the descent
    smoothed = _smooth(torch.tensor(losses, dtype=torch.double).clamp(max=cap), smoothing)
    return RangeTest(tuple(rates), tuple(losses), tuple(smoothed.tolist()), _steepest(rates, smoothed), stopped)


def _repeat(batches: Any) -> Iterator[Any]:
    """Yield batches endlessly; if they have epochs, each epoch has its own order."""
    for epoch in itertools.count():
        yield from batches.epoch(epoch) if hasattr(batches, "epoch") else batches


def _smooth(losses: Tensor, smoothing: float) -> Tensor:
    """Average each loss with all others; a loss k steps away has the weight smoothing^k."""
    index = torch.arange(len(losses))
    weights = torch.tensor(smoothing, dtype=torch.double) ** (index[:, None] - index).abs()
    return weights @ losses / weights.sum(1)


def _steepest(rates: Sequence[float], smoothed: Tensor) -> float | None:
    """Return the learning rate at which the loss falls most steeply over log(lr), by central differences."""
    if len(rates) < 3:
        return None
    logs = torch.tensor(rates, dtype=torch.double).log()
    slopes = (smoothed[2:] - smoothed[:-2]) / (logs[2:] - logs[:-2])
    index = int(slopes.argmin())
    return rates[index + 1] if slopes[index] < 0 else None
