"""SWA: end with the mean of the weights over the last part of a run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import nn

from ftlab.errors import check_int, check_number, note
from ftlab.formulas._averages import load_average
from ftlab.parameters import Tensors
from ftlab.rule import Memory, Now, Project, Rule, Schedule, overwritten, rate_curve


def swa(mean: Tensors, params: Tensors, count: int) -> Tensors:
    r"""Add one more set of parameters to a running mean.

    .. math:: \bar\theta_{n+1} = \frac{n\,\bar\theta_n + \theta}{n+1} = \bar\theta_n + \frac{\theta-\bar\theta_n}{n+1}

    ====================  ==========  =================================================
    symbol                code        meaning
    ====================  ==========  =================================================
    :math:`\bar\theta_n`  ``mean``    the mean of n sets, by name; not read where n = 0
    :math:`\theta`        ``params``  the set to add, by name
    :math:`n`             ``count``   the number of sets in the mean
    ====================  ==========  =================================================

    Args:
        mean: Tensors by name; may be empty where ``count`` is 0.
        params: Tensors by name, of the shapes in ``mean``.
        count: A whole number of at least 0; with 0 the mean becomes ``params``.

    Returns:
        The mean of n + 1 sets, as new tensors under the names of ``params``. The inputs are not modified.

    Raises:
        ArgumentError: If ``count`` is not a whole number of at least 0.

    Source:
        Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima and Better Generalization", arXiv 1803.05407.
        Departure: none in the mean itself.

    Example:
        >>> swa({"w": torch.tensor([2.0])}, {"w": torch.tensor([8.0])}, count=2)
        {'w': tensor([4.])}
    """
    check_int("swa", "count", count, "Count the sets in the mean, from 0")
    if count == 0:
        return {name: param.clone() for name, param in params.items()}
    return {name: torch.lerp(mean[name], param, 1 / (count + 1)) for name, param in params.items()}


@final
@dataclass(frozen=True)
class SWA(Project):
    """End with the mean of the weights from a share of the run on. See :func:`swa`.

    The first set is taken after update ⌈start·T⌉ (at least 1), then one set every ``every`` updates. Validation during
    the run uses the current weights. Departures from the paper: the learning rate is that of the recipe, in the paper
    it is constant or cyclical; the statistics of batch normalisation are not recomputed.
    """

    example: ClassVar[str] = "SWA(0.75)"
    neutral: ClassVar[str] = "SWA(1.0)"

    start_at: float = 0.75
    every: int = 1

    def __post_init__(self) -> None:
        do = "0.75 is usual: the last quarter of the run; 1 keeps the last weights"
        check_number("SWA", "start_at", self.start_at, do, at_least=0, at_most=1)
        check_int("SWA", "every", self.every, "1 takes the weights after every update", at_least=1)

    @property
    def equation(self) -> str:
        return f"θ* = mean of θ_t over t = {self.start_at:g}T, {self.start_at:g}T+{self.every}, … up to T"

    @property
    def description(self) -> str:
        when = "update" if self.every == 1 else f"{self.every} updates"
        return f"end with the mean of the weights, taken after every {when} from {self.start_at:.0%} of the run on"

    def cautions(self, recipe: Sequence[Rule]) -> list[str]:
        sentences = []
        if later := overwritten(self, recipe):
            sentences.append(f"SWA loads its mean last, which overwrites the result of {later}: list SWA after it.")
        falling = [rule for rule in recipe if isinstance(rule, Schedule) and _falls(rule)]
        if falling and self.start_at < 1:
            what = type(falling[0]).__name__
            sentences.append(
                f"SWA needs a learning rate that stays high; under {what} the averaged weights hardly differ."
            )
        return sentences

    def start(self, model: nn.Module, batches: object, loss: object, now: Now) -> Memory:
        if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules()):
            note("SWA", "the running statistics of batch normalisation stay those of the last weights.")
        return {"count": 0, "mean": {}}

    def project(self, params: Tensors, memory: Memory, now: Now) -> tuple[Tensors, Memory]:
        first = max(1, math.ceil(self.start_at * now.steps - 1e-9))  # 0.55 * 100 is a little more than 55
        since = now.step + 1 - first
        if since < 0 or since % self.every:
            return {}, memory
        mean = swa(memory["mean"], params, memory["count"])
        return {}, {"count": memory["count"] + 1, "mean": mean}

    def finish(self, model: nn.Module, memory: Memory) -> nn.Module:
        return load_average("SWA", model, memory["mean"])


def _falls(rule: Schedule) -> bool:
    """Return whether a schedule ends below a tenth of its highest learning rate."""
    rates = rate_curve(rule)
    return bool(rates) and rates[-1] < max(rates) / 10
