"""Remove the least important neurons from a model, judged by their weights or by gradients on data.

Zeros in a matrix save neither memory nor time. A smaller matrix saves both, and the model stays an ordinary one.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from ftlab.errors import argument_error
from ftlab.formulas.remove_neurons import as_linear, cut_neurons, feed_forwards, incoming, neuron_importance
from ftlab.parameters import eval_mode
from ftlab.rule import Loss, microbatches


def remove_neurons(net: Any, share: float, batches: Iterable[Any] | None = None, loss: Loss | None = None) -> None:
    """Remove a share of the feed-forward neurons from every layer, in place. See :func:`ftlab.formulas.remove_neurons.neuron_importance`.

    Args:
        net: A ``transformers`` model such as BERT, RoBERTa, DistilBERT, GPT-2 or Llama.
        share: At least 0 and less than 1; 0 removes nothing.
        batches: Data for the gradients: the importance of a neuron is its mean over these batches, without dropout. Left
            out, it is computed from the weights alone.
        loss: ``loss(model, batch)``, required with ``batches``.

    Raises:
        ArgumentError: If the share is outside its range, the model is of another kind, only one of ``batches`` and ``loss``
            is given, or there is no batch.
    """
    if (batches is None) != (loss is None):
        raise argument_error(
            "remove_neurons", "batches and loss", "come together", "one of them", "Give both or neither"
        )
    importances = None if batches is None or loss is None else _by_gradients(net, batches, loss)
    cut_neurons(net, share, importances)


def _by_gradients(net: Any, batches: Iterable[Any], loss: Loss) -> list[Tensor]:
    """Return the importance of each layer's neurons, summed over the batches."""
    blocks = feed_forwards(net, "remove_neurons")
    params = {id(param): param for ins, out in blocks for param in (*_params(ins), out.weight)}
    total = [torch.zeros(as_linear(ins[0], ins[0].weight).shape[0], device=out.weight.device) for ins, out in blocks]
    frozen = [param for param in params.values() if not param.requires_grad]
    with eval_mode(net):
        try:
            for param in frozen:
                param.requires_grad_(True)
            for batch in _on_device(batches, net, "remove_neurons"):
                with torch.enable_grad():
                    grads = dict(zip(params, torch.autograd.grad(loss(net, batch), list(params.values())), strict=True))
                for index, (ins, out) in enumerate(blocks):
                    rows = torch.cat([incoming(into, into.weight, into.bias) for into in ins], 1)
                    row_grads = torch.cat(
                        [incoming(into, *(grads[id(param)] for param in _params([into]))) for into in ins], 1
                    )
                    columns, column_grads = as_linear(out, out.weight.detach()), as_linear(out, grads[id(out.weight)])
                    total[index] += neuron_importance(rows, columns, (row_grads, column_grads))
        finally:
            for param in frozen:
                param.requires_grad_(False)
    return total


def _params(modules: Iterable[Any]) -> list[Tensor]:
    """Return the weight of each module, and its bias if it has one."""
    return [param for module in modules for param in (module.weight, module.bias) if param is not None]


def _on_device(batches: Iterable[Any], net: Any, where: str) -> Iterator[dict[str, Tensor]]:
    """Yield the micro-batches on the model's device; raise if there is none."""
    device, empty = next(net.parameters()).device, True
    for batch in microbatches(batches):
        yield {name: tensor.to(device) for name, tensor in batch.items()}
        empty = False
    if empty:
        raise argument_error(where, "batches", "hold at least one batch", "none", "Give some of the training rows")
