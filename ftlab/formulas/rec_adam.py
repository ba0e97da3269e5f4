"""RecAdam: stay near the loaded weights first, learn the task later, with a smooth change between the two."""

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
    r"""Return the share of the task in an update; the rest is the pull towards the loaded weights.

    .. math:: \lambda(t) = \frac{1}{1+\exp(-k\,(t-t_0))}

    ===========  =============  =======================================
    symbol       code           meaning
    ===========  =============  =======================================
    :math:`t`    ``step``       the update, counted from 1
    :math:`k`    ``steepness``  the steepness of the change from 0 to 1
    :math:`t_0`  ``midpoint``   the update at which λ is one half
    ===========  =============  =======================================

    Args:
        step: A whole number of at least 1.
        steepness: Greater than 0; with ``math.inf`` λ jumps from 0 to 1.
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
    r"""Pull parameters towards the loaded ones after an update of Adam that was scaled by the annealing.

    .. math:: \theta \leftarrow \theta - \min\big(1, \alpha\,(1-\lambda)\,\gamma\big)\,(\theta-\theta_0), \qquad
              \text{after}\quad \theta \leftarrow \theta - \alpha\,\lambda\,\frac{\hat m}{\sqrt{\hat v}+\epsilon}

    ================  ==========  ===================================================
    symbol            code        meaning
    ================  ==========  ===================================================
    :math:`\theta`    ``params``  the parameters after Adam's update, by name
    :math:`\theta_0`  ``origin``  the parameters as loaded, by name
    :math:`\alpha`    ``rates``   the learning rate of each name, before scaling by λ
    :math:`\gamma`    ``pull``    the strength of the pull at a learning rate of 1
    :math:`\lambda`   ``share``   the share of the task, from :func:`annealing`
    ================  ==========  ===================================================

    Args:
        params: Tensors by name. One without an origin (a new head) is not pulled.
        origin: Tensors by name, each of its parameter's shape.
        rates: Numbers by name, at least 0.
        pull: At least 0.
        share: From 0 to 1; with 1 there is no pull.

    Returns:
        New tensors under the names that are pulled. The inputs are not modified.

    Raises:
        ArgumentError: If ``pull`` or ``share`` is outside its range.

    Source:
        Chen et al. 2020, "Recall and Learn", arXiv 2004.12651. Departure: the pull ends at θ₀.
        The paper's overshoots θ₀ if αγ(1 - λ) is above 1, and diverges from 2 on.

    Example:
        α(1 - λ)γ = 0.1 · 0.5 · 5 = 1/4, so 8 moves a quarter of the way to 0.

        >>> rec_adam({"w": torch.tensor([8.0])}, {"w": torch.tensor([0.0])}, {"w": 0.1}, pull=5.0, share=0.5)
        {'w': tensor([6.])}
    """
    check_number("rec_adam", "pull", pull, "5000 is usual, 0 switches it off", at_least=0)
    check_number("rec_adam", "share", share, "It goes from 0 to 1 during a run", at_least=0, at_most=1)
    shares = {name: min(1.0, rates[name] * (1 - share) * pull) for name in params if name in origin}
    return {name: torch.lerp(params[name], origin[name], pulled) for name, pulled in shares.items() if pulled > 0}


def _check(where: str, steepness: float, midpoint: int) -> None:
    do = "0.05 to 1 are usual; inf is a jump"
    check_number(where, "steepness", steepness, do, above=0, finite=False)
    check_int(where, "midpoint", midpoint, "It counts updates; 100 to 1000 are usual")


@final
@dataclass(frozen=True)
class RecAdam(Schedule, Project):
    """Scale the learning rates by λ and pull the weights to θ₀ by 1 - λ, with λ from 0 to 1. See :func:`rec_adam`.

    It acts as a schedule and as a projection. Parameters without θ₀ (a new head) have their full learning rate from the
    first update on, as in the authors' code. AdamW's weight decay is scaled by λ too; in their code it is not.
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
        return f"pull the weights to the loaded ones with strength {self.pull:g}, and release them around update {self.midpoint}"

    def cautions(self, recipe: Sequence[Rule]) -> list[str]:
        if any(isinstance(rule, Schedule) and not isinstance(rule, RecAdam) for rule in recipe):
            return []
        return ["RecAdam counts as a schedule: add WarmupLinear() for the usual warm-up and decay."]

    def start(self, model: torch.nn.Module, batches: object, loss: object, now: Now) -> Memory:
        last = annealing(now.steps, self.steepness, self.midpoint)
        if last < 0.9:
            note("RecAdam", f"at the last of {now.steps} updates λ is only {last:.2g}: lower the midpoint.")
        return False  # whether a pull above 1 was mentioned

    def schedule(self, rates: Rates, memory: Memory, now: Now) -> tuple[Rates, Memory]:
        share = self._share(now)
        return {name: lr * share if name in now.origin else lr for name, lr in rates.items()}, memory

    def project(self, params: Tensors, memory: Memory, now: Now) -> tuple[Tensors, Memory]:
        share = self._share(now)
        rates = {name: lr / share for name, lr in now.rates.items() if name in now.origin}  # before the scaling by λ
        greatest = max(rates.values(), default=0.0) * self.pull
        beyond = greatest * (1 - share) > 1
        if beyond and not memory:
            then = "; the paper's update diverges from 2 on" if greatest * (1 - share) >= 2 else ""
            note("RecAdam", f"learning rate times pull is {greatest:.3g}: above 1 the pull stops at θ₀{then}.")
        return rec_adam(params, now.origin, rates, self.pull, share), memory or beyond

    def _share(self, now: Now) -> float:
        return annealing(now.step + 1, self.steepness, self.midpoint)
