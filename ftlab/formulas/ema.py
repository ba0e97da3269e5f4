"""EMA: end with an exponential moving average of the weights."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import nn

from ftlab.errors import check_number, note
from ftlab.formulas._averages import load_average
from ftlab.parameters import Tensors
from ftlab.rule import Memory, Now, Project, Rule, overwritten


def ema(mean: Tensors, params: Tensors, decay: float) -> Tensors:
    r"""Update the exponential moving average of the parameters.

    .. math:: \bar\theta_t = d\,\bar\theta_{t-1} + (1-d)\,\theta_t

    ==================  ==========  =========================================================
    symbol              code        meaning
    ==================  ==========  =========================================================
    :math:`\bar\theta`  ``mean``    the average so far, by name; it starts as the first θ
    :math:`\theta_t`    ``params``  the parameters after an update, by name
    :math:`d`           ``decay``   weight of the past, with a half-life of ln ½/ln d updates
    ==================  ==========  =========================================================

    Args:
        mean: Tensors by name. A missing name starts with its parameter.
        params: Tensors by name, of the shapes in ``mean``.
        decay: From 0 (only the newest parameters) to 1 (only the first).

    Returns:
        New averages under the names of ``params``, in their dtype. The inputs are not modified. In bf16 with a decay
        near 1 the average does not move, because the change is rounded away.

    Raises:
        ArgumentError: If ``decay`` is not a number from 0 to 1.

    Source:
        Polyak and Juditsky 1992, "Acceleration of stochastic approximation by averaging", for the plain mean;
        ``torch.optim.swa_utils.get_ema_multi_avg_fn`` for the constant decay. Departure: none from the latter.

    Example:
        >>> ema({"w": torch.tensor([8.0])}, {"w": torch.tensor([0.0])}, 0.75)
        {'w': tensor([6.])}
    """
    _check("ema", decay)
    return {
        name: torch.lerp(mean[name], param, 1 - decay) if name in mean else param.clone()
        for name, param in params.items()
    }


def _check(where: str, decay: float) -> None:
    check_number(where, "decay", decay, "0.999 is usual, 0 keeps the last weights", at_least=0, at_most=1)


@final
@dataclass(frozen=True)
class EMA(Project):
    """Keep a moving average of the weights and end with it; training itself is unchanged. See :func:`ema`.

    The average starts with the weights after the first update, as in torch's ``AveragedModel``. Validation during the
    run uses the current weights.
    """

    example: ClassVar[str] = "EMA(0.999)"
    neutral: ClassVar[str] = "EMA(0.0)"

    decay: float = 0.999

    def __post_init__(self) -> None:
        _check("EMA", self.decay)

    @property
    def equation(self) -> str:
        return f"θ̄ ← {self.decay:g}·θ̄ + {1 - self.decay:g}·θ,  θ* = θ̄"

    @property
    def description(self) -> str:
        return f"keep a moving average of the weights with decay {self.decay:g}, and end with it"

    def cautions(self, recipe: Sequence[Rule]) -> list[str]:
        later = overwritten(self, recipe)
        return (
            [f"EMA loads its average last, which overwrites the result of {later}: list EMA after it."] if later else []
        )

    def start(self, model: nn.Module, batches: object, loss: object, now: Now) -> Memory:
        left = self.decay ** (now.steps - 1)
        if now.steps > 1 and left > 0.1:
            updates = math.log(0.5) / math.log(self.decay) if self.decay < 1 else math.inf
            share = f"after {now.steps} updates the weights after the first one still make up {left:.0%} of the average"
            note("EMA", f"decay {self.decay:g} has a half-life of {updates:.0f} updates; {share}.")
        return {}

    def project(self, params: Tensors, memory: Memory, now: Now) -> tuple[Tensors, Memory]:
        return {}, ema(memory, params, self.decay)

    def finish(self, model: nn.Module, memory: Memory) -> nn.Module:
        return load_average("EMA", model, memory)
