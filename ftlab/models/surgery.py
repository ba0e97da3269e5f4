"""Make a model smaller and faster: cut out neurons and layers, rank and silence attention heads.

Zeros in a matrix save neither room nor time; a smaller matrix saves both. What comes out is an ordinary model.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ftlab.errors import argument_error
from ftlab.formulas.neuron_importance import as_linear, feed_forwards, neuron_importance, remove_neurons_in
from ftlab.formulas.remove_layers import remove_layers_in
from ftlab.parameters import eval_mode, stack
from ftlab.rule import Loss, parts

HEADS = ("attention.output.dense", "attn.c_proj", "attention.out_lin")
"""The linear module that joins the heads in BERT and RoBERTa, in GPT-2, and in DistilBERT."""


def remove_neurons(net: Any, share: float, batches: Iterable[Any] | None = None, loss: Loss | None = None) -> None:
    """Cut a share of the feed-forward neurons out of every layer, in place. See :func:`ftlab.formulas.neuron_importance`.

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
    remove_neurons_in(net, share, importances)


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
                for place, ((into, out), some) in enumerate(zip(pairs, weights, strict=True)):
                    grads = [next(found) for _ in some]
                    rows, slopes = (_rows(into, those[:-1]) for those in (some, grads))
                    columns, heights = (as_linear(out, those[-1].detach()) for those in (some, grads))
                    total[place] += neuron_importance(rows, columns, (slopes, heights))
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
    for part in parts(batches):
        yield {name: tensor.to(device) for name, tensor in part.items()}
        none = False
    if none:
        raise argument_error(where, "batches", "hold at least one batch", "none", "Give some of the training rows")


def remove_layers(net: Any, keep: int, drop: str = "top") -> None:
    """Take layers out of a transformer, in place. See :func:`ftlab.formulas.remove_layers`.

    Args:
        net: A ``transformers`` model whose layers are one stack and all alike: BERT, RoBERTa, DistilBERT, GPT-2.
        keep: How many stay, at least 1; as many as there are, or more, keeps all.
        drop: Which go: ``"top"``, ``"bottom"`` or ``"even"``.

    Raises:
        ArgumentError: If an argument is outside its range, or the model is of another kind.
    """
    remove_layers_in(net, keep, drop)


def rank_heads(net: Any, batches: Iterable[Any], loss: Loss) -> Tensor:
    r"""Return how much each attention head matters: how steeply a row's loss changes when the head is turned down.

    .. math:: I_h = \frac{1}{N}\sum_{i=1}^{N}\left|\frac{\partial J_i}{\partial \xi_h}\right|_{\xi_h = 1}

    The mask ξ_h stands before the head's part of the output projection. Its gradient is taken row by row, without
    dropout, and its size is averaged: slopes up and down do not cancel. Of a loss that is the mean over B rows, the
    gradient in a row's mask is a B-th of that row's slope, and is multiplied by B.

    Args:
        net: A ``transformers`` model: BERT, RoBERTa, DistilBERT, GPT-2.
        batches: Tensors by name with ``labels``, padded or not.
        loss: ``loss(model, batch)``, the plain mean over the rows of the batch.

    Returns:
        Shape (layers, heads), at least 0.

    Raises:
        ArgumentError: If the model is of another kind, or there is no batch.

    Source:
        Michel, Levy and Neubig 2019, "Are Sixteen Heads Really Better than One?", arXiv 1905.10650.
        Departure: the scores of a layer are not divided by their length.
    """
    modules, heads = _projections(net, "rank_heads"), net.config.num_attention_heads
    total, rows = torch.zeros(len(modules), heads), 0
    masks: dict[nn.Module, Tensor] = {}

    def masked(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        (joined,) = inputs
        if module not in masks:  # a loss may take several passes
            masks[module] = joined.new_ones(len(joined), heads).requires_grad_()
        return ((torch.unflatten(joined, -1, (heads, -1)) * masks[module][:, None, :, None]).flatten(-2),)

    hooks = [module.register_forward_pre_hook(masked) for module in modules]
    try:
        with eval_mode(net):
            for batch in _all(batches, net, "rank_heads"):
                masks.clear()
                with torch.enable_grad():
                    value = loss(net, batch)
                found = torch.autograd.grad(value, [masks[module] for module in modules])
                count = len(batch["labels"])
                total += torch.stack([one.abs().sum(0) * count for one in found]).cpu()
                rows += count
    finally:
        for hook in hooks:
            hook.remove()
    return total / rows


def mask_heads(net: Any, heads: Sequence[tuple[int, int]]) -> None:
    """Silence attention heads, in place: what they would write becomes zero.

    Their columns of the output projection become zero, so they stay silent in the ordinary model that is saved. All
    shapes stay: silent heads save neither room nor time. Further training would let them speak again.

    Args:
        net: As in :func:`rank_heads`.
        heads: Pairs of layer and head, both from 0.

    Raises:
        ArgumentError: If the model has no such head, or is of another kind.
    """
    modules, count = _projections(net, "mask_heads"), net.config.num_attention_heads
    for layer, head in heads:
        if not (0 <= layer < len(modules) and 0 <= head < count):
            do = f"There are {len(modules)} layers of {count} heads, counted from 0"
            raise argument_error("mask_heads", "heads", "be pairs of layer and head", str((layer, head)), do)
    with torch.no_grad():
        for layer, head in heads:
            weight = as_linear(modules[layer], modules[layer].weight)
            torch.unflatten(weight, 1, (count, -1))[:, head] = 0


def _projections(net: Any, where: str) -> list[Any]:
    found = []
    for layer in stack(net, where)[1]:
        inside = dict(layer.named_modules())
        module = next((inside[name] for name in HEADS if name in inside), None)
        if module is None:
            do = "BERT, RoBERTa, DistilBERT and GPT-2 have one"
            raise argument_error(where, "model", "have heads of a known kind", type(net).__name__, do)
        found.append(module)
    return found
