"""The quickstart."""

from collections.abc import Callable
from typing import Any

import torch

from ftlab.exercises.probe import expect, near, run


def accuracy(answer: Callable[..., Any]) -> None:
    """Batches of 4, 2 and 1 samples, of which 3, 2 and 0 are right."""
    batches = [
        (torch.tensor([0, 1, 1, 0]), torch.tensor([0, 1, 1, 1])),
        (torch.tensor([1, 0]), torch.tensor([1, 0])),
        (torch.tensor([1]), torch.tensor([0])),
    ]
    share = run(answer, batches)
    expect(not near(share, 5), "That is how many are right. Which share of the samples is it?")
    expect(not near(share, 5 / 3), "You divide by the number of batches, as the listing does.")
    expect(
        not near(share, 1.75 / 3), "That is the mean of the batches' shares: one sample counts as much as four others."
    )
    expect(not near(share, 2 / 7), "You count the samples that are wrong.")
    expect(not near(share, 500 / 7), "A share lies between 0 and 1.")
    expect(near(share, 5 / 7), "Count the samples that are right in all batches, and all samples, then divide once.")


TASKS = {"00.3": accuracy}
