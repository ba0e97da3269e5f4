"""Versions of some rules that change the gradients in place, which saves the memory and the time of a second set."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ftlab.engines.fast.dropout import INTEGER, LEVELS, drop_, keep_mask, keep_probability
from ftlab.formulas.child_tuning import ChildTuningF
from ftlab.formulas.clip_norm import ClipNorm, clip_factor
from ftlab.formulas.ewc import EWC
from ftlab.parameters import PIECE, Tensors
from ftlab.rule import GradientRule, Memory, Now, Penalty, Shape


def in_place(rule: GradientRule) -> Shape:
    """Return a rule's in-place version if it has one, else the rule's own function.

    It may be used only for the first gradient rule of a recipe: a later rule may be given tensors that an earlier rule
    remembers.
    """
    version: Any = {ClipNorm: _clip, ChildTuningF: _child_tuning}.get(type(rule))
    return partial(version, rule) if version else rule.shape


def _clip(rule: ClipNorm, grads: Tensors, memory: Memory, now: Now) -> tuple[Tensors, Memory]:
    clip_norm_(grads, rule.max_norm)
    return grads, memory


def _child_tuning(rule: ChildTuningF, grads: Tensors, memory: Memory, now: Now) -> tuple[Tensors, Memory]:
    if rule.share < 1 / LEVELS or any(grad.dtype not in INTEGER for grad in grads.values()):
        return rule.shape(grads, memory, now)
    child_tuning_(grads, rule.share, now.generator)
    return grads, memory


def penalty_in_place(rule: Penalty, params: Mapping[str, nn.Parameter], memory: Memory, now: Now) -> Tensor | None:
    """Add a penalty's gradient to the parameters' gradients and return the penalty; None if the rule has no cheaper way."""
    if type(rule) is not EWC or not memory:
        return None
    penalised = {name: param for name, param in params.items() if name in now.origin}
    if not all(_is_plain(param) and _is_plain(param.grad) for param in penalised.values()):
        return None
    return ewc_(penalised, now.origin, memory, rule.strength)


def _is_plain(tensor: Tensor | None) -> bool:
    """Return whether a tensor is contiguous fp32 on the CPU; a gradient that is not there counts as such."""
    if tensor is None:
        return True
    on_cpu = tensor.device.type == "cpu" and tensor.layout is torch.strided
    return on_cpu and tensor.is_contiguous() and tensor.dtype == torch.float32


def ewc_(params: Mapping[str, nn.Parameter], origin: Tensors, fisher: Tensors, strength: float) -> Tensor:
    """Add the gradient of :func:`~ftlab.formulas.ewc.ewc`, λ·F·(θ − θ₀), to the parameters' gradients; return the penalty.

    The entries are processed in pieces that fit the processor's cache.

    >>> weight = nn.Parameter(torch.tensor([3.0, 2.0]))
    >>> ewc_({"w": weight}, {"w": torch.ones(2)}, {"w": torch.tensor([0.5, 4.0])}, 2.0), weight.grad
    (tensor(6.), tensor([2., 8.]))
    """
    sums = [torch.zeros(())]
    with torch.no_grad():
        for name, param in params.items():
            if param.grad is None:
                param.grad = torch.zeros_like(param)
            tensors = (param, origin[name], fisher[name], param.grad)
            pieces = (torch.split(tensor.view(-1), PIECE) for tensor in tensors)
            for theta, start, weight, grad in zip(*pieces, strict=True):
                change = theta - start
                pull = weight * change
                sums.append(torch.dot(pull, change).float())
                grad.add_(pull, alpha=strength)
    return strength / 2 * torch.stack(sums).sum()


def clip_norm_(grads: Tensors, max_norm: float) -> None:
    """Clip as :func:`~ftlab.formulas.clip_norm.clip_norm` does, in place; on a CPU, gradients within the norm are not touched.

    >>> grads = {"w": torch.tensor([3.0, 4.0])}
    >>> clip_norm_(grads, 1.0)
    >>> grads
    {'w': tensor([0.6000, 0.8000])}
    """
    factor = clip_factor(grads, max_norm)
    if grads and (factor.is_cuda or factor != 1):
        torch._foreach_mul_(list(grads.values()), factor)


def child_tuning_(grads: Tensors, share: float, generator: torch.Generator) -> None:
    """Mask as :func:`~ftlab.formulas.child_tuning.child_tuning` does, in place and with the cheap masks of dropout.

    The draws differ, their distribution does not; the share is rounded to the nearest 1/65536.

    >>> grads = {"w": torch.ones(4)}
    >>> child_tuning_(grads, 0.5, torch.Generator().manual_seed(2))
    >>> sorted(set(grads["w"].tolist()))
    [0.0, 2.0]
    """
    if share == 1:
        return
    for grad in filter(torch.numel, grads.values()):
        drop_(grad, keep_mask(grad.shape, 1 - share, grad.device, generator)).mul_(1 / keep_probability(1 - share))
