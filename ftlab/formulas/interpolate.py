"""Interpolate: end between the loaded and the trained weights (WiSE-FT)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import nn

from ftlab.errors import argument_error, check_number, note
from ftlab.parameters import Tensors
from ftlab.rule import Finish, GradientRule, Memory, Now, Project, Rule


def interpolate(origin: Tensors, params: Tensors, alpha: float) -> Tensors:
    r"""Return a point on the straight line between the loaded and the trained parameters.

    .. math:: \theta^* = (1-\alpha)\,\theta_0 + \alpha\,\theta_T

    ================  ==========  =============================================
    symbol            code        meaning
    ================  ==========  =============================================
    :math:`\theta_0`  ``origin``  the parameters as loaded, by name
    :math:`\theta_T`  ``params``  the parameters after the last update, by name
    :math:`\alpha`    ``alpha``   the position on the line: 0 is θ₀, 1 is θ_T
    ================  ==========  =============================================

    Args:
        origin: Tensors by name, each of its parameter's shape.
        params: Tensors by name. One without an origin is unchanged.
        alpha: From 0 to 1; both ends are exact, bit for bit.

    Returns:
        New tensors under the names of ``params``. The inputs are not modified.

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
    check_number(where, "alpha", alpha, "0.5 is usual, 1 keeps the trained weights", at_least=0, at_most=1)


@final
@dataclass(frozen=True)
class Interpolate(Finish):
    """Interpolate between loaded and trained weights at the end of a run. See :func:`interpolate`.

    Trained parameters with a θ₀ are interpolated. A new head, frozen parameters, and the running statistics of batch
    normalisation are unchanged.
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
        return f"end at {self.alpha:.0%} of the way from the loaded weights to the trained ones"

    def cautions(self, recipe: Sequence[Rule]) -> list[str]:
        if self.alpha == 1 or any(_trains_head_first(rule) for rule in recipe):
            return []
        return ["A new head has no θ₀ and may not fit the interpolated body: train it first, with HeadFirst."]

    def start(self, model: nn.Module, batches: object, loss: object, now: Now) -> Memory:
        origin = {name: now.origin[name] for name in now.params if name in now.origin}
        if not origin:
            do = "Use it only if loaded weights are trained"
            raise argument_error("Interpolate", "model", "train loaded parameters", "none", do)
        return origin

    def finish(self, model: nn.Module, memory: Memory) -> nn.Module:
        params = {name: param.detach() for name, param in model.named_parameters() if name in memory}
        if len(params) < len(memory):
            note(
                "Interpolate",
                f"{len(memory) - len(params)} parameters are no longer there and keep their trained values.",
            )
        for name, tensor in interpolate(memory, params, self.alpha).items():
            params[name].copy_(tensor)
        return model


def _trains_head_first(rule: Rule) -> bool:
    """Return whether a rule holds back the gradients of layers for a while, and never those of the head."""
    return isinstance(rule, GradientRule) and rule.freezes and not isinstance(rule, Project)
