"""Weight decay: the weights shrink by the same factor at every update, apart from the gradient."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch  # noqa: F401  (for the examples)
from torch import nn

from ftlab.errors import check_number
from ftlab.parameters import Pattern, Tensors, join_patterns, penalised
from ftlab.rule import Memory, Now, Project, Rule


def weight_decay(params: Tensors, rates: Mapping[str, float], strength: float) -> Tensors:
    r"""Shrink every parameter by a factor that is a little below one.

    .. math:: \theta \leftarrow \theta - \alpha\,\lambda\,\theta = (1 - \alpha\lambda)\,\theta

    ==================  ==============  =======================================================
    symbol              code            meaning
    ==================  ==============  =======================================================
    :math:`\theta`      ``params``      the parameters, by name
    :math:`\alpha`      ``rates``       the learning rates, by name
    :math:`\lambda`     ``strength``    how strong the pull is; log(2)/(αλ) steps halve a weight
    ==================  ==============  =======================================================

    It is *decoupled*: the pull does not pass through the optimizer. Under plain gradient descent that is the same as
    the gradient of :func:`l2_penalty`; under Adam it is not, since Adam divides a gradient by its own size.

    Args:
        params: Tensors by name.
        rates: Numbers of at least 0 by name. A name without one stays as it is.
        strength: At least 0; 0 changes nothing.

    Returns:
        New tensors under the same names; what came in is not changed.

    Raises:
        ArgumentError: If a rate or ``strength`` is not a number of at least 0.

    Source:
        Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization", arXiv 1711.05101. Departure: the decay is
        multiplied by the whole learning rate, as in ``torch.optim.AdamW``, not by the schedule alone.

    Example:
        1 - 0.5 · 0.5 = 3/4 of each weight is left.

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

    Biases and the gains of normalising modules are left alone, whatever they are called, and so is what was not
    updated in a step. AdamW decays the weights before it moves them by α·d, this rule after: a difference of α²λ·d.
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
        return f"shrink {what}, but no bias or gain, by {self.strength:g} times the learning rate of its own size"

    def cautions(self, recipe: Sequence[Rule]) -> list[str]:
        return ["AdamW, Lion and AdaBound have a weight decay of 0.01 of their own; WeightDecay is added to it."]

    def start(self, model: nn.Module, batches: Any, loss: Any, now: Now) -> Memory:
        return penalised(model, now.params, self.pattern, "WeightDecay")

    def project(self, params: Tensors, memory: Memory, now: Now) -> tuple[Tensors, Memory]:
        rates = {name: now.rates[name] for name in memory if name in now.grads}
        return weight_decay({name: params[name] for name in rates}, rates, self.strength), memory
