"""Chapter 2: gradient descent as a loop, and a step of Adam."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ftlab.exercises.probe import expect, near, run

RATE = 0.1
START = torch.tensor([4.0, -1.0], dtype=torch.float64)
CURVATURES = torch.tensor([1.0, 5.0], dtype=torch.float64)
ADAM = {"betas": (0.9, 0.999), "eps": 1e-8}


def slope(theta: Tensor) -> Tensor:
    """Return the gradient of a parabola with two curvatures."""
    return CURVATURES * theta


def after(steps: int, rate: float = RATE) -> Tensor:
    """Return where descent on the parabola is after some steps: each multiplies by 1 minus rate times curvature."""
    return START * (1 - rate * CURVATURES) ** steps


def descend(function: Callable[..., Any]) -> None:
    """Tell the usual mistakes apart by where they end on a parabola."""
    got = run(function, START, slope, RATE, 3)
    expect(isinstance(got, Tensor), f"Give back theta, a tensor. Got {type(got).__name__}.")
    expect(got.shape == START.shape, f"Give back where it ends, one tensor of theta's shape. Got {tuple(got.shape)}.")
    expect(not near(got, after(3, -RATE)), "That goes uphill: the step is against the gradient.")
    expect(not near(got, after(4)) and not near(got, after(2)), "That is one step too many or too few.")
    expect(
        not near(got, START - 3 * RATE * slope(START)),
        "Compute the gradient at each step, at the point you have reached.",
    )
    expect(not near(got, after(1)), "That is a single step: the loop must go on from where the last step ended.")
    expect(near(got, after(3)), "After three steps on a parabola it is somewhere else than it should be.")
    expect(near(run(function, START, slope, RATE, 0), START), "With no steps at all it must give back the start.")


def adam_step(function: Callable[..., Any]) -> None:
    """Tell the usual mistakes apart by the length of a step, the first and a later one."""
    zeros, rate = torch.zeros(2, dtype=torch.float64), 0.01
    grad = torch.tensor([3.0, -0.2], dtype=torch.float64)
    got = run(function, START, grad, zeros, zeros, 1, rate)
    three = isinstance(got, tuple | list) and len(got) == 3
    expect(three, "Give back three things: the new theta, first and second.")
    theta, first, second = got
    expect(near(first, 0.1 * grad), "first keeps 0.9 of what it was and takes 0.1 of the gradient.")
    expect(
        near(second, 0.001 * grad.square()),
        "second keeps 0.999 of what it was and takes 0.001 of the gradient squared.",
    )
    moved = theta - START
    expect(not near(moved, rate * grad.sign()), "That goes uphill: the step is against the gradient.")
    expect(
        near(moved, -rate * grad.sign()),
        "The first step must be as long as the rate, however large the gradient is. Are both means corrected for their "
        "start at 0, and is the root taken of the second?",
    )
    tiny = torch.full((2,), 1e-8, dtype=torch.float64)
    moved = run(function, START, tiny, zeros, zeros, 1, rate)[0] - START
    expect(near(moved, torch.full_like(moved, -rate / 2), 1e-9), "Look at where ε stands: it is added after the root.")
    weights = START.clone().requires_grad_()
    optimizer = torch.optim.Adam([weights], lr=rate, **ADAM)  # type: ignore[arg-type]
    theta, first, second = START, zeros, zeros
    for t, factor in enumerate((1.0, -2.0, 5.0), 1):
        weights.grad = factor * grad
        optimizer.step()
        theta, first, second = run(function, theta, factor * grad, first, second, t, rate)
    expect(
        near(theta, weights.detach()), "The first step is right, a later one is not. What you give back must be the means "
        "themselves, and the correction grows with t.",
    )  # fmt: skip


TASKS = {"02.3": descend, "02.4": adam_step}
