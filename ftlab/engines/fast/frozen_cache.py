"""Compute the outputs of an encoder's frozen lower layers once per text, and cache them for the following epochs.

Without dropout, frozen layers map a text to the same output in every epoch. So dropout is turned off there and the outputs
are cached; only trained layers have dropout. The key of a text is its tokens. A changed frozen parameter clears the cache.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ftlab.engines.fast.encoder_layer import forward_layer, precision_of_products
from ftlab.engines.fast.packed_batch import PackedBatch
from ftlab.engines.fast.transfer import host_copy
from ftlab.parameters import eval_mode

LIMIT = 1 << 30
"""The maximum size of a cache in bytes; texts beyond it are recomputed each time."""


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
    """Return the number of layers below every trained parameter of the body.

    >>> frozen_layers(nn.Linear(1, 1), [])
    0
    """
    if not layers or any(param.requires_grad for module in input_modules(body) for param in module.parameters()):
        return 0
    trained = (any(param.requires_grad for param in layer.parameters()) for layer in layers)
    return next((index for index, is_trained in enumerate(trained) if is_trained), len(layers))


def cached_outputs(
    cache: FrozenCache,
    body: Any,
    layers: list[nn.Module],
    input_ids: Tensor,
    packed: PackedBatch,
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
        packed: Where the texts begin.
        first_only: Whether only the first token of each text is needed.
        position: The index of a text's first position.

    Returns:
        Shape (tokens + tail, width), or (texts, width) with ``first_only``.
    """
    frozen = [param for module in (*input_modules(body), *layers) for param in module.parameters()]
    precision = precision_of_products(input_ids.device.type)
    state = [(id(param), param._version, param.data_ptr()) for param in frozen]
    if cache.state != state:
        cache.clear()
        cache.state, cache.frozen = state, frozen
    outputs = []
    rows = host_copy(input_ids).numpy()
    for row, length in enumerate(packed.lengths.tolist()):
        ids = input_ids[row, :length]
        key = len(layers), first_only, precision, rows[row, :length].tobytes()
        output = cache.outputs.get(key)
        if output is None:
            output = _compute(body, layers, ids, first_only, position)
            if cache.bytes + output.nbytes <= LIMIT:
                cache.outputs[key] = output
                cache.bytes += output.nbytes
        outputs.append(output)
    joined = torch.cat(outputs)
    return joined if first_only else nn.functional.pad(joined, (0, 0, 0, packed.pad_tail))


def _compute(body: Any, layers: list[nn.Module], ids: Tensor, first_only: bool, position: int) -> Tensor:
    """Run the frozen layers on one text, without dropout.

    One text at a time, so that an output does not depend on the other texts of its batch: a resumed run computes the
    same outputs, bit for bit.
    """
    packed = PackedBatch(torch.ones(1, len(ids))).to(ids.device)
    with torch.no_grad(), eval_mode(*input_modules(body), *layers):
        hidden = body.embeddings(
            input_ids=packed.pack(ids[None])[None], position_ids=(packed.positions + position)[None]
        )
        for module in input_modules(body)[1:]:
            hidden = module(hidden)
        tokens: Tensor = hidden[0]
        for layer in layers:
            tokens = forward_layer(layer, tokens, packed, first_only=first_only and layer is layers[-1])
    return tokens[: 1 if first_only else packed.tokens]


def input_modules(body: Any) -> list[nn.Module]:
    """Return the modules that compute the first layer's input: the embeddings and, in ELECTRA, their projection."""
    modules = (getattr(body, name, None) for name in ("embeddings", "embeddings_project"))
    return [module for module in modules if isinstance(module, nn.Module)]
