"""Run a model on packed texts: one row without padding, in which each text attends only to itself.

The model is still called with padded rows and still returns logits. Its body gets one row with all texts one after another,
positions that restart with each text, and an attention that keeps texts apart. The body's output is unpacked again, or
holds only the tokens that are needed: the first of each text, or those before a target. So heads, pooling and losses are
those of ``transformers``, and any model works whose attention implementation can be chosen.

Layers of the BERT type are computed by :mod:`ftlab.engines.fast.encoder_layer`. In all other cases (a hook, a replaced
module, other inputs) the model runs padded, as usual.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from threading import RLock
from typing import Any

import torch
from torch import Tensor, nn

from ftlab.engines.fast.dropout import dropout as cheap_dropout
from ftlab.engines.fast.encoder_layer import forward_layer, is_supported
from ftlab.engines.fast.frozen_cache import FrozenCache, cached_outputs, frozen_layers, input_modules
from ftlab.engines.fast.packed_attention import ATTENTION, register
from ftlab.engines.fast.packed_batch import PackedBatch, packed_batch_of
from ftlab.engines.fast.packed_row import PackedRow, draws_dropout, shared_row
from ftlab.formulas._architectures import first_position
from ftlab.losses.logits import SCORES_ONLY, TARGETS

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_replacing = RLock()
"""Held while forwards are replaced, so that one thread at a time changes modules."""


@dataclass
class Usage:
    """Whether any pass was packed."""

    packed: bool = False


@contextmanager
def packed_passes(
    model: nn.Module, *, first_only: bool = False, share: bool = False, cache: FrozenCache | None = None
) -> Iterator[Usage]:
    """Pack the passes of a model while the context lasts. Only one thread at a time may do so.

    Args:
        model: A model of ``transformers`` with a head for whole texts.
        first_only: Whether the logits depend only on the first token of each text, as with a head of the BERT type. Then
            the last layer is computed for these only, in passes that compute nothing but logits.
        share: Whether the tokens that all texts of a batch begin with are computed once, as a causal model allows.
        cache: The outputs of the model's frozen layers so far; left out, they are cached until the context ends.

    Returns:
        Whether any pass was packed.
    """
    body: Any
    usage, body = Usage(), getattr(model, "base_model", None)
    if not can_be_packed(model) or "forward" in vars(body):
        with cheap_dropouts(model):
            yield usage
        return
    register()
    original = type(body).forward.__get__(body)
    forward = partial(_packed_forward, body, original, first_only, share, cache or FrozenCache(), usage)
    with cheap_dropouts(model), replaced_forwards({body: forward}):
        yield usage


@contextmanager
def cheap_dropouts(model: nn.Module) -> Iterator[None]:
    """Let the model's dropout modules draw cheap masks while the context lasts.

    With gradient checkpointing they are not changed, since recomputation in the backward pass is outside the context.
    """
    with _replacing:
        modules = list(model.modules())
        checkpointing = any(getattr(module, "gradient_checkpointing", False) for module in modules)
        dropouts = [
            module
            for module in modules
            if type(module) is nn.Dropout and _is_original(module) and "forward" not in vars(module)
        ]
        with replaced_forwards({} if checkpointing else {module: partial(_dropout, module) for module in dropouts}):
            yield


@contextmanager
def replaced_forwards(forwards: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Replace the ``forward`` of some modules while the context lasts."""
    with _replacing:
        before = {module: vars(module)["forward"] for module in forwards if "forward" in vars(module)}
        try:
            for module, forward in forwards.items():
                module.forward = forward
            yield
        finally:
            for module in forwards:
                module.__dict__.pop("forward", None)
            for module, forward in before.items():
                module.forward = forward


