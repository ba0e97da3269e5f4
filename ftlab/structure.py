"""Make a model smaller and faster: cut out neurons and layers, rank and silence attention heads.

Zeros in a matrix save neither room nor time; a smaller matrix saves both. What comes out is an ordinary model.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ftlab.errors import misused
from ftlab.formulas.neuron_importance import as_linear, feed_forwards, neuron_importance, remove_neurons_in
from ftlab.formulas.remove_layers import remove_layers_in
from ftlab.losses import Loss
from ftlab.parameters import stack
from ftlab.rule import parts

HEADS = ("attention.output.dense", "attn.c_proj", "attention.out_lin")
"""The linear module that joins the heads in BERT and RoBERTa, in GPT-2, and in DistilBERT."""


def remove_neurons(net: Any, share: float, batches: Iterable[Any] | None = None, loss: Loss | None = None) -> None:
    """Cut a share of the feed-forward neurons out of every layer, in place.

    Args:
        net: A ``transformers`` model: BERT, RoBERTa, DistilBERT, GPT-2.
        share: At least 0 and less than 1; 0 removes nothing.
        batches: Left out, the weights alone say what a neuron is worth; else their gradients on these batches too,
            the mean over the batches.
        loss: ``loss(model, batch)``, which comes with ``batches``.

    Raises:
        Misused: If the share is outside its range, the model is of another kind, or one of the two is missing.
    """
    if (batches is None) != (loss is None):
        raise misused("remove_neurons", "batches and loss", "come together", "one of them", "Give both or neither")
    importances = None if batches is None or loss is None else _by_gradients(net, batches, loss)
    remove_neurons_in(net, share, importances)


def _by_gradients(net: Any, batches: Iterable[Any], loss: Loss) -> list[Tensor]:
    pairs = feed_forwards(net)
    weights = [(into.weight, *([into.bias] if into.bias is not None else []), out.weight) for into, out in pairs]
    total = [torch.zeros(as_linear(into, into.weight).shape[0], device=into.weight.device) for into, _ in pairs]
    training = net.training
    net.eval()
    for batch in parts(batches):
        with torch.enable_grad():
            value = loss(net, batch)
        found = iter(torch.autograd.grad(value, [one for some in weights for one in some]))
        for place, ((into, out), some) in enumerate(zip(pairs, weights, strict=True)):
            grads = [next(found) for _ in some]
            rows = [as_linear(into, one.detach()) if one.ndim > 1 else one.detach()[:, None] for one in some[:-1]]
            slopes = [as_linear(into, one) if one.ndim > 1 else one[:, None] for one in grads[:-1]]
            columns = as_linear(out, out.weight.detach())
            total[place] += neuron_importance(
                torch.cat(rows, 1), columns, (torch.cat(slopes, 1), as_linear(out, grads[-1]))
            )
    net.train(training)
    return total


def remove_layers(net: Any, keep: int, drop: str = "top") -> None:
    """Take layers out of a transformer, in place. See :func:`ftlab.formulas.remove_layers`."""
    remove_layers_in(net, keep, drop)


def rank_heads(net: Any, batches: Iterable[Any], loss: Loss) -> Tensor:
    """Return how much each attention head matters: the mean over rows of the loss's slope in the head's mask.

    A mask of 1 stands before each head's part of the output projection; its gradient, taken row by row, says how fast
    the loss changes when the head is turned down. Michel, Levy and Neubig 2019, arXiv 1905.10650, equation (2).

    Args:
        net: A ``transformers`` model: BERT, RoBERTa, DistilBERT, GPT-2.
        batches: Tensors by name with ``labels``.
        loss: ``loss(model, batch)``, the mean over the batch.

    Returns:
        Shape (layers, heads), at least 0.
    """
    modules, heads = _projections(net), net.config.num_attention_heads
    total, rows = torch.zeros(len(modules), heads), 0
    masks: dict[int, Tensor] = {}

    def masked(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        (joined,) = inputs
        mask = torch.ones(len(joined), heads, device=joined.device, dtype=joined.dtype, requires_grad=True)
        masks[id(module)] = mask
        return ((torch.unflatten(joined, -1, (heads, -1)) * mask[:, None, :, None]).flatten(-2),)

    hooks = [module.register_forward_pre_hook(masked) for module in modules]
    training = net.training
    net.eval()
    try:
        for batch in parts(batches):
            with torch.enable_grad():
                value = loss(net, batch)
            found = torch.autograd.grad(value, [masks[id(module)] for module in modules])
            count = len(batch["labels"])
            total += torch.stack([one.abs().sum(0) * count for one in found]).cpu()
            rows += count
    finally:
        for hook in hooks:
            hook.remove()
        net.train(training)
    return total / rows


def mask_heads(net: Any, heads: Sequence[tuple[int, int]]) -> None:
    """Silence attention heads, in place: what they would write becomes zero. All shapes stay.

    Args:
        net: As in :func:`rank_heads`.
        heads: Pairs of layer and head, both from 0.

    Raises:
        Misused: If the model has no such head.
    """
    modules, count = _projections(net), net.config.num_attention_heads
    for layer, head in heads:
        if not (0 <= layer < len(modules) and 0 <= head < count):
            do = f"There are {len(modules)} layers of {count} heads, counted from 0"
            raise misused("mask_heads", "heads", "be pairs of layer and head", str((layer, head)), do)
    with torch.no_grad():
        for layer, head in heads:
            weight = as_linear(modules[layer], modules[layer].weight)
            torch.unflatten(weight, 1, (count, -1))[:, head] = 0


def _projections(net: Any) -> list[Any]:
    found = []
    for layer in stack(net, "rank_heads")[1]:
        inside = dict(layer.named_modules())
        module = next((inside[name] for name in HEADS if name in inside), None)
        if module is None:
            do = "BERT, RoBERTa, DistilBERT and GPT-2 have one"
            raise misused("rank_heads", "model", "have heads of a known kind", type(net).__name__, do)
        found.append(module)
    return found
