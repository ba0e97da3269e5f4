"""Attention within each text of a packed row, as an attention function of ``transformers``."""

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from ftlab.engines.fast.attention import LONG_ENOUGH, merge_heads, split_heads
from ftlab.engines.fast.dropout import dropout as cheap_dropout
from ftlab.engines.fast.packed_row import PackedRow

ATTENTION = "ftlab_packed"
"""The name under which ``transformers`` knows :func:`attend`."""
KNOWN = ("position_ids", "use_cache", "cache_position", "is_causal", "return_dict", "output_attentions")
"""Keyword arguments that transformers passes to attention, and that packed attention can ignore."""


@cache
def register() -> None:
    """Make :func:`attend` known to ``transformers``."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(ATTENTION, attend)


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    ftlab_packed: PackedRow,
    scaling: float | None = None,
    dropout: float = 0.0,
    **more: Any,
) -> tuple[Tensor, None]:
    """Attend within each text of a packed row, with the signature of ``transformers``' attention functions.

    Args:
        module: The attention module; its ``is_causal`` counts if the argument is left out.
        query: Shape (1, heads, tokens, width).
        key: The keys, of as many heads or of a divisor of their number.
        value: The values, of as many heads as the keys.
        attention_mask: None, since there is no padding.
        ftlab_packed: Where the texts stand.
        scaling: The factor of the scores; left out, 1/√width.
        dropout: The dropout probability of the attention probabilities.
        more: Nothing that would change the attention, such as a window.

    Returns:
        Shape (1, tokens, heads, width), and None for the attention probabilities.

    Raises:
        NotImplementedError: If the model passes an argument that would change the attention.
    """
    if unknown := [
        name for name, extra in more.items() if name not in KNOWN and extra is not None and extra is not False
    ]:
        raise NotImplementedError(f"packed attention does not know {', '.join(unknown)}")
    causal = more.get("is_causal")
    causal = getattr(module, "is_causal", False) if causal is None else causal
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    q, k, v = (tensor[0].transpose(0, 1) for tensor in (query, key, value))  # (tokens, heads, width)
    shared = ftlab_packed.shared
    if not shared:
        return _within_texts(q, k, v, None, ftlab_packed, causal, scale, dropout)[None], None
    first = q[:shared], k[:shared], v[:shared]
    rest = _within_texts(q[shared:], k[shared:], v[shared:], first[1:], ftlab_packed, causal, scale, dropout)
    return torch.cat([_scaled_dot_product(*first, scale), rest])[None], None


def _within_texts(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    before: tuple[Tensor, ...] | None,
    row: PackedRow,
    causal: bool,
    scale: float,
    dropout: float,
) -> Tensor:
    """Let the rest of each text attend to itself and to the keys and values of the tokens before it, if there are any.

    Returns:
        Shape (tokens, heads, width).
    """
    packed, heads = row.rest, q.shape[1]
    q = _grid(q, row)
    k, v = (_grid(tensor, row) for tensor in (k, v))
    if before:
        k, v = (
            torch.cat([shared.transpose(0, 1).expand(packed.count, -1, -1, -1), grid], 2)
            for shared, grid in zip(before, (k, v), strict=True)
        )
    k, v = (_repeated(tensor, heads // tensor.shape[1]) for tensor in (k, v))
    bias = (
        None if packed.unpadded or causal else packed.bias
    )  # padding is behind the tokens, so a causal text has no part in it
    # The kernel needs little memory for long texts, but it has no dropout masks of ours and no second derivative.
    kernel = not dropout and k.shape[2] >= LONG_ENOUGH
    if causal and not (kernel and not before):
        seen = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).tril(row.shared)
        bias = torch.zeros(seen.shape, device=q.device).masked_fill_(~seen, torch.finfo(torch.float32).min)
    if not kernel:
        scores = (q @ k.transpose(2, 3)).float() * scale
        probs = cheap_dropout((scores if bias is None else scores + bias).softmax(-1), dropout)
        context = probs.to(q.dtype) @ v
    else:
        context = nn.functional.scaled_dot_product_attention(
            q, k, v, None if bias is None else bias.to(q.dtype), is_causal=causal and bias is None, scale=scale
        )
    return merge_heads(context.flatten(0, 1)[None], heads, packed).view(-1, heads, q.shape[-1])


def _grid(tokens: Tensor, row: PackedRow) -> Tensor:
    """Unpack the rest of a row: (tokens, heads, width) to (texts, heads, longest, width)."""
    heads, size = tokens.shape[1:]
    return split_heads(tokens.flatten(1), 1, heads, row.rest).view(row.rest.count, heads, -1, size)


def _repeated(tensor: Tensor, times: int) -> Tensor:
    """Repeat each head of keys or values for the queries that share it."""
    return tensor if times == 1 else tensor.repeat_interleave(times, 1)


def _scaled_dot_product(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """Attend causally within one text, (tokens, heads, width)."""
    q, k, v = (tensor.transpose(0, 1)[None] for tensor in (q, k, v))
    k, v = (_repeated(tensor, q.shape[1] // tensor.shape[1]) for tensor in (k, v))
    context = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale)
    return context[0].transpose(0, 1)
