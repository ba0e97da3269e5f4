"""Chapter 5: the soft threshold, and movement scores."""

from collections.abc import Callable
from typing import Any

import torch

from ftlab.exercises.probe import expect, near, run


def shrink(function: Callable[..., Any]) -> None:
    """Check the soft threshold of a tensor, which minimises ½(x − w)² + τ|x|."""
    weight, tau = torch.tensor([[0.5, -0.25, 0.1], [-2.0, 0.0, -0.05]]), 0.25
    new = run(function, weight, tau)
    expect(getattr(new, "shape", None) == weight.shape, "Return a tensor of the same shape as the input.")
    large, small = weight.abs() > 2 * tau, weight.abs() <= tau
    expect((new * weight)[large].gt(0).all(), "A large weight must keep its sign; yours does not.")
    expect((new * weight).ge(0).all(), "A weight smaller than tau must not end on the other side of 0.")
    expect((new[small] == 0).all(), "A weight whose size is tau or less must become exactly 0.")
    expect(
        near(weight.abs()[~small] - new.abs()[~small], torch.full((2,), tau)),
        "Weights larger than tau move too, by tau.",
    )
    expect(near(run(function, weight, 0.0), weight), "With tau = 0 nothing changes.")
    weight = torch.randn(7, 5, generator=torch.Generator().manual_seed(1))
    new = run(function, weight, 0.3)

    def cost(index: torch.Tensor) -> torch.Tensor:
        return (index - weight).square() / 2 + 0.3 * index.abs()

    best = torch.minimum(cost(new + 0.01), cost(new - 0.01)) >= cost(new)
    expect(best.all(), "It is not the minimum of (x - w)²/2 + tau·|x| for every weight w.")


def movement(function: Callable[..., Any]) -> None:
    """Check movement scores: linear in weight and gradient at each step, summed over the steps."""
    weight, grad = torch.tensor([2.0, -1.0]), torch.tensor([-1.0, -1.0])
    one = run(function, [weight], [grad])
    expect(getattr(one, "shape", None) == weight.shape, "Return one tensor, with a score for each weight.")
    expect(one[1] < 0 or one[0] < 0, "A score may be negative: its sign is the direction in which the weight moved.")
    hint = (
        "The sign is wrong: here a step against the gradient moves the weight 2 away from 0, which counts as positive."
    )
    expect(one[0] > 0, hint)
    twice = run(function, [weight], [2 * grad])
    expect(near(twice, 2 * one), "A gradient twice as large counts twice.")
    expect(near(run(function, [2 * weight], [grad]), 2 * one), "A weight twice as large counts twice.")
    expect(near(one[0], 2.0), "The score of one step is minus the product of weight and gradient.")
    expect(near(run(function, [weight] * 3, [grad] * 3), 3 * one), "Three equal steps count three times: add them up.")
    other = torch.tensor([0.5, 4.0])
    hint = "Each gradient belongs to the weight of its own step."
    expect(near(run(function, [weight, other], [grad, 3 * grad]), one + run(function, [other], [3 * grad])), hint)


TASKS = {"05.3": shrink, "05.5": movement}
