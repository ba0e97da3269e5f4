r"""Dropout with cheap masks: 16 random bits an element, compared as whole numbers and applied bit by bit.

``torch``'s own mask takes a Bernoulli draw an element, one after another, which is most of what dropout costs on a CPU.
Here four elements share one draw of 64 bits. An element is dropped with probability p to the nearest 1/65536, and what is
kept is divided by exactly the probability with which it is kept, so that its mean stays.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

LEVELS = 1 << 16
WHOLE = {torch.bfloat16: torch.int16, torch.float16: torch.int16, torch.float32: torch.int32}
"""By the type of an element, the whole number of the same width."""


def keep_mask(
    shape: Sequence[int], p: float, device: torch.device | None = None, generator: torch.Generator | None = None
) -> Tensor:
    """Draw which elements are kept: int16, -1 (all bits set) to keep and 0 to drop.

    Args:
        shape: Of the tensor that the mask is for.
        p: The probability of being dropped, from 0 to less than 1.
        device: Where to draw.
        generator: On the CPU; left out, torch's own.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> mask = keep_mask((1000, 1000), 0.1)
        >>> sorted(mask.unique().tolist()), bool((mask == 0).float().mean().sub(0.1).abs() < 1e-3)
        ([-1, 0], True)
    """
    count = math.prod(shape)
    bits = _drawn(-(-count // 4), device, generator).view(torch.int16)[:count].view(tuple(shape))
    return bits.ge_(round(LEVELS * p) - LEVELS // 2).neg_()


def _drawn(count: int, device: torch.device | None, generator: torch.Generator | None) -> Tensor:
    """Draw numbers of 64 bits; on a CPU by SFC64, which takes half the time of torch's and is seeded by it."""
    if device is not None and device.type != "cpu" and generator is None:
        return torch.empty(count, dtype=torch.int64, device=device).random_(-(2**63), None)
    seed = int(torch.randint(2**62, (), generator=generator))
    if device is not None and device.type != "cpu":
        there = torch.Generator(device).manual_seed(seed)
        return torch.empty(count, dtype=torch.int64, device=device).random_(-(2**63), None, generator=there)
    return torch.from_numpy(np.random.SFC64(seed).random_raw(count).view(np.int64))


def kept(p: float) -> float:
    """Return the exact probability with which an element is kept.

    >>> kept(0.5)
    0.5
    """
    return 1 - round(LEVELS * p) / LEVELS


def drop(tensor: Tensor, mask: Tensor) -> Tensor:
    """Return a tensor with 0 for what is dropped; nothing is scaled.

    >>> drop(torch.tensor([1.0, 2.0]), torch.tensor([-1, 0], dtype=torch.int16))
    tensor([1., 0.])
    """
    return torch.bitwise_and(tensor.view(WHOLE[tensor.dtype]), mask).view(tensor.dtype)


def drop_(tensor: Tensor, mask: Tensor) -> Tensor:
    """Do what :func:`drop` does in place.

    >>> drop_(torch.tensor([1.0, 2.0]), torch.tensor([-1, 0], dtype=torch.int16))
    tensor([1., 0.])
    """
    tensor.view(WHOLE[tensor.dtype]).bitwise_and_(mask)
    return tensor


def drop_some_(tensor: Tensor, p: float) -> tuple[Tensor, Tensor | None]:
    """Drop in place, without scaling; return what is left and the mask."""
    if p == 0:
        return tensor, None
    mask = keep_mask(tensor.shape, p, tensor.device)
    return drop_(tensor, mask), mask


class Dropped(torch.autograd.Function):
    """Dropout of a whole tensor."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, p: float) -> Tensor:
        mask = keep_mask(tensor.shape, p, tensor.device)
        ctx.save_for_backward(mask)
        ctx.scale = 1 / kept(p)
        return drop_(tensor * ctx.scale, mask)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (mask,) = ctx.saved_tensors
        return drop_(grad * ctx.scale, mask), None


def dropout(tensor: Tensor, p: float, training: bool = True) -> Tensor:
    """Drop elements with probability p while training, and scale the others up so that the mean stays.

    >>> dropout(torch.ones(3), 0.0)
    tensor([1., 1., 1.])
    """
    if not training or p == 0 or tensor.numel() == 0:
        return tensor
    if p > 1 - 1 / LEVELS or tensor.dtype not in WHOLE:
        return nn.functional.dropout(tensor, p)
    dropped: Tensor = Dropped.apply(tensor, p)  # type: ignore[no-untyped-call]
    return dropped
