"""Run a model on texts packed into one row: no token is padding, and each text sees only itself.

The model's outside stays as it is: it is given padded rows and gives its scores. Inside, its body is given one row with all
texts one after another, positions that restart with each, and an attention that keeps them apart. What comes out of the
body is padded again, or holds only the first token of each text where that is all that is asked for. So heads, pooling and
losses are those of ``transformers``, and a model may be of any kind that lets attention be chosen.

Layers of the BERT type run as :mod:`ftlab.engines.fast.encoder_layer` has them. Whatever is not understood (a hook, a replaced module, an
input of another kind) runs padded, as it would have run without this.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from threading import RLock
from typing import Any

import torch
from torch import Tensor, nn

from ftlab.engines.fast.attention import by_head, by_token
from ftlab.engines.fast.dropout import dropout as cheap_dropout
from ftlab.engines.fast.encoder_layer import run_layer, understood
from ftlab.engines.fast.frozen_cache import FrozenCache, cached_outputs, entrance, frozen_layers
from ftlab.engines.fast.packed_batch import PackedBatch, packed_batch_of
from ftlab.formulas._architectures import first_position
from ftlab.losses.logits import SCORES_ONLY

ATTENTION = "ftlab_packed"
KNOWN = ("position_ids", "use_cache", "cache_position", "is_causal", "return_dict", "output_attentions")
"""Keyword arguments that transformers passes to attention, and that packed attention can ignore."""
_lock = RLock()
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


@dataclass
class Used:
    """Whether any pass was packed."""

    packed: bool = False


@contextmanager
def packed(model: nn.Module, *, first_only: bool = False, cache: FrozenCache | None = None) -> Iterator[Used]:
    """Run the passes of a model packed while the context lasts; say whether any was. One thread at a time may.

    Args:
        model: Of ``transformers``, with a head for whole texts.
        first_only: Whether the scores depend on no other than the first token of each text, as with a head of the BERT
            type. Then the last layer is computed for these alone, in passes that are made for the scores alone.
        cache: The outputs of the model's frozen layers so far; left out, one that ends with the context.
    """
    body: Any
    used, body = Used(), getattr(model, "base_model", None)
    if not may_be_packed(model) or "forward" in vars(body):
        with cheap_dropouts(model):
            yield used
        return
    _register()
    forward = partial(_forward, body, type(body).forward.__get__(body), first_only, cache or FrozenCache(), used)
    with cheap_dropouts(model), stand_ins({body: forward}):
        yield used


@contextmanager
def cheap_dropouts(model: nn.Module) -> Iterator[None]:
    """Let a model's modules for dropout draw cheap masks while the context lasts.

    With gradient checkpointing they stay as they are: what is run again in the backward pass is outside the context.
    """
    with _lock:
        modules = list(model.modules())
        again = any(getattr(module, "gradient_checkpointing", False) for module in modules)
        drops = [one for one in modules if type(one) is nn.Dropout and _as_it_came(one) and "forward" not in vars(one)]
        with stand_ins({} if again else {drop: partial(_dropout, drop) for drop in drops}):
            yield


@contextmanager
def stand_ins(forwards: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Let other functions stand in for the ``forward`` of some modules while the context lasts; then all is as it was."""
    with _lock:
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


def may_be_packed(model: nn.Module) -> bool:
    """Say whether a model has a body that lets its attention be chosen, and attends to whole texts.

    A window would stand in a mask that is not there when texts are packed.
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


@cache
def _register() -> None:
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(ATTENTION, attend)


def _forward(
    body: Any,
    ordinary: Callable[..., Any],
    first_only: bool,
    cache: FrozenCache,
    used: Used,
    input_ids: Tensor | None = None,
    attention_mask: Tensor | None = None,
    **more: Any,
) -> Any:
    """Stand in for the body's ``forward``."""
    given = {name: one for name, one in more.items() if one is not None and one is not False}
    plain = input_ids is not None and attention_mask is not None and attention_mask.ndim == 2
    plain = plain and more.get("return_dict") is not False
    if not plain or given.keys() - {"use_cache", "return_dict"} or not untouched(body):
        return ordinary(input_ids=input_ids, attention_mask=attention_mask, **more)
    assert input_ids is not None
    assert attention_mask is not None
    texts = packed_batch_of(attention_mask)
    if not texts.right_padded:
        return ordinary(input_ids=input_ids, attention_mask=attention_mask, **more)
    layers = _layers(body)
    known = bool(layers) and all(map(understood, layers))
    if known:
        inside = _layers_stand_in(body, layers, input_ids, texts, cache, first_only and _only_scores(body))
    else:
        inside = _pooler_stands_in(body, texts)
    used.packed = True
    before = body.config._attn_implementation
    try:
        body.config._attn_implementation = ATTENTION
        with stand_ins(inside):
            made = ordinary(
                input_ids=texts.pack(input_ids)[None],
                position_ids=(texts.positions + first_position(body))[None],
                ftlab_texts=texts,
                **{name: False for name in more if name == "use_cache"},
            )
    finally:
        body.config._attn_implementation = before
    if not known:
        made.last_hidden_state = texts.unpack(made.last_hidden_state[0])
    return made


