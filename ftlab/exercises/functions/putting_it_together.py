"""Chapter 6."""

from collections.abc import Callable
from typing import Any

import torch

from ftlab.exercises.probe import expect, near, run


def averaged(function: Callable[..., Any]) -> None:
    """The moving average: what each set of weights counts in the end is read off from paths with a single 1."""
    one = torch.tensor([4.0, -2.0])
    got = run(function, [one], 0.75)
    expect(getattr(got, "shape", None) == one.shape, "Give one tensor, of the shape of the path's entries.")
    expect(near(got, one), "The average begins with the first weights, not with 0.")
    path = [torch.tensor([8.0]), torch.tensor([4.0]), torch.tensor([1.0])]
    expect(near(run(function, path, 0.0), path[-1]), "With decay 0 the past is forgotten: the last weights are left.")
    expect(near(run(function, path, 1.0), path[0]), "With decay 1 it never moves from the first weights.")

    def share(index: int) -> float:
        single = [torch.tensor([1.0 if index == other else 0.0]) for other in range(5)]
        return float(run(function, single, 0.75))

    shares = [share(index) for index in range(5)]
    expect(near(sum(shares), 1.0), "The shares of all weights must add up to 1: constant weights stay what they are.")
    expect(near(shares[3], 0.75 * shares[4]), "Each update later, a share is multiplied by the decay.")
    expect(near(shares[4], 0.25), "The newest weights count 1 - decay.")
    expect(near(shares[1], 0.75 * shares[2]), "Each update later, a share is multiplied by the decay.")


def go_back(function: Callable[..., Any]) -> None:
    """Interpolation of two dictionaries: both ends, the way between them, and a head without a loaded value."""
    origin = {"body": torch.tensor([0.0, 2.0])}
    trained = {"body": torch.tensor([4.0, 2.0]), "head": torch.tensor([1.0])}
    got = run(function, origin, trained, 0.25)
    expect(isinstance(got, dict), "Give a dictionary of tensors by name.")
    expect(got.keys() == trained.keys(), "Give every trained name back, the head too.")
    expect(near(got["head"], trained["head"]), "What has no loaded value stays as it was trained.")
    expect(
        near(run(function, origin, trained, 1.0)["body"], trained["body"]), "With alpha = 1 the trained weights stay."
    )
    expect(
        near(run(function, origin, trained, 0.0)["body"], origin["body"]), "With alpha = 0 the loaded weights are back."
    )
    expect(
        near(got["body"], torch.tensor([1.0, 2.0])), "The way is straight: a quarter of alpha is a quarter of the way."
    )


TASKS = {"06.3": averaged, "06.5": go_back}
