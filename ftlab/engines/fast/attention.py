"""Attention within each text of a packed row: texts are unpacked per head, and padded to the longest."""

from typing import Any

import torch
from torch import Tensor, nn

from ftlab.engines.fast.dropout import drop, drop_, keep_mask, keep_probability
from ftlab.engines.fast.packed_batch import PackedBatch

Saved = tuple[Any, ...]
LONG_ENOUGH = 128
"""From texts of this length on, :func:`attend_no_grad` takes less time than :func:`attend` on a CPU in fp32."""


def attend(
    joined: Tensor, heads: int, packed: PackedBatch, p: float, first: Tensor | None = None
) -> tuple[Tensor, Saved]:
    """Attend within each text.

    Args:
        joined: Query, key and value side by side, (tokens + tail, 3 · width); with ``first``, key and value only.
        heads: The number of heads.
        packed: Where the texts begin.
        p: The dropout probability of the attention probabilities.
        first: The query of each text's first token, (texts, width), if only the first tokens are needed.

    Returns:
        The context of each token, (tokens + tail, width), or of each first token, (texts, width); and what the backward
        pass needs.
    """
    qkv = split_heads(joined, 3 if first is None else 2, heads, packed)
    q = qkv[0] if first is None else first.view(len(qkv[0]), 1, -1)
    k, v = qkv[-2], qkv[-1]
    probs = _softmax(q @ k.transpose(1, 2), packed, k.shape[-1] ** -0.5)
    mask = keep_mask(probs.shape, p, probs.device) if p else None
    context = (probs if mask is None else drop(probs, mask)) @ v
    merged = merge_heads(context[None], heads, packed) if first is None else context.view(first.shape)
    return merged.mul_(1 / keep_probability(p)) if p else merged, (qkv, q, probs, mask)


def attend_backward(
    grad: Tensor, saved: Saved, heads: int, packed: PackedBatch, p: float, *, first: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Return the gradients of ``joined`` and ``first``, given that of the output of :func:`attend`, which is overwritten."""
    qkv, q, probs, mask = saved
    k, v = qkv[-2], qkv[-1]
    if p:
        grad.mul_(1 / keep_probability(p))
    d_context = grad.view(q.shape) if first else split_heads(grad, 1, heads, packed)[0]
    d_qkv = torch.empty_like(qkv)
    torch.bmm((probs if mask is None else drop(probs, mask)).transpose(1, 2), d_context, out=d_qkv[-1])
    d_probs = d_context @ v.transpose(1, 2)
    d_scores = _softmax_backward(d_probs if mask is None else drop_(d_probs, mask), probs)
    del d_probs
    d_q = torch.bmm(d_scores, k, out=torch.empty_like(q) if first else d_qkv[0])
    torch.bmm(d_scores.transpose(1, 2), q, out=d_qkv[-2])
    for scaled in (d_q, d_qkv[-2]):
        scaled.mul_(k.shape[-1] ** -0.5)
    return merge_heads(d_qkv, heads, packed), d_q.view(grad.shape) if first else None


def attend_no_grad(joined: Tensor, heads: int, packed: PackedBatch) -> Tensor:
    """Compute what :func:`attend` computes with ``torch``'s kernel: in fp32, without dropout and without a backward pass."""
    qkv = split_heads(joined, 3, heads, packed)
    q, k, v = qkv.view(3, packed.count, heads, *qkv.shape[2:])
    bias = None if packed.unpadded else packed.bias
    context = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    return merge_heads(context.flatten(0, 1)[None], heads, packed)


def split_heads(tokens: Tensor, parts: int, heads: int, packed: PackedBatch) -> Tensor:
    """Unpack a row per part and head: (tokens + tail, parts · width) to (parts, texts · heads, longest, width / heads)."""
    size = tokens.shape[-1] // (parts * heads)
    split: Tensor = Gather.apply(tokens.reshape(-1, size), *packed.gather_indices(parts, heads))  # type: ignore[no-untyped-call]
    return split.view(parts, packed.count * heads, packed.max_seqlen, size)


def merge_heads(split: Tensor, heads: int, packed: PackedBatch) -> Tensor:
    """Undo :func:`split_heads`."""
    parts, size = len(split), split.shape[-1]
    there, back = packed.gather_indices(parts, heads)
    merged: Tensor = Gather.apply(split.reshape(-1, size), back, there)  # type: ignore[no-untyped-call]
    return merged.view(-1, parts * heads * size)


class Gather(torch.autograd.Function):
    """Gather rows by index. The derivative is the gather back, since padding has no gradient."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, there: Tensor, back: Tensor) -> Tensor:
        ctx.save_for_backward(there, back)
        return rows.index_select(0, there)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        there, back = ctx.saved_tensors
        return Gather.apply(grad, back, there), None, None  # type: ignore[no-untyped-call]


def _softmax(scores: Tensor, packed: PackedBatch, scale: float) -> Tensor:
    exact = scores.float().mul_(scale)
    if not packed.unpadded:
        exact.view(packed.count, -1, *exact.shape[1:]).add_(packed.bias)
    return exact.softmax(-1).to(scores.dtype)


def _softmax_backward(grad: Tensor, probs: Tensor) -> Tensor:
    d_scores = torch._softmax_backward_data(grad.float(), probs.float(), -1, torch.float32)
    return d_scores.to(grad.dtype)
