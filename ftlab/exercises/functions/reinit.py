"""Chapter 3: noise that fits a tensor, and a step that stays near the loaded weights."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ftlab.exercises.probe import expect, near, run


def noisy(function: Callable[..., Any]) -> None:
    """Look at the noise of a large tensor: its middle, its bound, its spread, and what they hang on."""
    tensor = 3 + 0.5 * torch.randn(200, 300, generator=torch.Generator().manual_seed(1))
    got = run(function, tensor, 0.3, 7)
    shaped = isinstance(got, Tensor) and got.shape == tensor.shape
    expect(shaped, "Give a tensor of the shape that came in.")
    torch.manual_seed(1)
    first = run(function, tensor, 0.3, 7)
    torch.manual_seed(2)
    again = run(function, tensor, 0.3, 7)
    expect(near(first, again), "The same seed must give the same noise: draw from a generator of your own.")
    expect(not near(got, run(function, tensor, 0.3, 8)), "Another seed must give other noise.")
    expect(near(run(function, tensor, 0.0, 7), tensor), "With scale = 0 nothing changes: θ itself stays in the sum.")
    noise, bound = got - tensor, 0.3 / 2 * tensor.std()
    expect(noise.mean().abs() < bound / 20, "The noise has to lie around 0, as often below it as above.")
    ten = run(function, 10 * tensor, 0.3, 7) - 10 * tensor
    wider = near(ten.std() / noise.std(), 10.0, 1e-2)
    expect(wider, "A tensor that spreads ten times as far needs noise ten times as wide: measure it by its own spread.")
    expect(
        noise.abs().max() < 1.5 * bound, "The noise goes beyond scale/2 of the spread: uniform noise has that bound."
    )
    expect(
        noise.abs().max() <= 1.001 * bound, "The noise goes a little beyond scale/2 of the spread. Is it the spread?"
    )
    is_uniform = near(noise.std(), 2 * bound / math.sqrt(12), 1e-2)
    expect(
        is_uniform, "The noise keeps its bound but does not fill it: uniform from -scale/2 to scale/2 of the spread."
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of such a standard deviation; the hint says more
        one = run(function, torch.tensor([2.0]), 0.3, 7)
    expect(
        near(one, torch.tensor([2.0])), "A tensor of one entry has no spread. It has to stay as it is, not become NaN."
    )


def step_near(function: Callable[..., Any]) -> None:
    """A step of gradient descent with a spring: linear in each of its parts, which are looked at one by one."""
    theta, origin, grad = torch.tensor([3.0, -1.0]), torch.tensor([1.0, -1.0]), torch.tensor([0.5, 2.0])
    got = run(function, theta, origin, grad, 0.1, 0.0)
    expect(getattr(got, "shape", None) == theta.shape, "Give a tensor of the shape that came in.")
    expect(near(got, theta - 0.1 * grad), "With strength = 0 it is a plain step: θ minus rate times gradient.")
    pull = run(function, theta, origin, torch.zeros(2), 0.1, 0.5) - theta
    expect(pull[1] == 0, "A weight that stands at its origin is not pulled: the spring goes to the origin, not to 0.")
    expect(pull[0] < 0, "The spring pushes away from the origin. Which sign has its gradient, and which the step?")
    twice = run(function, theta, origin, torch.zeros(2), 0.2, 0.5) - theta
    expect(near(twice, 2 * pull), "The penalty is a part of the loss, so its gradient is multiplied by the rate too.")
    expect(
        near(pull[0], -0.1), "The length of the pull is wrong. The penalty has α/2 before the square: differentiate it."
    )
    both = run(function, theta, origin, grad, 0.1, 0.5)
    expect(near(both, theta - 0.1 * grad + pull), "Gradient and pull each work alone, but not both together.")


TASKS = {"03.2": noisy, "03.4": step_near}
