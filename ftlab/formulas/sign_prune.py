"""Sign prune: a step of constant length against the gradient's sign. The article's formula (5), exactly as written."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch  # noqa: F401  (for the examples)

from ftlab.errors import check_number
from ftlab.parameters import Tensors
from ftlab.rule import Memory, Now, Project, Rule


def sign_prune(params: Tensors, grads: Tensors, strength: float) -> Tensors:
    r"""Move every parameter by the same length against the sign of its gradient.

    .. math:: \theta_{new} = \theta_{old} - \beta\cdot\mathrm{sign}(\nabla J(\theta_{old}))

    ====================  ==============  =======================================
    symbol                code            meaning
    ====================  ==============  =======================================
    :math:`\theta`        ``params``      the parameters, by name
    :math:`\nabla J`      ``grads``       the loss's gradient, by name
    :math:`\beta`         ``strength``    how far each entry moves
    ====================  ==============  =======================================

    The article calls it clipping and expects fewer parameters of it. It is the update of signSGD: an entry whose
    gradient is not 0 moves by exactly β, whatever its own size, so it makes no zeros and removes nothing.

    Args:
        params: Tensors by name. A name without a gradient stays as it is.
        grads: Tensors by name, each of its parameter's shape. Where an entry is 0, its parameter stays.
        strength: At least 0, in the parameters' unit; 0 changes nothing. d entries move β√d in all.

    Returns:
        New tensors under the same names; what came in is not changed.

    Raises:
        ArgumentError: If ``strength`` is not a number of at least 0.

    Source:
        The article, section 3.3, formula (5); as an optimizer Bernstein et al. 2018, "signSGD", arXiv 1802.04434.
        Departure: none. The article leaves open how (5) stands beside (2): the rule puts it after the optimizer's step,
        with the same gradient. After plain descent the two are one step along g + (β/α)·sign(g).

    Example:
        >>> sign_prune({"w": torch.tensor([1.0, 1.0, 1.0])}, {"w": torch.tensor([9.0, -0.1, 0.0])}, 0.5)
        {'w': tensor([0.5000, 1.5000, 1.0000])}
    """
    check_number("sign_prune", "strength", strength, "1e-5 is a first try, 0 switches it off", at_least=0)
    return {
        name: param - strength * grads[name].sign() if name in grads else param.clone()
        for name, param in params.items()
    }


@final
@dataclass(frozen=True)
class SignPrune(Project):
    """Formula (5) after each update, with the gradient that the optimizer saw. See :func:`sign_prune`."""

    example: ClassVar[str] = "SignPrune(1e-5)"
    neutral: ClassVar[str] = "SignPrune(0.0)"

    strength: float

    def __post_init__(self) -> None:
        check_number("SignPrune", "strength", self.strength, "1e-5 is a first try, 0 switches it off", at_least=0)

    @property
    def equation(self) -> str:
        return f"θ ← θ − {self.strength:g}·sign(∇J)"

    @property
    def description(self) -> str:
        return f"move every entry that has a gradient by {self.strength:g} against the gradient's sign"

    def cautions(self, recipe: Sequence[Rule]) -> list[str]:
        return [
            "SignPrune makes no zeros and removes no parameters: it is a sign step, which does not shrink with the learning rate."
        ]

    def project(self, params: Tensors, memory: Memory, now: Now) -> tuple[Tensors, Memory]:
        return sign_prune(params, now.grads, self.strength), memory
