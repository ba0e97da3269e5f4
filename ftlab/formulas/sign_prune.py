"""Sign prune: a step of constant length against the sign of the gradient. The article's formula (5), as written."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch  # noqa: F401  (for the examples)

from ftlab.errors import check_number
from ftlab.parameters import Tensors
from ftlab.rule import Memory, Now, Project, Rule


def sign_prune(params: Tensors, grads: Tensors, strength: float) -> Tensors:
    r"""Move every entry by the same length against the sign of its gradient.

    .. math:: \theta_{new} = \theta_{old} - \beta\cdot\mathrm{sign}(\nabla J(\theta_{old}))

    ================  ============  =================================
    symbol            code          meaning
    ================  ============  =================================
    :math:`\theta`    ``params``    the parameters, by name
    :math:`\nabla J`  ``grads``     the gradient of the loss, by name
    :math:`\beta`     ``strength``  how far each entry moves
    ================  ============  =================================

    The article calls it clipping and expects it to reduce the number of parameters. It is the update of signSGD: an
    entry with a non-zero gradient moves by exactly β, whatever its size is, so it makes no zeros and removes nothing.

    Args:
        params: Tensors by name. A name without a gradient is unchanged.
        grads: Tensors by name, each of its parameter's shape. An entry with gradient 0 does not move.
        strength: At least 0, in the unit of the parameters; 0 changes nothing. The step of d entries has norm β√d.

    Returns:
        New tensors under the same names. The inputs are not modified.

    Raises:
        ArgumentError: If ``strength`` is not a number of at least 0.

    Source:
        The article, section 3.3, formula (5); as an optimizer Bernstein et al. 2018, "signSGD", arXiv 1802.04434.
        Departure: none. The article does not define how (5) combines with (2). The rule applies it after the
        optimizer's step, with the same gradient; with plain descent the two together are one step along g +
        (β/α)·sign(g).

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
    """Apply formula (5) after each update, with the gradient that the optimizer saw. See :func:`sign_prune`."""

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
        return f"move every entry with a gradient by {self.strength:g} against the sign of the gradient"

    def cautions(self, recipe: Sequence[Rule]) -> list[str]:
        return [
            "SignPrune makes no zeros and removes no parameters: it is a sign step, and does not shrink with the learning rate."
        ]

    def project(self, params: Tensors, memory: Memory, now: Now) -> tuple[Tensors, Memory]:
        return sign_prune(params, now.grads, self.strength), memory
