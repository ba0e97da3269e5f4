"""Chapter 2: gradient descent as a loop, and one step of Adam."""

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
    """Return the gradient of a quadratic with two curvatures."""
    return CURVATURES * theta


def after(steps: int, rate: float = RATE) -> Tensor:
    """Return theta after some steps on the quadratic: each step multiplies it by 1 − rate · curvature."""
    return START * (1 - rate * CURVATURES) ** steps


def descend(function: Callable[..., Any]) -> None:
    """Detect the common mistakes by where they end on a quadratic."""
    got = run(function, START, slope, RATE, 3)
    expect(isinstance(got, Tensor), f"Return theta, a tensor. Got {type(got).__name__}.")
    expect(got.shape == START.shape, f"Return the final theta, one tensor of theta's shape. Got {tuple(got.shape)}.")
    expect(not near(got, after(3, -RATE)), "That goes uphill: the step is against the gradient.")
    expect(not near(got, after(4)) and not near(got, after(2)), "That is one step too many or too few.")
    expect(
        not near(got, START - 3 * RATE * slope(START)),
        "Compute the gradient at each step, at the point you have reached.",
    )
    expect(not near(got, after(1)), "That is a single step: each step must start where the last one ended.")
    expect(near(got, after(3)), "After three steps on a quadratic, theta is wrong.")
    expect(near(run(function, START, slope, RATE, 0), START), "With no steps at all, it must return the start.")


def adam_step(function: Callable[..., Any]) -> None:
    """Detect the common mistakes by the length of the first step and of a later one."""
    zeros, rate = torch.zeros(2, dtype=torch.float64), 0.01
    grad = torch.tensor([3.0, -0.2], dtype=torch.float64)
    got = run(function, START, grad, zeros, zeros, 1, rate)
    three = isinstance(got, tuple | list) and len(got) == 3
    expect(three, "Return three things: the new theta, first and second.")
    theta, first, second = got
    expect(near(first, 0.1 * grad), "first is 0.9 times its old value plus 0.1 times the gradient.")
    expect(
        near(second, 0.001 * grad.square()),
        "second is 0.999 times its old value plus 0.001 times the gradient squared.",
    )
    moved = theta - START
    expect(not near(moved, rate * grad.sign()), "That goes uphill: the step is against the gradient.")
    expect(
        near(moved, -rate * grad.sign()),
        "The first step must be as long as the learning rate, however large the gradient is. Are both means corrected "
        "for their start at 0, and do you take the square root of the second?",
    )
    tiny = torch.full((2,), 1e-8, dtype=torch.float64)
    moved = run(function, START, tiny, zeros, zeros, 1, rate)[0] - START
    expect(
        near(moved, torch.full_like(moved, -rate / 2), 1e-9),
        "Check where you add ε: after the square root, not inside it.",
    )
    weights = START.clone().requires_grad_()
    optimizer = torch.optim.Adam([weights], lr=rate, **ADAM)  # type: ignore[arg-type]
    theta, first, second = START, zeros, zeros
    for t, factor in enumerate((1.0, -2.0, 5.0), 1):
        weights.grad = factor * grad
        optimizer.step()
        theta, first, second = run(function, theta, factor * grad, first, second, t, rate)
    expect(
        near(theta, weights.detach()),
        "The first step is right, a later one is not. Return the uncorrected means; the correction depends on t.",
    )


TASKS = {"02.3": descend, "02.4": adam_step}