def _only_scores(body: nn.Module) -> bool:
    """Say whether a pass is made for the scores alone, and nobody listens to what the body gives."""
    return SCORES_ONLY.get() and not any(getattr(body, hooks) for hooks in HOOKS)


def _layers_stand_in(
    body: Any, layers: list[nn.Module], input_ids: Tensor, texts: PackedBatch, cache: FrozenCache, first_only: bool
) -> dict[nn.Module, Callable[..., Tensor]]:
    """Let every layer run as one function; the last gives padded rows, or the first tokens alone.

    Frozen layers below the lowest that is trained give what was kept of them.
    """
    below = frozen_layers(body, layers) if body.training and torch.is_grad_enabled() else 0
    last = layers[-1]
    found: dict[nn.Module, Callable[..., Tensor]] = {}
    if below:
        only = first_only and below == len(layers)
        position = first_position(body)
        kept = cached_outputs(cache, body, layers[:below], input_ids, texts, first_only=only, position=position)
        found = {part: lambda *_, **__: kept[None] for part in (*entrance(body), *layers[:below])}
    for layer in layers[below:]:
        found[layer] = partial(_run, layer, texts, first_only and layer is last)
    made = found[last]
    found[last] = lambda *given, **more: (
        made(*given, **more)[0][:, None] if first_only else texts.unpack(made(*given, **more)[0])
    )
    return found


def _run(layer: nn.Module, texts: PackedBatch, first_only: bool, hidden: Tensor, *_: Any, **__: Any) -> Tensor:
    return run_layer(layer, hidden[0], texts, first_only=first_only)[None]


def _pooler_stands_in(body: Any, texts: PackedBatch) -> dict[nn.Module, Callable[..., Tensor]]:
    """Let a pooler inside the body see padded rows."""
    pooler = getattr(body, "pooler", None)
    if not isinstance(pooler, nn.Module):
        return {}
    ordinary = type(pooler).forward.__get__(pooler)
    return {pooler: lambda hidden: ordinary(texts.unpack(hidden[0]))}


def _layers(body: nn.Module) -> list[nn.Module]:
    """Return the layers of a BERT-type encoder; none where the body has another kind of layer."""
    for module in body.modules():
        if isinstance(module, nn.ModuleList) and len(module) and understood(module[0]):
            return list(module)
    return []


def any_frozen_layers(body: nn.Module) -> bool:
    """Say whether layers below the lowest that is trained are kept: what a text gives there is looked up on the host."""
    layers = _layers(body)
    return bool(layers) and frozen_layers(body, layers) > 0


def untouched(body: nn.Module) -> bool:
    """Return whether the encoder has no hooks and no patched ``forward``, other than our dropout and Mixout's weights."""
    if any(getattr(body.config, name, False) for name in ("output_hidden_states", "output_attentions")):
        return False
    return all(_as_it_came(module) for module in body.modules() if module is not body)


def _as_it_came(module: nn.Module) -> bool:
    forward = module.__dict__.get("forward")
    ours = forward is None or getattr(forward, "func", None) is _dropout or hasattr(forward, "weight_of_pass")
    ours = ours and not getattr(module, "gradient_checkpointing", False)  # a layer run again would not be packed then
    return ours and not any(getattr(module, hooks) for hooks in HOOKS)


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    ftlab_texts: PackedBatch,
    scaling: float | None = None,
    dropout: float = 0.0,
    **more: Any,
) -> tuple[Tensor, None]:
    """Attend within each text of a row, in the form in which ``transformers`` calls an attention.

    Args:
        module: It tells whether a token sees only those before it.
        query: Shape (1, heads, tokens, width); ``key`` and ``value`` alike.
        key: The keys.
        value: The values.
        attention_mask: None, since there is no padding.
        ftlab_texts: Where the texts begin.
        scaling: What scores are multiplied with.
        dropout: The probability with which a share of attention is dropped.
        more: Nothing that would change the attention, such as a window.

    Returns:
        Shape (1, tokens, heads, width).

    Raises:
        NotImplementedError: If the model asks for an attention of another kind.
    """
    if unknown := [name for name, one in more.items() if name not in KNOWN and one is not None and one is not False]:
        raise NotImplementedError(f"packed attention does not know {', '.join(unknown)}")
    texts, (_, heads, _, size) = ftlab_texts, query.shape
    scale = size**-0.5 if scaling is None else scaling
    causal = more.get("is_causal")
    causal = getattr(module, "is_causal", False) if causal is None else causal
    joined = torch.cat([one[0].transpose(0, 1).flatten(1) for one in (query, key, value)], 1)
    q, k, v = by_head(joined, 3, heads, texts).view(3, texts.count, heads, texts.max_seqlen, size)
    scores = (q @ k.transpose(2, 3)).float() * scale
    if not texts.unpadded:
        scores = scores + texts.bias
    if causal:
        later = torch.ones(texts.max_seqlen, texts.max_seqlen, dtype=torch.bool, device=query.device).triu(1)
        scores = scores.masked_fill(later, torch.finfo(scores.dtype).min)
    shares = cheap_dropout(scores.softmax(-1), dropout)
    context = shares.to(query.dtype) @ v
    return by_token(context.flatten(0, 1)[None], heads, texts).view(1, -1, heads, size), None
