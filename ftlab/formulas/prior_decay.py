"""Prior decay: weight decay towards the loaded parameters instead of towards 0."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch

from ftlab.errors import argument_error, check_number
from ftlab.parameters import Tensors
from ftlab.rule import Memory, Now, Project, Rates, Rule


def prior_decay(params: Tensors, origin: Tensors, rates: Rates, strength: float) -> Tensors:
    r"""Move every parameter a fixed share of the way back to its loaded value.

    .. math:: \theta \leftarrow \theta - \alpha\lambda\,(\theta - \theta_0)

    ================  ============  =================================
    symbol            code          meaning
    ================  ============  =================================
    :math:`\theta`    ``params``    the parameters, by name
    :math:`\theta_0`  ``origin``    the parameters as loaded, by name
    :math:`\alpha`    ``rates``     the learning rate of each name
    :math:`\lambda`   ``strength``  the decay at a learning rate of 1
    ================  ============  =================================

    It is AdamW's weight decay with θ₀ instead of 0: the pull does not pass through the moments. After t steps without a
    gradient :math:`(1-\alpha\lambda)^t` of the distance is left.

    Args:
        params: Tensors by name. One without an origin (a new head) is not pulled.
        origin: Tensors by name, each of its parameter's shape. Names that are not in ``params`` are ignored.
        rates: Numbers by name, at least 0. Above :math:`2/\lambda` the distance grows.
        strength: At least 0; 0 changes nothing.

    Returns:
        New tensors under the names that have an origin. The inputs are not modified.

    Raises:
        ArgumentError: If ``strength`` is not a number of at least 0, or the shape of an origin differs.

    Source:
        Zhang et al. 2021, "Revisiting Few-sample BERT Fine-tuning", arXiv 2006.05987 ("pre-trained weight
        decay"). Departure: the pull acts after the optimizer's update; in the authors' code it acts before. The
        optimizer's own decay towards 0 stays on; their code switches it off.

    Example:
        αλ = 0.1 · 2.5 = 1/4, so 8 moves a quarter of the way to 4.

        >>> prior_decay({"w": torch.tensor([8.0])}, {"w": torch.tensor([4.0])}, {"w": 0.1}, 2.5)
        {'w': tensor([7.])}
    """
    _check("prior_decay", strength)
    for name in params.keys() & origin.keys():
        if params[name].shape != origin[name].shape:
            got = f"{tuple(origin[name].shape)} beside {tuple(params[name].shape)} for {name}"
            raise argument_error(
                "prior_decay", "origin", "have the shapes of params", got, "Give the parameters as loaded"
            )
    return {
        name: torch.lerp(param, origin[name], rates[name] * strength)
        for name, param in params.items()
        if name in origin
    }


def _check(where: str, strength: float) -> None:
    check_number(where, "strength", strength, "0.01 is a first try, 0 switches it off", at_least=0)


@final
@dataclass(frozen=True)
class PriorDecay(Project):
    """Decay the parameters towards θ₀ after each update. See :func:`prior_decay`.

    All parameters with a θ₀ are decayed, biases and gains too; a new head is not. AdamW's own decay stays on.
    """

    example: ClassVar[str] = "PriorDecay(0.01)"
    neutral: ClassVar[str] = "PriorDecay(0.0)"
    needs_origin: ClassVar[bool] = True

    strength: float

    def __post_init__(self) -> None:
        _check("PriorDecay", self.strength)

    @property
    def equation(self) -> str:
        return f"θ ← θ − α·{self.strength:g}·(θ − θ₀)"

    @property
    def description(self) -> str:
        return f"move the loaded parameters towards θ₀ by the learning rate times {self.strength:g} of their distance"

    def cautions(self, recipe: Sequence[Rule]) -> list[str]:
        if not self.strength:
            return []
        return ["PriorDecay does not switch off AdamW's own decay, which pulls weights towards 0."]

    def project(self, params: Tensors, memory: Memory, now: Now) -> tuple[Tensors, Memory]:
        return prior_decay(params, now.origin, now.rates, self.strength), memory
