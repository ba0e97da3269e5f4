"""The diagonal of the empirical Fisher information: how sensitive the model's predictions are to each parameter."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ftlab.parameters import Tensors, eval_mode
from ftlab.rule import microbatches


def squared_gradients(
    model: nn.Module, batches: Iterable[Any], loss: Any, names: Iterable[str], samples: int
) -> Tensors:
    """Return the mean over samples of the squared gradient of each sample's own loss, without dropout.

    With cross-entropy it is the diagonal of the empirical Fisher information: the labels are those of the data. The
    square is taken sample by sample. That of a batch's mean gradient would be another quantity, which vanishes as the
    batch grows.

    Args:
        model: Its parameters and its mode come back as they were.
        batches: Batches as the training has them; the first rows are used.
        loss: ``loss(model, batch)``, the mean over the batch.
        names: Which parameters.
        samples: How many rows at most.

    Returns:
        Tensors of the parameters' shapes by name, at least 0.
    """
    params = dict(model.named_parameters())
    if not (names := list(names)):
        return {}
    chosen = {name: params[name] for name in names}
    device = next(iter(params.values())).device
    sums = {name: torch.zeros_like(param, dtype=torch.float32) for name, param in chosen.items()}
    seen = 0
    with eval_mode(model):
        for row in _rows(batches, samples):
            value: Tensor = loss(model, {name: tensor.to(device) for name, tensor in row.items()})
            grads = torch.autograd.grad(value, list(chosen.values()), allow_unused=True)
            for total, grad in zip(sums.values(), grads, strict=True):
                if grad is not None:
                    total.add_(grad.float().square())
            seen += 1
    return {name: total / max(1, seen) for name, total in sums.items()}


def _rows(batches: Iterable[Any], most: int) -> Iterable[dict[str, Tensor]]:
    """Yield the first rows of batches, one at a time, each as a batch of its own."""
    left = most
    for part in microbatches(batches):
        for row in range(len(part["labels"])):
            if not left:
                return
            left -= 1
            yield {name: tensor[row : row + 1] for name, tensor in part.items()}
