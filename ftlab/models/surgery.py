"""Cut the least important neurons out of a model, judged by their weights or by gradients on data.

Zeros in a matrix save neither memory nor time. A smaller matrix saves both, and the model stays an ordinary one.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from ftlab.errors import argument_error
from ftlab.formulas.remove_neurons import as_linear, cut_neurons, feed_forwards, neuron_importance
from ftlab.parameters import eval_mode
from ftlab.rule import Loss, microbatches


def remove_neurons(net: Any, share: float, batches: Iterable[Any] | None = None, loss: Loss | None = None) -> None:
    """Cut a share of the feed-forward neurons out of every layer, in place. See :func:`ftlab.formulas.remove_neurons.neuron_importance`.

    Args:
        net: A ``transformers`` model: BERT, RoBERTa, DistilBERT, GPT-2.
        share: At least 0 and less than 1; 0 removes nothing.
        batches: Left out, the weights alone say what a neuron is worth; else their gradients on these batches too,
            the mean over the batches, without dropout.
        loss: ``loss(model, batch)``, which comes with ``batches``.

    Raises:
        ArgumentError: If the share is outside its range, the model is of another kind, one of the two is missing, or there is
            no batch.
    """
    if (batches is None) != (loss is None):
        raise argument_error(
            "remove_neurons", "batches and loss", "come together", "one of them", "Give both or neither"
        )
    importances = None if batches is None or loss is None else _by_gradients(net, batches, loss)
    cut_neurons(net, share, importances)


def _by_gradients(net: Any, batches: Iterable[Any], loss: Loss) -> list[Tensor]:
    pairs = feed_forwards(net, "remove_neurons")
    weights = [(into.weight, *([into.bias] if into.bias is not None else []), out.weight) for into, out in pairs]
    chosen = [one for some in weights for one in some]
    total = [torch.zeros(as_linear(into, into.weight).shape[0], device=into.weight.device) for into, _ in pairs]
    frozen = [one for one in chosen if not one.requires_grad]
    with eval_mode(net):
        try:
            for one in frozen:
                one.requires_grad_(True)
            for batch in _all(batches, net, "remove_neurons"):
                with torch.enable_grad():
                    found = iter(torch.autograd.grad(loss(net, batch), chosen))
                for index, ((into, out), some) in enumerate(zip(pairs, weights, strict=True)):
                    grads = [next(found) for _ in some]
                    rows, slopes = (_rows(into, those[:-1]) for those in (some, grads))
                    columns, heights = (as_linear(out, those[-1].detach()) for those in (some, grads))
                    total[index] += neuron_importance(rows, columns, (slopes, heights))
        finally:
            for one in frozen:
                one.requires_grad_(False)
    return total


def _rows(into: Any, those: Sequence[Tensor]) -> Tensor:
    """Return weight and bias, or their gradients, as one matrix with a row for each neuron."""
    return torch.cat([as_linear(into, one.detach()) if one.ndim > 1 else one.detach()[:, None] for one in those], 1)


def _all(batches: Iterable[Any], net: Any, where: str) -> Iterator[dict[str, Tensor]]:
    """Yield the parts of the batches where the model is; none at all is refused."""
    device, none = next(net.parameters()).device, True
    for part in microbatches(batches):
        yield {name: tensor.to(device) for name, tensor in part.items()}
        none = False
    if none:
        raise argument_error(where, "batches", "hold at least one batch", "none", "Give some of the training rows")
