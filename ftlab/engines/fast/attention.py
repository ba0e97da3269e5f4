"""Attention within each text of a row: every text is laid out as a square, with padding to the longest."""

from typing import Any

import torch
from torch import Tensor, nn

from ftlab.engines.fast.dropout import drop, drop_, keep_mask, kept
from ftlab.engines.fast.packed_batch import PackedBatch

Saved = tuple[Any, ...]
LONG_ENOUGH = 128
"""From texts of this length on :func:`attend_once` takes less time than :func:`attend` on a CPU in fp32."""


def attend(
    joined: Tensor, heads: int, texts: PackedBatch, p: float, first: Tensor | None = None
) -> tuple[Tensor, Saved]:
    """Attend within each text.

    Args:
        joined: Query, key and value beside one another, (tokens + tail, 3 · width); with ``first`` key and value alone.
        heads: How many.
        texts: Where the texts begin.
        p: The probability with which a share of attention is dropped.
        first: The query of each text's first token, (texts, width), where only these are asked for.

    Returns:
        The context of each token, (tokens + tail, width), or of each first one, (texts, width); and what the backward pass
        needs.
    """
    laid = by_head(joined, 3 if first is None else 2, heads, texts)
    asked = laid[0] if first is None else first.view(len(laid[0]), 1, -1)
    shares = _softmax(asked @ laid[-2].transpose(1, 2), texts, laid.shape[-1] ** -0.5)
    mask = keep_mask(shares.shape, p, shares.device) if p else None
    context = (shares if mask is None else drop(shares, mask)) @ laid[-1]
    made = by_token(context[None], heads, texts) if first is None else context.view(first.shape)
    return made.mul_(1 / kept(p)) if p else made, (laid, asked, shares, mask)


def attend_backward(
    grad: Tensor, saved: Saved, heads: int, texts: PackedBatch, p: float, *, first: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Return the gradients of ``joined`` and ``first``, given that of what :func:`attend` made, which is written over."""
    laid, asked, shares, mask = saved
    if p:
        grad.mul_(1 / kept(p))
    d_context = grad.view(asked.shape) if first else by_head(grad, 1, heads, texts)[0]
    d_laid = torch.empty_like(laid)
    torch.bmm((shares if mask is None else drop(shares, mask)).transpose(1, 2), d_context, out=d_laid[-1])
    d_shares = d_context @ laid[-1].transpose(1, 2)
    d_scores = _softmax_backward(d_shares if mask is None else drop_(d_shares, mask), shares)
    del d_shares
    d_asked = torch.bmm(d_scores, laid[-2], out=torch.empty_like(asked) if first else d_laid[0])
    torch.bmm(d_scores.transpose(1, 2), asked, out=d_laid[-2])
    for scaled in (d_asked, d_laid[-2]):
        scaled.mul_(laid.shape[-1] ** -0.5)
    return by_token(d_laid, heads, texts), d_asked.view(grad.shape) if first else None


def attend_once(joined: Tensor, heads: int, texts: PackedBatch) -> Tensor:
    """Do what :func:`attend` does in fp32 and without dropout where no backward pass follows, by ``torch``'s kernel."""
    laid = by_head(joined, 3, heads, texts)
    query, key, value = (one.view(texts.count, heads, *one.shape[1:]) for one in laid)
    bias = None if texts.unpadded else texts.bias
    context = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    return by_token(context.flatten(0, 1)[None], heads, texts)


def by_head(tokens: Tensor, parts: int, heads: int, texts: PackedBatch) -> Tensor:
    """Lay the row out for attention: (tokens + tail, parts · width) to (parts, texts · heads, longest, width / heads)."""
    size = tokens.shape[-1] // (parts * heads)
    made: Tensor = Laid.apply(tokens.view(-1, size), *texts.gather_indices(parts, heads))  # type: ignore[no-untyped-call]
    return made.view(parts, texts.count * heads, texts.max_seqlen, size)


def by_token(laid: Tensor, heads: int, texts: PackedBatch) -> Tensor:
    """Undo :func:`by_head`."""
    parts, size = len(laid), laid.shape[-1]
    into, back = texts.gather_indices(parts, heads)
    made: Tensor = Laid.apply(laid.reshape(-1, size), back, into)  # type: ignore[no-untyped-call]
    return made.view(-1, parts * heads * size)


class Laid(torch.autograd.Function):
    """Rows in other places: to take them back is the derivative, since padding has none."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, there: Tensor, back: Tensor) -> Tensor:
        ctx.save_for_backward(there, back)
        return rows.index_select(0, there)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        there, back = ctx.saved_tensors
        return Laid.apply(grad, back, there), None, None  # type: ignore[no-untyped-call]


def _softmax(scores: Tensor, texts: PackedBatch, scale: float) -> Tensor:
    exact = scores.float().mul_(scale)
    if not texts.unpadded:
        exact.view(texts.count, -1, *exact.shape[1:]).add_(texts.bias)
    return exact.softmax(-1).to(scores.dtype)


def _softmax_backward(grad: Tensor, shares: Tensor) -> Tensor:
    made = torch._softmax_backward_data(grad.float(), shares.float(), -1, torch.float32)
    return made.to(grad.dtype)
