"""What a gradient rule does, done to the gradients themselves: it saves the memory, and the time, of a second set of them."""

import torch

from ftlab.formulas import ClipNorm
from ftlab.parameters import Tensors, joint_norm
from ftlab.rule import GradientRule, Memory, Now, Shape


def in_place(rule: GradientRule) -> Shape:
    """Return what shapes the gradients as a rule does, and may do it in place.

    Only the first gradient rule of a recipe may be asked so: those after it may be given what another one remembers.
    """
    if not isinstance(rule, ClipNorm):
        return rule.shape
    max_norm = rule.max_norm

    def shape(grads: Tensors, memory: Memory, now: Now) -> tuple[Tensors, Memory]:
        clip_norm_(grads, max_norm)
        return grads, memory

    return shape


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
