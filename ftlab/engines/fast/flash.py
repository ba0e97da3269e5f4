"""Attention within long texts on a GPU with the flash kernel, which takes packed texts of different lengths.

It works in tiles of 128 tokens, so with short texts the surplus outweighs the gain. Its backward pass sums in an order that
may change from run to run, and so may the last bits of a gradient.
"""

from functools import cache
from itertools import pairwise

import torch
from torch import Tensor

from ftlab.engines.fast.attention import Saved
from ftlab.engines.fast.packed_batch import PackedBatch

LONG = 64
"""The kernel is used if texts are longer than this on average: an estimate, not measured."""
TOLERANCE = 0.03
"""How far its bf16 results may be from those of plain products, relative to the largest entry."""


def use_flash(packed: PackedBatch, device: torch.device, precision: torch.dtype, size: int) -> bool:
    """Return whether to use the kernel for a batch, a device, a precision and a head size: it must be correct and worth it.

    >>> use_flash(PackedBatch(torch.ones(2, 100)), torch.device("cpu"), torch.bfloat16, 64)
    False
    """
    if device.type != "cuda" or precision != torch.bfloat16 or packed.tokens <= LONG * packed.count:
        return False
    return is_correct(device.type, size)


def attend_long(joined: Tensor, heads: int, packed: PackedBatch, p: float) -> tuple[Tensor, Saved]:
    """Attend within each text.

    Args:
        joined: Query, key and value side by side, (tokens + tail, 3 · width).
        heads: The number of heads.
        packed: Where the texts begin.
        p: The dropout probability of the attention probabilities.

    Returns:
        Shape (tokens + tail, width), and what the backward pass needs.
    """
    q, k, v = joined.view(len(joined), 3, heads, -1).unbind(1)
    longest = max(packed.max_seqlen, packed.pad_tail)
    context, *rest = torch.ops.aten._flash_attention_forward(
        q, k, v, packed.cu_seqlens, packed.cu_seqlens, longest, longest, p, False, False
    )
    logsumexp, rng_state, unused = rest[:3]
    return context.view(len(joined), -1), (joined, context, logsumexp, rng_state, unused)


def attend_long_backward(grad: Tensor, saved: Saved, heads: int, packed: PackedBatch, p: float) -> Tensor:
    """Return the gradient of ``joined``, given that of the output of :func:`attend_long`."""
    joined, context, logsumexp, rng_state, unused = saved
    q, k, v = joined.view(len(joined), 3, heads, -1).unbind(1)
    longest, bounds = max(packed.max_seqlen, packed.pad_tail), packed.cu_seqlens
    d_qkv = torch.ops.aten._flash_attention_backward(
        grad.view_as(context),
        *(q, k, v, context, logsumexp, bounds, bounds, longest, longest, p, False, rng_state, unused),
    )
    return torch.stack(d_qkv, 1).view(len(joined), -1)


@cache
def is_correct(device: str, size: int) -> bool:
    """Return whether the kernel agrees with plain products on a few random texts."""
    heads, lengths = 2, torch.tensor([90, 70, 1])
    packed = PackedBatch((torch.arange(90) < lengths[:, None]).long())
    on_device, generator = packed.to(torch.device(device)), torch.Generator().manual_seed(0)
    with torch.inference_mode(False), torch.autocast(device, enabled=False):
        joined, grad = (
            torch.randn(packed.tokens + packed.pad_tail, parts * heads * size, generator=generator).to(
                device, torch.bfloat16
            )
            for parts in (3, 1)
        )
        try:
            context, saved = attend_long(joined, heads, on_device, 0.0)
            results = [context, attend_long_backward(grad, saved, heads, on_device, 0.0)]
            dropped, saved = attend_long(joined, heads, on_device, 0.5)
            d_dropped = attend_long_backward(dropped, saved, heads, on_device, 0.5)
        except Exception:  # a build without the kernel, a head size that it does not take, another signature
            return False
        expected = _plain_attention(joined, grad, heads, packed)
    pairs = list(zip(results, expected, strict=True))
    v, d_v = (tensor.chunk(3, -1)[2].float() for tensor in (joined, d_dropped))
    pairs.append(((v * d_v).sum(), dropped.float().square().sum()))  # equal if both passes drop the same
    return all(bool((result - plain).abs().max() <= TOLERANCE * plain.abs().max()) for result, plain in pairs)


def _plain_attention(joined: Tensor, grad: Tensor, heads: int, packed: PackedBatch) -> list[Tensor]:
    """Return the output and the gradient of ``joined``, computed with products in fp32, text by text."""
    exact = joined.float().requires_grad_()
    contexts = []
    with torch.enable_grad():
        for start, end in pairwise(packed.cu_seqlens.tolist()):
            q, k, v = exact[start:end].view(end - start, 3, heads, -1).permute(1, 2, 0, 3)
            probs = (q @ k.transpose(1, 2) * q.shape[-1] ** -0.5).softmax(-1)
            contexts.append((probs @ v).transpose(0, 1).reshape(end - start, -1))
        context = torch.cat(contexts)
        (gradient,) = torch.autograd.grad(context, exact, grad.float())
    return [context.detach(), gradient]
