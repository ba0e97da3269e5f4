"""Chapter 6: a moving average of weights, and interpolation between loaded and trained weights."""

from collections.abc import Callable
from typing import Any

import torch

from ftlab.exercises.probe import expect, near, run


def averaged(function: Callable[..., Any]) -> None:
    """Check a moving average; the share of each set of weights is measured on paths with a single 1."""
    weights = torch.tensor([4.0, -2.0])
    got = run(function, [weights], 0.75)
    expect(getattr(got, "shape", None) == weights.shape, "Return one tensor, with the shape of the path's entries.")
    expect(near(got, weights), "The average begins with the first weights, not with 0.")
    path = [torch.tensor([8.0]), torch.tensor([4.0]), torch.tensor([1.0])]
    expect(near(run(function, path, 0.0), path[-1]), "With decay 0 the past is forgotten: the last weights remain.")
    expect(near(run(function, path, 1.0), path[0]), "With decay 1 it never moves from the first weights.")

    def share(index: int) -> float:
        single = [torch.tensor([1.0 if index == position else 0.0]) for position in range(5)]
        return float(run(function, single, 0.75))

    shares = [share(index) for index in range(5)]
    expect(
        near(sum(shares), 1.0),
        "The shares of all weights must add up to 1: the average of constant weights is those weights.",
    )
    expect(near(shares[3], 0.75 * shares[4]), "With each further update, a share is multiplied by the decay.")
    expect(near(shares[4], 0.25), "The newest weights have the share 1 - decay.")
    expect(near(shares[1], 0.75 * shares[2]), "With each further update, a share is multiplied by the decay.")


def go_back(function: Callable[..., Any]) -> None:
    """Check an interpolation of two dictionaries: both ends, a point between, and a head without a loaded value."""
    origin = {"body": torch.tensor([0.0, 2.0])}
    trained = {"body": torch.tensor([4.0, 2.0]), "head": torch.tensor([1.0])}
    got = run(function, origin, trained, 0.25)
    expect(isinstance(got, dict), "Return a dictionary of tensors by name.")
    expect(got.keys() == trained.keys(), "Return every trained name, including the head.")
    expect(near(got["head"], trained["head"]), "A tensor without a loaded value stays as trained.")
    expect(
        near(run(function, origin, trained, 1.0)["body"], trained["body"]),
        "With alpha = 1 the result is the trained weights.",
    )
    expect(
        near(run(function, origin, trained, 0.0)["body"], origin["body"]),
        "With alpha = 0 the result is the loaded weights.",
    )
    expect(
        near(got["body"], torch.tensor([1.0, 2.0])), "The path is a straight line: alpha = 1/4 is a quarter of the way."
    )


TASKS = {"06.3": averaged, "06.5": go_back}
