"""Weight decay: shrink the weights by a factor in every update, independently of the gradient."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch  # noqa: F401  (for the examples)
from torch import nn

from ftlab.errors import check_number
from ftlab.parameters import Pattern, Tensors, join_patterns, penalised
from ftlab.rule import Memory, Now, Project, Rule


def weight_decay(params: Tensors, rates: Mapping[str, float], strength: float) -> Tensors:
    r"""Multiply every parameter by a factor slightly below one.

    .. math:: \theta \leftarrow \theta - \alpha\,\lambda\,\theta = (1 - \alpha\lambda)\,\theta

    ===============  ============  ==============================================
    symbol           code          meaning
    ===============  ============  ==============================================
    :math:`\theta`   ``params``    the parameters, by name
    :math:`\alpha`   ``rates``     the learning rates, by name
    :math:`\lambda`  ``strength``  the strength; log(2)/(αλ) steps halve a weight
    ===============  ============  ==============================================

    It is *decoupled*: the decay does not pass through the optimizer. Under plain gradient descent it equals the
    gradient of :func:`l2_penalty`. Under Adam it does not, because Adam divides a gradient by its root mean square.

    Args:
        params: Tensors by name.
        rates: Numbers of at least 0, by name. A name without a rate is unchanged.
        strength: At least 0; 0 changes nothing.

    Returns:
        New tensors under the same names. The inputs are not modified.

    Raises:
        ArgumentError: If a rate or ``strength`` is not a number of at least 0.

    Source:
        Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization", arXiv 1711.05101. Departure: the decay is
        multiplied by the whole learning rate, as in ``torch.optim.AdamW``, not by the schedule alone.

    Example:
        The factor is 1 - 0.5 · 0.5 = 3/4.

        >>> weight_decay({"w": torch.tensor([8.0, -4.0])}, {"w": 0.5}, 0.5)
        {'w': tensor([ 6., -3.])}
    """
    check_number("weight_decay", "strength", strength, "0.01 is usual, 0 switches it off", at_least=0)
    for lr in rates.values():
        check_number("weight_decay", "lr", lr, "5e-5 is usual for fine-tuning", at_least=0)
    return {
        name: (1 - rates[name] * strength) * param if name in rates else param.clone() for name, param in params.items()
    }


@final
@dataclass(frozen=True)
class WeightDecay(Project):
    """Decay the weights after each update, by the learning rate times λ. See :func:`weight_decay`.

    Biases and the gains of normalisation layers are not decayed, whatever their names are, and neither are parameters
    without a gradient in a step. AdamW decays the weights before its step α·d, this rule after it: a difference of
    α²λ·d.
    """

    example: ClassVar[str] = "WeightDecay(0.01)"
    neutral: ClassVar[str] = "WeightDecay(0.0)"

    strength: float
    pattern: Pattern = "*"

    def __post_init__(self) -> None:
        check_number("WeightDecay", "strength", self.strength, "0.01 is usual, 0 switches it off", at_least=0)

    @property
    def equation(self) -> str:
        return f"θ ← θ − α·{self.strength:g}·θ"

    @property
    def description(self) -> str:
        what = "every weight" if self.pattern == "*" else f"the weights among {join_patterns(self.pattern)}"
        return f"multiply {what} (no biases, no gains) by 1 minus {self.strength:g} times the learning rate"

    def cautions(self, recipe: Sequence[Rule]) -> list[str]:
        return ["AdamW, Lion and AdaBound already have a weight decay of 0.01; WeightDecay is added to it."]

    def start(self, model: nn.Module, batches: Any, loss: Any, now: Now) -> Memory:
        return penalised(model, now.params, self.pattern, "WeightDecay")

    def project(self, params: Tensors, memory: Memory, now: Now) -> tuple[Tensors, Memory]:
        rates = {name: now.rates[name] for name in memory if name in now.grads}
        return weight_decay({name: params[name] for name in rates}, rates, self.strength), memory
