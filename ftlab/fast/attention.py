"""Attention within each text of a row: every text is laid out as a square, in groups of texts of about one length."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from ftlab.fast.dropout import drop, drop_, keep_mask, kept
from ftlab.fast.texts import Texts

Saved = tuple[Any, ...]
Shape = tuple[int, int, int]
Parts = tuple[Tensor, ...]
LONG_ENOUGH = 128
"""From texts of this length on :func:`attend_once` takes less time than :func:`attend` on a CPU in fp32."""


def attend(joined: Tensor, heads: int, texts: Texts, p: float, first: Tensor | None = None) -> tuple[Tensor, Saved]:
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
    asked = laid[0] if first is None else _in_order(first, texts).view(-1, laid.shape[-1])
    asking, squared, pairs = _shapes(texts, heads, laid.shape[-1], first is not None)

    scores = joined.new_empty(sum(map(math.prod, pairs)))
    _multiply(cut(asked, asking), _turned(cut(laid[-2], squared)), cut(scores, pairs))
    shares = _softmax(scores, pairs, texts, laid.shape[-1] ** -0.5)
    del scores
    mask = keep_mask(shares.shape, p, shares.device) if p else None
    kept_shares = shares if mask is None else drop(shares, mask)
    context = torch.empty_like(asked)
    _multiply(cut(kept_shares, pairs), cut(laid[-1], squared), cut(context, asking))

    made = by_token(context[None], heads, texts) if first is None else _as_given(context, first, texts)
    return made.mul_(1 / kept(p)) if p else made, (laid, asked, shares, mask)


def attend_backward(
    grad: Tensor, saved: Saved, heads: int, texts: Texts, p: float, *, first: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Return the gradients of ``joined`` and ``first``, given that of what :func:`attend` made, which is written over."""
    laid, asked, shares, mask = saved
    asking, squared, pairs = _shapes(texts, heads, laid.shape[-1], first)
    if p:
        grad.mul_(1 / kept(p))
    d_context = _in_order(grad, texts).view_as(asked) if first else by_head(grad, 1, heads, texts)[0]
    d_laid = torch.empty_like(laid)
    d_asked = torch.empty_like(asked) if first else d_laid[0]

    kept_shares, d_shares = shares if mask is None else drop(shares, mask), torch.empty_like(shares)
    _multiply(_turned(cut(kept_shares, pairs)), cut(d_context, asking), cut(d_laid[-1], squared))
    _multiply(cut(d_context, asking), _turned(cut(laid[-1], squared)), cut(d_shares, pairs))
    d_scores = _softmax_backward(d_shares if mask is None else drop_(d_shares, mask), shares, pairs)
    del kept_shares, d_shares
    _multiply(cut(d_scores, pairs), cut(laid[-2], squared), cut(d_asked, asking))
    _multiply(_turned(cut(d_scores, pairs)), cut(asked, asking), cut(d_laid[-2], squared))
    for scaled in (d_asked, d_laid[-2]):
        scaled.mul_(laid.shape[-1] ** -0.5)
    return by_token(d_laid, heads, texts), _as_given(d_asked, grad, texts) if first else None


def attend_once(joined: Tensor, heads: int, texts: Texts) -> Tensor:
    """Do what :func:`attend` does in fp32 and without dropout where no backward pass follows, by ``torch``'s kernel."""
    laid = by_head(joined, 3, heads, texts)
    context = torch.empty_like(laid[0])
    squared = squares(texts, heads, laid.shape[-1])
    for group, bias, query, key, value, into in zip(
        texts.groups, biases(texts), *(cut(one, squared) for one in (*laid, context)), strict=True
    ):
        asked, seen, told = (one.view(group.count, heads, *one.shape[1:]) for one in (query, key, value))
        made = nn.functional.scaled_dot_product_attention(asked, seen, told, attn_mask=bias)
        into.copy_(made.flatten(0, 1))
    return by_token(context[None], heads, texts)


