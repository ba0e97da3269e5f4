"""Clip value: clip every entry of the gradients."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch  # noqa: F401  (for the examples)

from ftlab.errors import check_number
from ftlab.parameters import Tensors
from ftlab.rule import GradientRule, Memory, Now, Rule


def clip_value(grads: Tensors, bound: float) -> Tensors:
    r"""Clip every entry of every gradient to a bound.

    .. math:: g \leftarrow \mathrm{clamp}(g, -c, c)

    =========  =========  ==================================
    symbol     code       meaning
    =========  =========  ==================================
    :math:`g`  ``grads``  the gradients, by name
    :math:`c`  ``bound``  the largest absolute value allowed
    =========  =========  ==================================

    Entries are clipped one by one, so the direction of the gradient changes. Clipping by the norm keeps it.

    Args:
        grads: Tensors by name, any shapes.
        bound: Greater than 0, in the gradients' unit; ``math.inf`` changes nothing.

    Returns:
        New tensors under the same names. NaN stays NaN; an infinite entry becomes the bound.

    Raises:
        ArgumentError: If ``bound`` is not greater than 0.

    Source:
        Mikolov 2012, "Statistical Language Models Based on Neural Networks", cited by Pascanu, Mikolov and Bengio
        2013, "On the difficulty of training recurrent neural networks"; ``torch.nn.utils.clip_grad_value_``.
        Departure: none.

    Example:
        >>> clip_value({"w": torch.tensor([3.0, -0.5, -2.0])}, 1.0)
        {'w': tensor([ 1.0000, -0.5000, -1.0000])}
    """
    _check("clip_value", bound)
    return {name: grad.clamp(-bound, bound) for name, grad in grads.items()}


def _check(where: str, bound: float) -> None:
    check_number(where, "bound", bound, "0.01 is a first try, inf switches it off", above=0, finite=False)


@final
@dataclass(frozen=True)
class ClipValue(GradientRule):
    """Clip every entry of the gradients. See :func:`clip_value`."""

    example: ClassVar[str] = "ClipValue(0.01)"
    neutral: ClassVar[str] = "ClipValue(inf)"

    bound: float

    def __post_init__(self) -> None:
        _check("ClipValue", self.bound)

    @property
    def equation(self) -> str:
        return f"g ← clamp(g, ±{self.bound:g})"

    @property
    def description(self) -> str:
        if math.isinf(self.bound):
            return "leave the gradients unchanged (no bound)"
        return f"clip every entry of the gradients to ±{self.bound:g}"

    def cautions(self, recipe: Sequence[Rule]) -> list[str]:
        if math.isinf(self.bound):
            return []
        return ["ClipValue changes the gradient's direction, and silently makes an infinite gradient finite."]

    def shape(self, grads: Tensors, memory: Memory, now: Now) -> tuple[Tensors, Memory]:
        return clip_value(grads, self.bound), memory
