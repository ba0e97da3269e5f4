"""Chapter 3: noise scaled to a tensor, and a gradient step that stays near the loaded weights."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ftlab.exercises.probe import expect, near, run


def noisy(function: Callable[..., Any]) -> None:
    """Check the noise on a large tensor: its mean, its bound, its spread, and how they scale."""
    tensor = 3 + 0.5 * torch.randn(200, 300, generator=torch.Generator().manual_seed(1))
    got = run(function, tensor, 0.3, 7)
    shaped = isinstance(got, Tensor) and got.shape == tensor.shape
    expect(shaped, "Return a tensor of the same shape as the input.")
    torch.manual_seed(1)
    first = run(function, tensor, 0.3, 7)
    torch.manual_seed(2)
    again = run(function, tensor, 0.3, 7)
    expect(near(first, again), "The same seed must give the same noise: use a generator of your own.")
    expect(not near(got, run(function, tensor, 0.3, 8)), "A different seed must give different noise.")
    expect(near(run(function, tensor, 0.0, 7), tensor), "With scale = 0 the result is θ itself: add the noise to θ.")
    noise, bound = got - tensor, 0.3 / 2 * tensor.std()
    expect(noise.mean().abs() < bound / 20, "The noise must have mean 0, as often below it as above.")
    ten = run(function, 10 * tensor, 0.3, 7) - 10 * tensor
    wider = near(ten.std() / noise.std(), 10.0, 1e-2)
    expect(wider, "A tensor with ten times the spread needs ten times the noise: scale it by the tensor's own spread.")
    expect(
        noise.abs().max() < 1.5 * bound,
        "The noise exceeds scale/2 times the spread, which is the bound of the uniform noise.",
    )
    expect(
        noise.abs().max() <= 1.001 * bound,
        "The noise slightly exceeds scale/2 times the spread. How do you compute the spread?",
    )
    is_uniform = near(noise.std(), 2 * bound / math.sqrt(12), 1e-2)
    expect(
        is_uniform,
        "The noise stays within its bound but does not fill it: it is uniform from -scale/2 to scale/2 times the spread.",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns about this standard deviation
        one = run(function, torch.tensor([2.0]), 0.3, 7)
    expect(
        near(one, torch.tensor([2.0])), "A tensor with one entry has no spread. It must stay as it is, not become NaN."
    )


def step_near(function: Callable[..., Any]) -> None:
    """Check a step of gradient descent with a spring to the origin; it is linear in each of its parts."""
    theta, origin, grad = torch.tensor([3.0, -1.0]), torch.tensor([1.0, -1.0]), torch.tensor([0.5, 2.0])
    got = run(function, theta, origin, grad, 0.1, 0.0)
    expect(getattr(got, "shape", None) == theta.shape, "Return a tensor of the same shape as the input.")
    expect(near(got, theta - 0.1 * grad), "With strength = 0 it is a plain step: θ minus rate times gradient.")
    pull = run(function, theta, origin, torch.zeros(2), 0.1, 0.5) - theta
    expect(pull[1] == 0, "A weight at its origin is not pulled: the spring pulls to the origin, not to 0.")
    expect(
        pull[0] < 0, "Your spring pushes away from the origin. Which sign does its gradient have, and which the step?"
    )
    twice = run(function, theta, origin, torch.zeros(2), 0.2, 0.5) - theta
    expect(near(twice, 2 * pull), "The penalty is part of the loss, so its gradient is multiplied by the rate too.")
    expect(
        near(pull[0], -0.1),
        "The length of the pull is wrong. The penalty has the factor α/2 before the square: differentiate it.",
    )
    both = run(function, theta, origin, grad, 0.1, 0.5)
    expect(near(both, theta - 0.1 * grad + pull), "Gradient and pull are right alone, but not together.")


TASKS = {"03.2": noisy, "03.4": step_near}
