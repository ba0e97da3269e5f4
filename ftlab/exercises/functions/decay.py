"""Chapter 4: the learning rates of a decay per epoch, and the expected loss under gradient noise."""

import math
from collections.abc import Callable
from typing import Any

from ftlab.exercises.probe import expect, near, run


def rates_per_epoch(function: Callable[..., Any]) -> None:
    """Check the number of learning rates, that they are constant within an epoch, and the factor between epochs."""
    lr, gamma, steps, width = 0.8, 0.5, 7, 3
    got = run(function, lr, gamma, steps, width)
    expect(isinstance(got, list | tuple), f"Return a list of learning rates. Got {type(got).__name__}.")
    expect(
        len(got) == steps, f"Return one learning rate for each of the {steps} updates; the last epoch is incomplete."
    )
    expect(not near(list(got), [lr * gamma**step for step in range(steps)]), "That is a decay per update.")
    expect(
        near(got[0], lr), "At the first update no epoch has ended yet, so the learning rate is still the initial one."
    )
    epochs = [got[first : first + width] for first in range(0, steps, width)]
    constant = all(near(rate, epoch[0]) for epoch in epochs for rate in epoch)
    expect(
        constant,
        "Within an epoch the learning rate is constant. With 3 updates per epoch, counted from 0, which belong to which?",
    )
    factors = [epochs[index + 1][0] / epochs[index][0] for index in range(2)]
    expect(near(factors[0], gamma), "From the first epoch to the second, the learning rate is multiplied by gamma.")
    expect(
        near(factors[1], gamma),
        "From the second epoch to the third it is multiplied by gamma again, not lowered by the same amount.",
    )
    doubled = list(run(function, 2 * lr, gamma, steps, width))
    expect(near(doubled, [2 * rate for rate in got]), "Twice the initial learning rate must double all of them.")


def expected_loss(function: Callable[..., Any]) -> None:
    """Check cases in which the expected loss is known: no step, one step, and a constant learning rate."""
    no_step = run(function, [], 3.0)
    expect(near(float(no_step), 4.5), "Without a step, the loss is θ²/2 at the start.")
    full_step = float(run(function, [1.0], 3.0))
    expect(full_step > 0, "A step with the learning rate 1 lands on the noise: its variance is part of the loss.")
    expect(
        near(full_step, 0.5),
        "A step with the learning rate 1 removes all of θ and leaves half of the noise's variance as loss.",
    )
    half_step = float(run(function, [0.5], 3.0))
    expect(
        not near(half_step, 1.125 + 0.25),
        "The noise is multiplied by the learning rate, so its variance is multiplied by the rate's square.",
    )
    expect(
        near(half_step, 1.125 + 0.125),
        "After one step with the learning rate 1/2, the loss is half of 1.5² plus half of 1/4.",
    )
    floor = 0.5 / (2 - 0.5) / 2
    many_steps = float(run(function, [0.5] * 200, 3.0))
    expect(
        near(many_steps, floor),
        "With a constant learning rate, the loss must settle where old noise fades as fast as new noise is added.",
    )
    rates = [0.5 * 0.9**step for step in range(60)]
    gap = float(run(function, rates, 10.0)) - float(run(function, rates, 0.0))
    theta = 10 * math.prod(1 - rate for rate in rates)
    expect(near(gap, theta**2 / 2), "Use the learning rates in their order, each once.")


TASKS = {"04.3": rates_per_epoch, "04.5": expected_loss}
