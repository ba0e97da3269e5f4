"""Interpolate: part of the way back to the loaded weights, once training is over (WiSE-FT)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import nn

from ftlab.errors import argument_error, check_number, note
from ftlab.parameters import Tensors
from ftlab.rule import Finish, GradientRule, Memory, Now, Project, Rule


def interpolate(origin: Tensors, params: Tensors, alpha: float) -> Tensors:
    r"""Take the point on the straight line between the loaded and the trained parameters.

    .. math:: \theta^* = (1-\alpha)\,\theta_0 + \alpha\,\theta_T

    ===================  ===========  =============================================================
    symbol               code         meaning
    ===================  ===========  =============================================================
    :math:`\theta_0`     ``origin``   the parameters as loaded, by name
    :math:`\theta_T`     ``params``   the parameters after the last update, by name
    :math:`\alpha`       ``alpha``    how far to go from θ₀: 0 is θ₀, 1 is θ_T
    ===================  ===========  =============================================================

    Args:
        origin: Tensors by name, each of its parameter's shape. It may lack names.
        params: Tensors by name. One without an origin stays as it is.
        alpha: From 0 to 1; both ends are exact, bit for bit.

    Returns:
        New tensors under the names of ``params``; what came in is not changed.

    Raises:
        ArgumentError: If ``alpha`` is not a number from 0 to 1.

    Source:
        Wortsman et al. 2022, "Robust fine-tuning of zero-shot models" (WiSE-FT), arXiv 2109.01903.
        Departure: none.

    Example:
        >>> interpolate({"w": torch.tensor([0.0, 2.0])}, {"w": torch.tensor([4.0, 2.0])}, 0.25)
        {'w': tensor([1., 2.])}
    """
    _check("interpolate", alpha)
    return {
        name: torch.lerp(origin[name], param, alpha) if name in origin else param.clone()
        for name, param in params.items()
    }


def _check(where: str, alpha: float) -> None:
    check_number(where, "alpha", alpha, "0.5 is usual, 1 keeps what was trained", at_least=0, at_most=1)


@final
@dataclass(frozen=True)
class Interpolate(Finish):
    """WiSE-FT at the end of a run. See :func:`interpolate`.

    What was trained and has a θ₀ goes back; a new head, what was frozen, and the running statistics of batch
    normalisation stay.
    """

    example: ClassVar[str] = "Interpolate(0.5)"
    neutral: ClassVar[str] = "Interpolate(1.0)"
    needs_origin: ClassVar[bool] = True

    alpha: float = 0.5

    def __post_init__(self) -> None:
        _check("Interpolate", self.alpha)

    @property
    def equation(self) -> str:
        return f"θ* = {1 - self.alpha:g}·θ₀ + {self.alpha:g}·θ_T"

    @property
    def description(self) -> str:
        return f"go back to {self.alpha:.0%} of the way from the loaded weights to the trained ones"

    def cautions(self, recipe: Sequence[Rule]) -> list[str]:
        if self.alpha == 1 or any(_trains_head_first(rule) for rule in recipe):
            return []
        return ["A new head has no θ₀ and may not fit a body that went back: train it first, with HeadFirst."]

    def start(self, model: nn.Module, batches: object, loss: object, now: Now) -> Memory:
        origin = {name: now.origin[name] for name in now.params if name in now.origin}
        if not origin:
            do = "Use it where weights of the checkpoint are trained themselves"
            raise argument_error("Interpolate", "model", "train parameters that were loaded", "none", do)
        return origin

    def finish(self, model: nn.Module, memory: Memory) -> nn.Module:
        params = {name: param.detach() for name, param in model.named_parameters() if name in memory}
        if len(params) < len(memory):
            note("Interpolate", f"{len(memory) - len(params)} parameters are no longer there and stay as trained.")
        for name, tensor in interpolate(memory, params, self.alpha).items():
            params[name].copy_(tensor)
        return model


def _trains_head_first(rule: Rule) -> bool:
    """Return whether a rule holds back the gradients of layers for a while, and never those of the head."""
    return isinstance(rule, GradientRule) and rule.freezes and not isinstance(rule, Project)
