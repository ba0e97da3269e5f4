"""What a gradient rule does, done to the gradients themselves: it saves the memory, and the time, of a second set of them."""

from functools import partial
from typing import Any

import torch

from ftlab.fast.dropout import LEVELS, WHOLE, drop_, keep_mask, kept
from ftlab.formulas import ChildTuningF, ClipNorm
from ftlab.parameters import Tensors, joint_norm
from ftlab.rule import GradientRule, Memory, Now, Shape


def in_place(rule: GradientRule) -> Shape:
    """Return what shapes the gradients as a rule does, and may do it in place.

    Only the first gradient rule of a recipe may be asked so: those after it may be given what another one remembers.
    """
    own: Any = {ClipNorm: _clip, ChildTuningF: _child_tuning}.get(type(rule))
    return partial(own, rule) if own else rule.shape


def _clip(rule: ClipNorm, grads: Tensors, memory: Memory, now: Now) -> tuple[Tensors, Memory]:
    clip_norm_(grads, rule.max_norm)
    return grads, memory


def _child_tuning(rule: ChildTuningF, grads: Tensors, memory: Memory, now: Now) -> tuple[Tensors, Memory]:
    if rule.share < 1 / LEVELS or any(grad.dtype not in WHOLE for grad in grads.values()):
        return rule.shape(grads, memory, now)
    child_tuning_(grads, rule.share, now.generator)
    return grads, memory


def clip_norm_(grads: Tensors, max_norm: float) -> None:
    """Do what :func:`~ftlab.formulas.clip_norm` does in place; on a CPU, what is short enough is not touched.

    >>> grads = {"w": torch.tensor([3.0, 4.0])}
    >>> clip_norm_(grads, 1.0)
    >>> grads
    {'w': tensor([0.6000, 0.8000])}
    """
    factor = (max_norm / (joint_norm(grads) + 1e-6)).clamp(max=1.0)
    if grads and (factor.is_cuda or factor != 1):
        torch._foreach_mul_(list(grads.values()), factor)


def child_tuning_(grads: Tensors, share: float, generator: torch.Generator) -> None:
    """Do what :func:`~ftlab.formulas.child_tuning` does in place, with the cheap masks of dropout: other draws, one law.

    The share is that to the nearest 1/65536.

    >>> grads = {"w": torch.ones(4)}
    >>> child_tuning_(grads, 0.5, torch.Generator().manual_seed(2))
    >>> sorted(set(grads["w"].tolist()))
    [0.0, 2.0]
    """
    if share == 1:
        return
    for grad in filter(torch.numel, grads.values()):
        drop_(grad, keep_mask(grad.shape, 1 - share, grad.device, generator)).mul_(1 / kept(1 - share))