def can_be_packed(model: nn.Module) -> bool:
    """Return whether a model has a body whose attention implementation can be chosen, and attends to whole texts.

    An attention window would be part of the mask, which packed texts do not have.
    """
    body: Any = getattr(model, "base_model", None)
    if body is model or not getattr(body, "_supports_attention_backend", False):
        return False
    config = body.config
    windows = (getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size", "local_attention"))
    kinds = set(getattr(config, "layer_types", None) or ())
    return not any(windows) and kinds <= {"full_attention"}


def _dropout(module: nn.Dropout, tensor: Tensor) -> Tensor:
    return cheap_dropout(tensor, module.p, module.training)


def _packed_forward(
    body: Any,
    original: Callable[..., Any],
    first_only: bool,
    share: bool,
    cache: FrozenCache,
    usage: Usage,
    input_ids: Tensor | None = None,
    attention_mask: Tensor | None = None,
    **more: Any,
) -> Any:
    """Replace the body's ``forward``: pack the rows, run the body, unpack its output."""
    others = {name for name, value in more.items() if value is not None and value is not False}
    plain = input_ids is not None and attention_mask is not None and attention_mask.ndim == 2
    plain = plain and more.get("return_dict") is not False
    if not plain or others - {"use_cache", "return_dict"} or not is_unmodified(body):
        return original(input_ids=input_ids, attention_mask=attention_mask, **more)
    assert input_ids is not None
    assert attention_mask is not None
    packed = packed_batch_of(attention_mask)
    if not packed.right_padded:
        return original(input_ids=input_ids, attention_mask=attention_mask, **more)
    row, inside = PackedRow(packed), dict[nn.Module, Callable[..., Any]]()
    layers = _supported_layers(body)
    supported = bool(layers) and all(map(is_supported, layers))
    if supported:
        inside = _layer_replacements(body, layers, input_ids, packed, cache, first_only and _only_scores(body))
    elif is_causal(body):
        row = shared_row(input_ids, attention_mask, share=share and not draws_dropout(body))
    else:
        inside = _pooler_replacement(body, packed)
    usage.packed = True
    attention = body.config._attn_implementation
    try:
        body.config._attn_implementation = ATTENTION
        with replaced_forwards(inside):
            output = original(
                input_ids=row.pack(input_ids)[None],
                position_ids=(row.positions + first_position(body))[None],
                ftlab_packed=row,
                **{name: False for name in more if name == "use_cache"},
            )
    finally:
        body.config._attn_implementation = attention
    if not supported:
        output.last_hidden_state = _wanted_tokens(body, row, output.last_hidden_state[0])
    return output


def _wanted_tokens(body: nn.Module, row: PackedRow, tokens: Tensor) -> Tensor:
    """Return those tokens, as one row, whose logits are used in this pass; else all of them, unpacked."""
    wanted = TARGETS.get()
    if wanted is None or any(getattr(body, hooks) for hooks in HOOKS):
        return row.unpack(tokens)
    return tokens[row.index(wanted)][None]


def is_causal(body: nn.Module) -> bool:
    """Return whether every attention of a model sees earlier tokens only.

    >>> is_causal(nn.Linear(1, 1))
    False
    """
    causal = [module.is_causal for module in body.modules() if hasattr(module, "is_causal")]
    return bool(causal) and all(causal)


def _only_scores(body: nn.Module) -> bool:
    """Return whether only the logits of this pass are used, and no hook sees the body's output."""
    return SCORES_ONLY.get() and not any(getattr(body, hooks) for hooks in HOOKS)


def _layer_replacements(
    body: Any, layers: list[nn.Module], input_ids: Tensor, packed: PackedBatch, cache: FrozenCache, first_only: bool
) -> dict[nn.Module, Callable[..., Tensor]]:
    """Return a ``forward`` for every layer; that of the last layer unpacks, or returns the first tokens only.

    In training, the frozen layers at the bottom and their inputs are replaced by their cached outputs.
    """
    frozen = frozen_layers(body, layers) if body.training and torch.is_grad_enabled() else 0
    last = layers[-1]
    forwards: dict[nn.Module, Callable[..., Tensor]] = {}
    if frozen:
        only, position = first_only and frozen == len(layers), first_position(body)
        outputs = cached_outputs(cache, body, layers[:frozen], input_ids, packed, first_only=only, position=position)
        forwards = {module: lambda *_, **__: outputs[None] for module in (*input_modules(body), *layers[:frozen])}
    for layer in layers[frozen:]:
        forwards[layer] = partial(_run_layer, layer, packed, first_only and layer is last)
    run_last = forwards[last]

    def run_last_and_unpack(*args: Any, **kwargs: Any) -> Tensor:
        hidden = run_last(*args, **kwargs)[0]
        return hidden[:, None] if first_only else packed.unpack(hidden)

    forwards[last] = run_last_and_unpack
    return forwards


def _run_layer(layer: nn.Module, packed: PackedBatch, first_only: bool, hidden: Tensor, *_: Any, **__: Any) -> Tensor:
    return forward_layer(layer, hidden[0], packed, first_only=first_only)[None]


def _pooler_replacement(body: Any, packed: PackedBatch) -> dict[nn.Module, Callable[..., Tensor]]:
    """Return a ``forward`` that unpacks the input of a pooler inside the body, if it has one."""
    pooler = getattr(body, "pooler", None)
    if not isinstance(pooler, nn.Module):
        return {}
    original = type(pooler).forward.__get__(pooler)
    return {pooler: lambda hidden: original(packed.unpack(hidden[0]))}


def _supported_layers(body: nn.Module) -> list[nn.Module]:
    """Return the body's layers if the first one is supported, else an empty list."""
    for module in body.modules():
        if isinstance(module, nn.ModuleList) and len(module) and is_supported(module[0]):
            return list(module)
    return []


def has_frozen_layers(body: nn.Module) -> bool:
    """Return whether the body has frozen layers whose outputs are cached: they are looked up on the host."""
    layers = _supported_layers(body)
    return bool(layers) and frozen_layers(body, layers) > 0


def is_unmodified(body: nn.Module) -> bool:
    """Return whether the encoder has no hooks and no replaced ``forward``, other than our dropout and Mixout's weights."""
    if any(getattr(body.config, name, False) for name in ("output_hidden_states", "output_attentions")):
        return False
    return all(_is_original(module) for module in body.modules() if module is not body)


def _is_original(module: nn.Module) -> bool:
    forward = module.__dict__.get("forward")
    known = forward is None or getattr(forward, "func", None) is _dropout or hasattr(forward, "weight_of_pass")
    known = known and not getattr(module, "gradient_checkpointing", False)  # recomputation would not be packed
    return known and not any(getattr(module, hooks) for hooks in HOOKS)
