"""Attention within each text, every text laid out as a rectangle of the longest one's length."""

from typing import Any

import torch
from torch import Tensor

from ftlab.fast.dropout import drop_, drop_some_, kept
from ftlab.fast.texts import Texts

Saved = tuple[Any, ...]
LONG_ENOUGH = 128
"""From texts of this length on :func:`attend_once` takes less time than :func:`attend` on a CPU in fp32."""


def attend(query: Tensor, key: Tensor, value: Tensor, texts: Texts, p: float) -> tuple[Tensor, Saved]:
    """Attend within each text.

    Args:
        query: Shape (texts · heads, longest, size), or with the first token of each text only, (texts · heads, 1, size).
        key: Shape (texts · heads, longest, size).
        value: As the key.
        texts: Where the texts begin.
        p: The probability with which a share of attention is dropped.

    Returns:
        The context of each token, (tokens + tail, heads · size) or (texts, heads · size), and what the backward pass needs.
    """
    scores = (query @ key.transpose(1, 2)).float().mul_(query.shape[-1] ** -0.5)
    if not texts.even:
        scores.view(texts.count, -1, *scores.shape[1:]).add_(texts.bias)
    shares = scores.softmax(-1).to(query.dtype)
    kept_shares, mask = drop_some_(shares.clone() if p else shares, p)
    context = by_token([kept_shares @ value], texts).mul_(1 / kept(p))
    return context, (query, key, value, shares, kept_shares, mask)


def attend_once(query: Tensor, key: Tensor, value: Tensor, texts: Texts) -> Tensor:
    """Do what :func:`attend` does without dropout where no backward pass follows, by ``torch``'s kernel."""
    query, key, value = (one.view(texts.count, -1, *one.shape[1:]) for one in (query, key, value))
    mask = None if texts.even else texts.mask[:, None, None]
    made = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return by_token([made.flatten(0, 1)], texts)


def attend_backward(grad: Tensor, saved: Saved, texts: Texts, p: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of query, key and value, given that of the context of each token."""
    query, key, value, shares, kept_shares, mask = saved
    heads = len(query) // texts.count
    (d_context,) = by_head(grad.mul_(1 / kept(p)), 1, heads, texts, first=query.shape[1] == 1)
    d_value = kept_shares.transpose(1, 2) @ d_context
    d_shares = d_context @ value.transpose(1, 2)
    if mask is not None:
        drop_(d_shares, mask)
    d_scores = torch._softmax_backward_data(d_shares.float(), shares.float(), -1, torch.float32)
    d_scores = d_scores.mul_(query.shape[-1] ** -0.5).to(query.dtype)
    return d_scores @ key, d_scores.transpose(1, 2) @ query, d_value


def by_head(tokens: Tensor, parts: int, heads: int, texts: Texts, *, first: bool = False) -> Tensor:
    """Lay tokens out for attention: (tokens, parts · width) to (parts, texts · heads, longest, width / heads)."""
    longest = 1 if first else texts.longest
    padded = tokens if first else texts.pad(tokens)
    split = padded.view(texts.count, longest, parts, heads, -1).permute(2, 0, 3, 1, 4)
    return split.reshape(parts, texts.count * heads, longest, split.shape[-1])


def by_token(parts: list[Tensor], texts: Texts) -> Tensor:
    """Undo :func:`by_head`: parts of (texts · heads, longest or 1, width / heads) to (tokens, parts · width)."""
    longest, size = parts[0].shape[1:]
    made = parts[0].new_empty(texts.count, longest, len(parts), len(parts[0]) // texts.count, size)
    for place, part in enumerate(parts):
        made[:, :, place] = part.view(texts.count, -1, longest, size).transpose(1, 2)
    made = made.view(texts.count * longest, -1)
    return texts.flat(made) if longest == texts.longest else made
