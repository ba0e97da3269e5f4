"""RecAdam: first recall the loaded weights, then learn; the change from one to the other is a smooth step."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch

from ftlab.errors import check_int, check_number, note
from ftlab.parameters import Tensors
from ftlab.rule import Memory, Now, Project, Rates, Rule, Schedule

LEAST = 1e-30
"""The smallest λ, so that a rate can be divided by it again."""


def annealing(step: int, steepness: float, midpoint: int) -> float:
    r"""Tell which part of an update belongs to the task; the rest recalls the loaded weights.

    .. math:: \lambda(t) = \frac{1}{1+\exp(-k\,(t-t_0))}

    ==================  ==================  =================================================
    symbol              code                meaning
    ==================  ==================  =================================================
    :math:`t`           ``step``            the update, counted from 1
    :math:`k`           ``steepness``       how fast λ goes from 0 to 1
    :math:`t_0`         ``midpoint``        the update at which λ is one half
    ==================  ==================  =================================================

    Args:
        step: A whole number of at least 1.
        steepness: Greater than 0; ``math.inf`` makes it a jump.
        midpoint: A whole number of at least 0.

    Returns:
        A number from 1e-30 to 1.

    Raises:
        ArgumentError: If a number is outside its range.

    Source:
        Chen et al. 2020, "Recall and Learn", arXiv 2004.12651. Departure: never below 1e-30.

    Example:
        >>> annealing(250, 0.1, 250)
        0.5
    """
    check_int("annealing", "step", step, "Count the updates from 1", at_least=1)
    _check("annealing", steepness, midpoint)
    if step == midpoint:
        return 0.5
    exponent = steepness * (midpoint - step)
    return max(LEAST, 1 / (1 + math.exp(min(exponent, 700.0))))


def rec_adam(params: Tensors, origin: Tensors, rates: Rates, pull: float, share: float) -> Tensors:
    r"""Pull parameters towards the loaded ones, after Adam's update, which is scaled by the annealing.

    .. math:: \theta \leftarrow \theta - \min\big(1, \alpha\,(1-\lambda)\,\gamma\big)\,(\theta-\theta_0), \qquad
              \text{after}\quad \theta \leftarrow \theta - \alpha\,\lambda\,\frac{\hat m}{\sqrt{\hat v}+\epsilon}

    ===================  ============  =============================================================
    symbol               code          meaning
    ===================  ============  =============================================================
    :math:`\theta`       ``params``    the parameters after Adam's update, by name
    :math:`\theta_0`     ``origin``    the parameters as loaded, by name
    :math:`\alpha`       ``rates``     the learning rate of each name, before it is scaled by λ
    :math:`\gamma`       ``pull``      how strong the recall is, against a rate of 1
    :math:`\lambda`      ``share``     the task's part of this update, from :func:`annealing`
    ===================  ============  =============================================================

    Args:
        params: Tensors by name. One without an origin (a new head) is not pulled.
        origin: Tensors by name, each of its parameter's shape.
        rates: Numbers by name, at least 0.
        pull: At least 0.
        share: From 0 to 1; 1 pulls nothing.

    Returns:
        New tensors under the names that are pulled; what came in is not changed.

    Raises:
        ArgumentError: If ``pull`` or ``share`` is outside its range.

    Source:
        Chen et al. 2020, "Recall and Learn", arXiv 2004.12651. Departure: the pull ends at θ₀, where the paper's
        goes beyond it if αγ(1 - λ) is above 1, and never comes back from 2 on.

    Example:
        α(1 - λ)γ = 0.1 · 0.5 · 5 = 1/4 of the way back.

        >>> rec_adam({"w": torch.tensor([8.0])}, {"w": torch.tensor([0.0])}, {"w": 0.1}, pull=5.0, share=0.5)
        {'w': tensor([6.])}
    """
    check_number("rec_adam", "pull", pull, "5000 is usual, 0 switches it off", at_least=0)
    check_number("rec_adam", "share", share, "It goes from 0 to 1 during a run", at_least=0, at_most=1)
    ways = {name: min(1.0, rates[name] * (1 - share) * pull) for name in params if name in origin}
    return {name: torch.lerp(params[name], origin[name], way) for name, way in ways.items() if way > 0}


def _check(where: str, steepness: float, midpoint: int) -> None:
    do = "0.05 to 1 are usual; inf is a jump"
    check_number(where, "steepness", steepness, do, above=0, finite=False)
    check_int(where, "midpoint", midpoint, "It counts updates; 100 to 1000 are usual")


@final
@dataclass(frozen=True)
class RecAdam(Schedule, Project):
    """Recall first, learn later: rates times λ, and a pull of (1 - λ) to θ₀. See :func:`rec_adam`.

    It stands in the recipe as a schedule and as a projection. What has no θ₀ (a new head) keeps its rate from the first
    update on, as in the authors' code. AdamW's weight decay is scaled by λ with the rate, where theirs leaves it whole.
    """

    example: ClassVar[str] = "RecAdam(5000.0, steepness=0.1, midpoint=250)"
    neutral: ClassVar[str] = "RecAdam(5000.0, inf, 0)"
    needs_origin: ClassVar[bool] = True

    pull: float = 5000.0
    steepness: float = 0.1
    midpoint: int = 250

    def __post_init__(self) -> None:
        check_number("RecAdam", "pull", self.pull, "5000 is usual, 0 switches it off", at_least=0)
        _check("RecAdam", self.steepness, self.midpoint)

    @property
    def equation(self) -> str:
        return f"α ← λ·α,  θ ← θ − α(1−λ)·{self.pull:g}·(θ−θ₀),  λ = 1/(1+exp(−{self.steepness:g}(t−{self.midpoint})))"

    @property
    def description(self) -> str:
        return f"hold the weights at the loaded ones with pull {self.pull:g}, and let them go around update {self.midpoint}"

    def cautions(self, recipe: Sequence[Rule]) -> list[str]:
        if any(isinstance(rule, Schedule) and not isinstance(rule, RecAdam) for rule in recipe):
            return []
        return ["RecAdam counts as a schedule: name WarmupLinear() beside it for the usual warm-up and decay."]

    def start(self, model: torch.nn.Module, batches: object, loss: object, now: Now) -> Memory:
        last = annealing(now.steps, self.steepness, self.midpoint)
        if last < 0.9:
            note("RecAdam", f"at the last of {now.steps} updates λ is {last:.2g}: lower midpoint to let it learn.")
        return False  # whether a pull that is too strong was mentioned

    def schedule(self, rates: Rates, memory: Memory, now: Now) -> tuple[Rates, Memory]:
        share = self._share(now)
        return {name: lr * share if name in now.origin else lr for name, lr in rates.items()}, memory

    def project(self, params: Tensors, memory: Memory, now: Now) -> tuple[Tensors, Memory]:
        share = self._share(now)
        rates = {name: lr / share for name, lr in now.rates.items() if name in now.origin}  # before its own scaling
        greatest = max(rates.values(), default=0.0) * self.pull
        beyond = greatest * (1 - share) > 1
        if beyond and not memory:
            then = "; from 2 on the paper's never comes back" if greatest * (1 - share) >= 2 else ""
            note("RecAdam", f"rate times pull is {greatest:.3g}: above 1 it ends at the loaded weights{then}.")
        return rec_adam(params, now.origin, rates, self.pull, share), memory or beyond

    def _share(self, now: Now) -> float:
        return annealing(now.step + 1, self.steepness, self.midpoint)
