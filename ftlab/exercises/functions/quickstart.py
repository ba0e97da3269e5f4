"""Quickstart: accuracy over batches of different sizes."""

from collections.abc import Callable
from typing import Any

import torch

from ftlab.exercises.probe import expect, near, run


def accuracy(answer: Callable[..., Any]) -> None:
    """Check an accuracy on batches of 4, 2 and 1 samples, of which 3, 2 and 0 are right."""
    batches = [
        (torch.tensor([0, 1, 1, 0]), torch.tensor([0, 1, 1, 1])),
        (torch.tensor([1, 0]), torch.tensor([1, 0])),
        (torch.tensor([1]), torch.tensor([0])),
    ]
    share = run(answer, batches)
    expect(not near(share, 5), "That is the number of right answers. What share of the samples is it?")
    expect(not near(share, 5 / 3), "You divide by the number of batches, as the listing does.")
    expect(
        not near(share, 1.75 / 3),
        "That is the mean of the batch accuracies, in which one sample counts as much as four others.",
    )
    expect(not near(share, 2 / 7), "You count the wrong answers.")
    expect(not near(share, 500 / 7), "A share lies between 0 and 1.")
    expect(near(share, 5 / 7), "Count the right answers and the samples over all batches, then divide once.")


TASKS = {"00.3": accuracy}
