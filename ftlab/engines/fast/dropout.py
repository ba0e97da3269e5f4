"""Dropout with cheap masks: 16 random bits per element, compared as integers and applied bitwise.

``torch`` makes one Bernoulli draw per element, which is most of the cost of dropout on a CPU. Here four elements share one
draw of 64 bits. The drop probability is p rounded to the nearest 1/65536. Kept elements are divided by their exact keep
probability, so the mean does not change.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

LEVELS = 1 << 16
INTEGER = {torch.bfloat16: torch.int16, torch.float16: torch.int16, torch.float32: torch.int32}
"""By dtype, the integer dtype of the same width."""


def keep_mask(
    shape: Sequence[int], p: float, device: torch.device | None = None, generator: torch.Generator | None = None
) -> Tensor:
    """Draw a dropout mask: int16, -1 (all bits set) to keep an element and 0 to drop it.

    Args:
        shape: The shape of the tensor to mask.
        p: The drop probability, from 0 to less than 1.
        device: The device of the mask; left out, the CPU.
        generator: A CPU generator; left out, torch's default.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> mask = keep_mask((1000, 1000), 0.1)
        >>> sorted(mask.unique().tolist()), bool((mask == 0).float().mean().sub(0.1).abs() < 1e-3)
        ([-1, 0], True)
    """
    count = math.prod(shape)
    bits = _random_int64(-(-count // 4), device, generator).view(torch.int16)[:count].view(tuple(shape))
    return bits.ge_(round(LEVELS * p) - LEVELS // 2).neg_()


def _random_int64(count: int, device: torch.device | None, generator: torch.Generator | None) -> Tensor:
    """Draw 64-bit integers; on a CPU with SFC64, seeded from torch: it takes half the time of torch's generator."""
    if device is not None and device.type != "cpu" and generator is None:
        return torch.empty(count, dtype=torch.int64, device=device).random_(-(2**63), None)
    seed = int(torch.randint(2**62, (), generator=generator))
    if device is not None and device.type != "cpu":
        on_device = torch.Generator(device).manual_seed(seed)
        return torch.empty(count, dtype=torch.int64, device=device).random_(-(2**63), None, generator=on_device)
    return torch.from_numpy(np.random.SFC64(seed).random_raw(count).view(np.int64))


def keep_probability(p: float) -> float:
    """Return the exact probability of keeping an element.

    >>> keep_probability(0.5)
    0.5
    """
    return 1 - round(LEVELS * p) / LEVELS


def drop(tensor: Tensor, mask: Tensor) -> Tensor:
    """Return a tensor with its dropped elements set to 0, without scaling.

    >>> drop(torch.tensor([1.0, 2.0]), torch.tensor([-1, 0], dtype=torch.int16))
    tensor([1., 0.])
    """
    return torch.bitwise_and(tensor.view(INTEGER[tensor.dtype]), mask).view(tensor.dtype)


def drop_(tensor: Tensor, mask: Tensor) -> Tensor:
    """Drop as :func:`drop` does, in place.

    >>> drop_(torch.tensor([1.0, 2.0]), torch.tensor([-1, 0], dtype=torch.int16))
    tensor([1., 0.])
    """
    tensor.view(INTEGER[tensor.dtype]).bitwise_and_(mask)
    return tensor


def drop_some_(tensor: Tensor, p: float) -> tuple[Tensor, Tensor | None]:
    """Draw a mask and drop in place, without scaling; return the tensor and the mask, None at p = 0."""
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
        ctx.scale = 1 / keep_probability(p)
        return drop_(tensor * ctx.scale, mask)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (mask,) = ctx.saved_tensors
        return drop_(grad * ctx.scale, mask), None


def dropout(tensor: Tensor, p: float, training: bool = True) -> Tensor:
    """Drop elements with probability p in training and scale the others up, so that the mean does not change.

    >>> dropout(torch.ones(3), 0.0)
    tensor([1., 1., 1.])
    """
    if not training or p == 0 or tensor.numel() == 0:
        return tensor
    if p > 1 - 1 / LEVELS or tensor.dtype not in INTEGER:
        return nn.functional.dropout(tensor, p)
    dropped: Tensor = Dropped.apply(tensor, p)  # type: ignore[no-untyped-call]
    return dropped