def by_head(tokens: Tensor, parts: int, heads: int, texts: Texts) -> Tensor:
    """Lay the row out for attention: (tokens + tail, parts · width) to (parts, squares' rows by head, width / heads)."""
    size = tokens.shape[-1] // (parts * heads)
    made: Tensor = Laid.apply(tokens.view(-1, size), *texts.places_by_head(parts, heads))  # type: ignore[no-untyped-call]
    return made.view(parts, -1, size)


def by_token(laid: Tensor, heads: int, texts: Texts) -> Tensor:
    """Undo :func:`by_head`."""
    parts, _, size = laid.shape
    into, back = texts.places_by_head(parts, heads)
    made: Tensor = Laid.apply(laid.view(-1, size), back, into)  # type: ignore[no-untyped-call]
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


def cut(flat: Tensor, shapes: list[Shape]) -> Parts:
    """Take apart what lies one group after another.

    >>> [tuple(part.shape) for part in cut(torch.ones(10), [(1, 2, 3), (2, 2, 1)])]
    [(1, 2, 3), (2, 2, 1)]
    """
    parts = torch.split(flat.view(-1), [math.prod(shape) for shape in shapes])
    return tuple(part.view(shape) for part, shape in zip(parts, shapes, strict=True))


def squares(texts: Texts, heads: int, size: int) -> list[Shape]:
    """Return, for each group, the shape in which its texts are laid out: (texts · heads, side, size)."""
    return [(group.count * heads, group.side, size) for group in texts.groups]


def biases(texts: Texts) -> list[Tensor | None]:
    """Return, for each group, what is added to its scores, (texts, 1, 1, side); None where no text is padded."""
    parts = zip(texts.groups, torch.split(texts.bias, [group.cells for group in texts.groups]), strict=True)
    return [None if group.even else part.view(group.count, 1, 1, -1) for group, part in parts]


def _shapes(texts: Texts, heads: int, size: int, first: bool) -> tuple[list[Shape], ...]:
    """Return, for each group, the shapes of what asks, of what is looked at, and of their scores."""
    shape = squares(texts, heads, size)
    rows = [(many, 1, size) for many, _, _ in shape] if first else shape
    return rows, shape, [(many, row, side) for (many, row, _), (_, side, _) in zip(rows, shape, strict=True)]


def _multiply(some: Parts, others: Parts, into: Parts) -> None:
    """Write the products of some matrices with others where they are to lie, one group after another."""
    for left, right, made in zip(some, others, into, strict=True):
        torch.bmm(left, right, out=made)


def _turned(parts: Parts) -> Parts:
    return tuple(part.transpose(1, 2) for part in parts)


def _softmax(scores: Tensor, pairs: list[Shape], texts: Texts, scale: float) -> Tensor:
    exact = scores.float()
    shares = torch.empty_like(exact)
    for bias, part, into in zip(biases(texts), cut(exact, pairs), cut(shares, pairs), strict=True):
        part.mul_(scale)
        if bias is not None:
            part.view(len(bias), -1, *part.shape[1:]).add_(bias)
        torch.softmax(part, -1, out=into)
    return shares.to(scores.dtype)


def _softmax_backward(grad: Tensor, shares: Tensor, pairs: list[Shape]) -> Tensor:
    given, exact = grad.float(), shares.float()
    made = torch.empty_like(given)
    for d_share, share, into in zip(*(cut(one, pairs) for one in (given, exact, made)), strict=True):
        torch._softmax_backward_data(d_share, share, -1, torch.float32, grad_input=into)
    return made.to(grad.dtype)


def _in_order(given: Tensor, texts: Texts) -> Tensor:
    """Put what there is for each text, as the padded rows have them, in the order of the row."""
    return given.index_select(0, texts.order)


def _as_given(ordered: Tensor, like: Tensor, texts: Texts) -> Tensor:
    """Undo :func:`_in_order`."""
    return torch.empty_like(like).index_copy_(0, texts.order, ordered.view_as(like))
