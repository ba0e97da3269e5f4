"""Attention within long texts of different lengths on a GPU: the flash kernel takes them one behind another, without padding.

With short texts it computes more than it saves, since it works in tiles of 128 tokens. Its backward pass adds up in an
order that may change from run to run, and so may the last bits of a gradient.
"""

from functools import cache
from itertools import pairwise

import torch
from torch import Tensor

from ftlab.engines.fast.attention import Saved
from ftlab.engines.fast.packed_batch import PackedBatch

LONG = 64
"""With texts that are longer than this on average the kernel is used: an estimate, not measured."""
TOLERANCE = 0.03
"""How far its results may be from those of plain products, relative to the greatest, in bf16."""


def suits(texts: PackedBatch, device: torch.device, precision: torch.dtype, size: int) -> bool:
    """Say whether the kernel is there for a device, a precision and the size of a head, right, and worth it.

    >>> suits(PackedBatch(torch.ones(2, 100)), torch.device("cpu"), torch.bfloat16, 64)
    False
    """
    if device.type != "cuda" or precision != torch.bfloat16 or texts.tokens <= LONG * texts.count:
        return False
    return is_right(device.type, size)


def attend_long(joined: Tensor, heads: int, texts: PackedBatch, p: float) -> tuple[Tensor, Saved]:
    """Let every token attend to those of its own text.

    Args:
        joined: Query, key and value beside one another, (tokens + tail, 3 · width).
        heads: How many.
        texts: Where the texts begin.
        p: The probability with which a share of attention is dropped.

    Returns:
        Shape (tokens + tail, width), and what the backward pass needs.
    """
    query, key, value = joined.view(len(joined), 3, heads, -1).unbind(1)
    longest = max(texts.max_seqlen, texts.pad_tail)
    made, *rest = torch.ops.aten._flash_attention_forward(
        query, key, value, texts.cu_seqlens, texts.cu_seqlens, longest, longest, p, False, False
    )
    logsumexp, state, unused = rest[:3]
    return made.view(len(joined), -1), (joined, made, logsumexp, state, unused)


def attend_long_backward(grad: Tensor, saved: Saved, heads: int, texts: PackedBatch, p: float) -> Tensor:
    """Return the gradient of ``joined``, given that of what :func:`attend_long` made."""
    joined, made, logsumexp, state, unused = saved
    query, key, value = joined.view(len(joined), 3, heads, -1).unbind(1)
    longest, bounds = max(texts.max_seqlen, texts.pad_tail), texts.cu_seqlens
    parts = torch.ops.aten._flash_attention_backward(
        grad.view_as(made),
        *(query, key, value, made, logsumexp, bounds, bounds, longest, longest, p, False, state, unused),
    )
    return torch.stack(parts, 1).view(len(joined), -1)


@cache
def is_right(device: str, size: int) -> bool:
    """Say whether the kernel does what plain products do, on a few drawn texts."""
    heads, lengths = 2, torch.tensor([90, 70, 1])
    texts = PackedBatch((torch.arange(90) < lengths[:, None]).long())
    there, chance = texts.to(torch.device(device)), torch.Generator().manual_seed(0)
    with torch.inference_mode(False), torch.autocast(device, enabled=False):
        joined, grad = (
            torch.randn(texts.tokens + texts.pad_tail, parts * heads * size, generator=chance).to(
                device, torch.bfloat16
            )
            for parts in (3, 1)
        )
        try:
            made, saved = attend_long(joined, heads, there, 0.0)
            found = [made, attend_long_backward(grad, saved, heads, there, 0.0)]
            made, saved = attend_long(joined, heads, there, 0.5)
            backward = attend_long_backward(made, saved, heads, there, 0.5)
        except Exception:  # a build without the kernel, a head of a size that it does not take, another signature
            return False
        expected = _plainly(joined, grad, heads, texts)
    pairs = list(zip(found, expected, strict=True))
    values, of_values = (one.chunk(3, -1)[2].float() for one in (joined, backward))
    pairs.append(((values * of_values).sum(), made.float().square().sum()))  # so it is if the same is dropped in both
    return all(bool((one - other).abs().max() <= TOLERANCE * other.abs().max()) for one, other in pairs)


def _plainly(joined: Tensor, grad: Tensor, heads: int, texts: PackedBatch) -> list[Tensor]:
    """Compute the same with products, one text after another, in fp32."""
    wide = joined.float().requires_grad_()
    bounds = texts.cu_seqlens.tolist()
    made = []
    with torch.enable_grad():
        for start, end in pairwise(bounds):
            query, key, value = wide[start:end].view(end - start, 3, heads, -1).permute(1, 2, 0, 3)
            shares = (query @ key.transpose(1, 2) * query.shape[-1] ** -0.5).softmax(-1)
            made.append((shares @ value).transpose(0, 1).reshape(end - start, -1))
        whole = torch.cat(made)
        (gradient,) = torch.autograd.grad(whole, wide, grad.float())
    return [whole.detach(), gradient]
