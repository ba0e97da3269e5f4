"""Chapter 1: a numerically stable cross-entropy, and its gradient."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ftlab.exercises.probe import expect, near, run

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 1.0, 3.0], [-0.5, 0.25, 1.5], [1.0, 1.0, -2.0]], dtype=torch.float64)
LABELS = torch.tensor([0, 1, 2, 1])


def loss_of(function: Callable[..., Any]) -> None:
    """Detect the common mistakes on small and very large logits."""
    got = run(function, LOGITS, LABELS)
    expect(isinstance(got, Tensor | float), f"The loss is one number. Got {type(got).__name__}.")
    loss = torch.as_tensor(got).double()
    expect(loss.ndim == 0, f"The loss is one number, a mean. Got the shape {tuple(loss.shape)}.")
    right = F.cross_entropy(LOGITS, LABELS)
    expect(not near(loss, -right), "The sign is wrong: a cross-entropy is never below 0.")
    expect(not near(loss, right * len(LABELS)), "That is the sum over the samples; the formula has their mean.")
    rows = torch.arange(len(LABELS))
    down = -LOGITS.log_softmax(dim=0)[rows, LABELS].mean()
    expect(not near(loss, down), "The probabilities of one sample sum to 1: along its row, not along a column.")
    expect(near(loss, right), "On small logits it is not yet the mean of minus the log of the true probability.")
    large = run(function, LOGITS * 1000, LABELS)
    expect(
        near(torch.as_tensor(large).double(), F.cross_entropy(LOGITS * 1000, LABELS)),
        "It is right on small logits, but not finite on logits of a thousand: exponentials overflow, and the logarithm "
        "of 0 is infinite. Subtract the largest logit of each row first, and work with logarithms throughout.",
    )


def gradient_of(function: Callable[..., Any]) -> None:
    """Detect the common mistakes by the properties of the gradient."""
    got = run(function, LOGITS, LABELS)
    expect(isinstance(got, Tensor), f"The gradient is a tensor. Got {type(got).__name__}.")
    expect(got.shape == LOGITS.shape, f"It has one entry for each logit. Got the shape {tuple(got.shape)}.")
    logits = LOGITS.clone().requires_grad_()
    (right,) = torch.autograd.grad(F.cross_entropy(logits, LABELS), logits)
    expect(not near(got, -right), "The sign is wrong: raising the true logit must lower the loss.")
    expect(not near(got, right * len(LABELS)), "That is the gradient of the sum; the loss is the mean over samples.")
    expect(near(got.sum(1), torch.zeros(len(LABELS))), "Each row must sum to 0: what one class gains, the others lose.")
    expect(near(got, right), "The rows sum to 0, but the entries are wrong. Work out one sample by hand.")


TASKS = {"01.3": loss_of, "01.4": gradient_of}
