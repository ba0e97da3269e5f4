"""Compute what the frozen lower layers of an encoder make of a text once, and keep it for the epochs that follow.

Frozen layers give the same for a text in every epoch, but for dropout; so they run without it, and only what is trained
has dropout. A text is known by its tokens, and what is kept is thrown away when a frozen weight has another value.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ftlab.engines.fast.encoder_layer import precision_of_products, run_layer
from ftlab.engines.fast.packed_batch import PackedBatch
from ftlab.engines.fast.transfer import on_host
from ftlab.parameters import eval_mode

LIMIT = 1 << 30
"""The size of a model's cache in bytes; texts beyond it are recomputed each time."""


@dataclass
class FrozenCache:
    """The outputs of one encoder's frozen layers."""

    state: Any = None
    """The frozen parameters that the outputs were computed with: identity, version and address of each."""
    frozen: Sequence[Tensor] = ()
    """These parameters, held so that no other tensor gets their identity."""
    outputs: dict[Any, Tensor] = field(default_factory=dict)
    """Keys: number of layers, whether first tokens only, precision, and the text's tokens."""
    bytes: int = 0

    def clear(self) -> None:
        """Drop all outputs."""
        self.outputs, self.bytes = {}, 0


def frozen_layers(body: Any, layers: list[nn.Module]) -> int:
    """Return how many layers, counted from below, stand beneath everything in the body that is trained.

    >>> frozen_layers(nn.Linear(1, 1), [])
    0
    """
    if not layers or any(param.requires_grad for below in entrance(body) for param in below.parameters()):
        return 0
    trained = (any(param.requires_grad for param in layer.parameters()) for layer in layers)
    return next((number for number, one in enumerate(trained) if one), len(layers))


def cached_outputs(
    cache: FrozenCache,
    body: Any,
    layers: list[nn.Module],
    input_ids: Tensor,
    texts: PackedBatch,
    *,
    first_only: bool,
    position: int,
) -> Tensor:
    """Return the outputs of the frozen layers for the texts of a batch, computing those that are not in the cache.

    Args:
        cache: Outputs so far; it is cleared if a frozen parameter has changed.
        body: The encoder.
        layers: Its frozen layers, from below.
        input_ids: Padded rows.
        texts: Where they have tokens.
        first_only: Whether only the first token of each text is needed.
        position: The index of a text's first position.

    Returns:
        Shape (tokens + tail, width), or (texts, width) with ``first_only``.
    """
    frozen = [param for module in (*entrance(body), *layers) for param in module.parameters()]
    precision = precision_of_products(input_ids.device.type)
    state = [(id(param), param._version, param.data_ptr()) for param in frozen]
    if cache.state != state:
        cache.clear()
        cache.state, cache.frozen = state, frozen
    outputs = []
    numbers = on_host(input_ids).numpy()
    for row, length in enumerate(texts.lengths.tolist()):
        ids = input_ids[row, :length]
        key = len(layers), first_only, precision, numbers[row, :length].tobytes()
        output = cache.outputs.get(key)
        if output is None:
            output = _computed(body, layers, ids, first_only, position)
            if cache.bytes + output.nbytes <= LIMIT:
                cache.outputs[key] = output
                cache.bytes += output.nbytes
        outputs.append(output)
    found = torch.cat(outputs)
    return found if first_only else nn.functional.pad(found, (0, 0, 0, texts.pad_tail))


def _computed(body: Any, layers: list[nn.Module], ids: Tensor, first_only: bool, position: int) -> Tensor:
    """Run the frozen layers on one text, without dropout.

    One at a time, so that what is kept does not depend on the other texts of a batch: a run that is resumed goes on with
    the same numbers, bit for bit.
    """
    text = PackedBatch(torch.ones(1, len(ids))).to(ids.device)
    with torch.no_grad(), eval_mode(*entrance(body), *layers):
        hidden = body.embeddings(input_ids=text.pack(ids[None])[None], position_ids=(text.positions + position)[None])
        for widen in entrance(body)[1:]:
            hidden = widen(hidden)
        tokens: Tensor = hidden[0]
        for layer in layers:
            tokens = run_layer(layer, tokens, text, first_only=first_only and layer is layers[-1])
    return tokens[: 1 if first_only else text.tokens]


def entrance(body: Any) -> list[nn.Module]:
    """Return what makes the first layer's input: the embeddings and, in ELECTRA, what widens them."""
    parts = (getattr(body, name, None) for name in ("embeddings", "embeddings_project"))
    return [part for part in parts if isinstance(part, nn.Module)]
