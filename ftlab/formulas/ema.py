"""EMA: the exponential moving average of the weights, which is what is kept in the end."""

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
    r"""Move a running mean of the parameters a little towards the newest ones.

    .. math:: \bar\theta_t = d\,\bar\theta_{t-1} + (1-d)\,\theta_t

    ======================  ===========  ===============================================================
    symbol                  code         meaning
    ======================  ===========  ===============================================================
    :math:`\bar\theta`      ``mean``     the mean so far, by name; its first value is the first θ
    :math:`\theta_t`        ``params``   the parameters after an update, by name
    :math:`d`               ``decay``    weight of the past; an update's share halves in ln ½/ln d steps
    ======================  ===========  ===============================================================

    Args:
        mean: Tensors by name. A name that is missing begins with its parameter.
        params: Tensors by name, each of its mean's shape.
        decay: From 0 to 1; 0 forgets the past, 1 never moves.

    Returns:
        New means under the names of ``params``, in their dtype; what came in is not changed. In bf16 a mean with a decay
        near 1 does not move, since what is added is rounded away.

    Raises:
        ArgumentError: If ``decay`` is not a number from 0 to 1.

    Source:
        Polyak and Juditsky 1992, "Acceleration of stochastic approximation by averaging", has the plain mean; with
        constant decay as ``torch.optim.swa_utils.get_ema_multi_avg_fn``. Departure: none from the latter.

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
    """A moving average beside the training, which goes on as without it; the model ends as the average. See :func:`ema`.

    The average begins with the weights after the first update, as torch's ``AveragedModel`` does. The validation during
    the run sees the weights themselves.
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
        return [f"EMA sets its average last, which overwrites the work of {later}: list EMA after it."] if later else []

    def start(self, model: nn.Module, batches: object, loss: object, now: Now) -> Memory:
        left = self.decay ** (now.steps - 1)
        if now.steps > 1 and left > 0.1:
            half = f"{math.log(0.5) / math.log(self.decay):.0f}" if self.decay < 1 else "no number of"
            share = f"in {now.steps} updates the average keeps {left:.0%} of the weights after the first one"
            note("EMA", f"decay {self.decay:g} halves the past in {half} updates; {share}.")
        return {}

    def project(self, params: Tensors, memory: Memory, now: Now) -> tuple[Tensors, Memory]:
        return {}, ema(memory, params, self.decay)

    def finish(self, model: nn.Module, memory: Memory) -> nn.Module:
        return load_average("EMA", model, memory)
