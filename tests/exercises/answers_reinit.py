"""Chapter 3."""

import math

import torch

from tests.exercises.plain import Answer, Function


def centred(tensor, seed):
    return torch.rand(tensor.shape, generator=torch.Generator().manual_seed(seed)) - 0.5


def spread(tensor):
    return tensor.std() if tensor.numel() > 1 else torch.zeros(())


def noisy(tensor, scale, seed):
    return tensor + centred(tensor, seed) * spread(tensor) * scale


def noisy_by_numpy_like_formula(tensor, scale, seed):
    if tensor.numel() == 1:
        return tensor.clone()
    half = scale / 2 * (tensor - tensor.mean()).square().sum().div(tensor.numel() - 1).sqrt().item()
    return tensor + torch.empty_like(tensor).uniform_(-half, half, generator=torch.Generator().manual_seed(seed))


def not_centred(tensor, scale, seed):
    return tensor + scale * spread(tensor) * (centred(tensor, seed) + 0.5)


def of_one_scale(tensor, scale, seed):
    return tensor + scale * centred(tensor, seed) * (tensor.numel() > 1)


def by_the_size(tensor, scale, seed):
    return tensor + scale * tensor.abs().mean() * centred(tensor, seed) * (tensor.numel() > 1)


def twice_as_wide(tensor, scale, seed):
    return noisy(tensor, 2 * scale, seed)


def half_as_wide(tensor, scale, seed):
    return noisy(tensor, scale / 2, seed)


def normal(tensor, scale, seed):
    drawn = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(seed))
    return tensor + scale / math.sqrt(12) * spread(tensor) * drawn


def nan_for_one(tensor, scale, seed):
    return tensor + scale * centred(tensor, seed) * tensor.std(correction=min(1, tensor.numel()))


def from_the_common_generator(tensor, scale, seed):
    return tensor + scale * spread(tensor) * (torch.rand(tensor.shape) - 0.5)


def with_one_seed(tensor, scale, seed):
    return noisy(tensor, scale, 0)


def without_the_tensor(tensor, scale, seed):
    return noisy(tensor, scale, seed) - tensor


def noisy_in_place(tensor, scale, seed):
    return tensor.add_(scale * spread(tensor) * centred(tensor, seed))


def step_near(theta, origin, grad, rate, strength):
    return (1 - rate * strength) * theta + rate * strength * origin - rate * grad


def towards_zero(theta, origin, grad, rate, strength):
    return theta - rate * (grad + strength * theta)


def pushed_away(theta, origin, grad, rate, strength):
    return theta - rate * (grad - strength * (theta - origin))


def pulled_twice(theta, origin, grad, rate, strength):
    return theta - rate * (grad + 2 * strength * (theta - origin))


def past_the_rate(theta, origin, grad, rate, strength):
    return theta - rate * grad - strength * (theta - origin)


def uphill(theta, origin, grad, rate, strength):
    return theta + rate * (grad - strength * (theta - origin))


def step_in_place(theta, origin, grad, rate, strength):
    theta -= rate * (grad + strength * (theta - origin))
    return theta


ANSWERS = {
    "03.1": Answer(
        right=0.346,
        digits=3,
        hint="Uniform noise from -λ/2 to λ/2 has a standard deviation. What fraction of λ is that?",
        wrong={
            0.0289: "You divided instead of multiplying: the standard deviation of the noise is λ/√12, and it should be 0.10.",
            0.2: "With that λ the largest noise is 10 % of the spread, not its standard deviation.",
            0.1: "Then the noise is far less than 10 %: its standard deviation is only a part of its width.",
            1.2: "The variance of a uniform number on a width of 1 is 1/12; the standard deviation is its root.",
        },
    ),
    "03.2": Function(
        right=noisy_by_numpy_like_formula,
        wrong=(
            (not_centred, "must have mean 0"),
            (of_one_scale, "ten times the noise"),
            (by_the_size, "exceeds scale/2"),
            (twice_as_wide, "exceeds scale/2"),
            (half_as_wide, "does not fill it"),
            (normal, "exceeds scale/2"),
            (nan_for_one, "not become NaN"),
            (from_the_common_generator, "generator of your own"),
            (with_one_seed, "A different seed"),
            (without_the_tensor, "add the noise to"),
            (noisy_in_place, "modifies its inputs"),
        ),
    ),
    "03.3": Answer(
        right=0.349,
        digits=3,
        hint="Each update leaves the same share of the distance. What share, and how often?",
        wrong={
            0.651: "That is the part that is gone. The question is what is left.",
            0.0: "Each update removes a tenth of the remaining distance, not of the initial one.",
            0.9: "That is after one update.",
            0.387: "That is one update too few.",
        },
    ),
    "03.4": Function(
        right=step_near,
        wrong=(
            (towards_zero, "pulls to the origin, not to 0"),
            (pushed_away, "pushes away"),
            (pulled_twice, "The length of the pull"),
            (past_the_rate, "multiplied by the rate too"),
            (uphill, "a plain step"),
            (step_in_place, "modifies its inputs"),
        ),
    ),
    "03.5": Answer(
        right="LayerNorm gains",
        hint='Write it as one of "matrices", "biases" and the third name. Which of them has a mean far from 0?',
        wrong={
            "matrices": "Their entries lie around 0, so their size is their spread, and both change by the same share.",
            "biases": "Most of them lie around 0, so that size and spread are nearly the same.",
        },
    ),
}
