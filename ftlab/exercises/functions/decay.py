"""Chapter 4: the rates of a decay per epoch, and what they make of a noisy loss."""

import math
from collections.abc import Callable
from typing import Any

from ftlab.exercises.probe import expect, near, run


def rates_per_epoch(function: Callable[..., Any]) -> None:
    """Look at the rates one epoch after the other: how many, constant inside, and the factor between two."""
    rate, gamma, steps, width = 0.8, 0.5, 7, 3
    got = run(function, rate, gamma, steps, width)
    expect(isinstance(got, list | tuple), f"Give a list of rates. Got {type(got).__name__}.")
    expect(len(got) == steps, f"One rate for each of the {steps} updates, also in an epoch that is cut short.")
    expect(not near(list(got), [rate * gamma**step for step in range(steps)]), "That is a decay per update.")
    expect(near(got[0], rate), "At the first update no epoch has ended yet: the rate is whole.")
    epochs = [got[first : first + width] for first in range(0, steps, width)]
    inside = all(near(one, epoch[0]) for epoch in epochs for one in epoch)
    expect(
        inside, "Inside an epoch the rate stays as it is. With 3 updates an epoch, count from 0: which belong to it?"
    )
    factors = [epochs[index + 1][0] / epochs[index][0] for index in range(2)]
    expect(near(factors[0], gamma), "From the first epoch to the second the rate is multiplied by gamma.")
    expect(
        near(factors[1], gamma),
        "From the second epoch to the third it is again multiplied by gamma, not lowered alike.",
    )
    expect(
        near(list(run(function, 2 * rate, gamma, steps, width)), [2 * one for one in got]), "Twice the rate, twice all."
    )


def expected_loss(function: Callable[..., Any]) -> None:
    """Look at the limit cases in which the expected loss is known: no steps, no noise that counts, and a constant rate."""
    still = run(function, [], 3.0)
    expect(near(float(still), 4.5), "Without a step the loss is θ²/2 at the start.")
    whole = float(run(function, [1.0], 3.0))
    expect(whole > 0, "A step with the rate 1 lands on the noise: its variance is part of the loss.")
    expect(near(whole, 0.5), "A step with the rate 1 leaves nothing of θ, and half of the noise's variance as loss.")
    one = float(run(function, [0.5], 3.0))
    expect(
        not near(one, 1.125 + 0.25), "The noise enters with the rate, so its variance enters with the rate's square."
    )
    expect(near(one, 1.125 + 0.125), "After one step with the rate 1/2 it should be half of 1.5² and half of 1/4.")
    floor = 0.5 / (2 - 0.5) / 2
    after = float(run(function, [0.5] * 200, 3.0))
    expect(near(after, floor), "With a constant rate it has to stop where old noise fades as fast as new comes in.")
    falling = [0.5 * 0.9**step for step in range(60)]
    far = float(run(function, falling, 10.0)) - float(run(function, falling, 0.0))
    left = 10 * math.prod(1 - rate for rate in falling)
    expect(near(far, left**2 / 2), "The rates have to be taken in their order, each once.")


TASKS = {"04.3": rates_per_epoch, "04.5": expected_loss}
