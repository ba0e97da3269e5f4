"""Chapter 5."""

from collections.abc import Callable
from typing import Any

import torch

from ftlab.exercises.probe import expect, near, run


def shrink(function: Callable[..., Any]) -> None:
    """The soft threshold of one tensor: it minimises ½(x − w)² + τ|x|, and that is looked at."""
    weight, tau = torch.tensor([[0.5, -0.25, 0.1], [-2.0, 0.0, -0.05]]), 0.25
    new = run(function, weight, tau)
    expect(getattr(new, "shape", None) == weight.shape, "Give a tensor of the shape that came in.")
    large, small = weight.abs() > 2 * tau, weight.abs() <= tau
    expect((new * weight)[large].gt(0).all(), "A large weight keeps its sign: yours lost it.")
    expect((new * weight).ge(0).all(), "A weight smaller than tau must not come out on the other side of 0.")
    expect((new[small] == 0).all(), "A weight whose size is tau or less must become exactly 0.")
    expect(near(weight.abs()[~small] - new.abs()[~small], torch.full((2,), tau)), "What stays moves too, by tau.")
    expect(near(run(function, weight, 0.0), weight), "With tau = 0 nothing changes.")
    weight = torch.randn(7, 5, generator=torch.Generator().manual_seed(1))
    new = run(function, weight, 0.3)

    def cost(index: torch.Tensor) -> torch.Tensor:
        return (index - weight).square() / 2 + 0.3 * index.abs()

    best = torch.minimum(cost(new + 0.01), cost(new - 0.01)) >= cost(new)
    expect(best.all(), "It is not yet the minimum of (x - w)²/2 + tau·|x| for every weight w.")


def movement(function: Callable[..., Any]) -> None:
    """The movement scores: in each step linear in the weight and in the gradient, added up over the steps."""
    weight, grad = torch.tensor([2.0, -1.0]), torch.tensor([-1.0, -1.0])
    one = run(function, [weight], [grad])
    expect(getattr(one, "shape", None) == weight.shape, "Give one tensor, with a score for each weight.")
    expect(one[1] < 0 or one[0] < 0, "A score may be below 0: it says in which direction a weight was moved.")
    hint = (
        "The sign is turned round: a step against the gradient moves the weight 2 away from 0 here, and that is a gain."
    )
    expect(one[0] > 0, hint)
    twice = run(function, [weight], [2 * grad])
    expect(near(twice, 2 * one), "A gradient twice as large counts twice.")
    expect(near(run(function, [2 * weight], [grad]), 2 * one), "A weight twice as large counts twice.")
    expect(near(one[0], 2.0), "The score of one step is the product of weight and gradient, but for its sign.")
    expect(near(run(function, [weight] * 3, [grad] * 3), 3 * one), "Three like steps count three times: add them up.")
    other = torch.tensor([0.5, 4.0])
    hint = "Each gradient belongs to the weight of its own step."
    expect(near(run(function, [weight, other], [grad, 3 * grad]), one + run(function, [other], [3 * grad])), hint)


TASKS = {"05.3": shrink, "05.5": movement}
