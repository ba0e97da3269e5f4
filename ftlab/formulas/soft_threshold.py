"""Soft threshold: the proximal step of the L1 norm. It makes the zeros that the article expects of formula (5)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch  # noqa: F401  (for the examples)
from torch import nn

from ftlab.errors import argument_error, check_number
from ftlab.parameters import Pattern, Tensors, join_patterns, matrices, select
from ftlab.rule import Memory, Now, Project


def soft_threshold(params: Tensors, strengths: float | Mapping[str, float]) -> Tensors:
    r"""Move every entry towards zero by the same length, and stop at zero.

    .. math:: \theta_{new} = \mathrm{sign}(\theta)\cdot\max\left(|\theta| - \tau, 0\right), \qquad \tau = \alpha\lambda

    ==============  =============  =====================================
    symbol          code           meaning
    ==============  =============  =====================================
    :math:`\theta`  ``params``     the parameters, by name
    :math:`\tau`    ``strengths``  the distance: learning rate α times λ
    ==============  =============  =====================================

    The result minimises :math:`\tfrac12\lVert x-\theta\rVert_2^2+\tau\lVert x\rVert_1` over x. After a step of gradient
    descent it is a step of ISTA, which converges to the Lasso. It is computed as θ minus θ clamped to ±τ.

    Args:
        params: Tensors by name.
        strengths: At least 0: one number, or numbers by name. A name without a number is unchanged. 0 changes nothing.

    Returns:
        New tensors under the same names. Entries of absolute value τ or less are exactly 0. The inputs are not
        modified.

    Raises:
        ArgumentError: If a strength is not a number of at least 0.

    Source:
        Daubechies, Defrise and De Mol 2004, arXiv math/0307152; Beck and Teboulle 2009 (ISTA, FISTA).
        Departure: none. After an Adam step it ignores Adam's scaling of the coordinates, as is usual.

    Example:
        >>> soft_threshold({"w": torch.tensor([2.0, -1.0, 0.25])}, 0.5)
        {'w': tensor([ 1.5000, -0.5000,  0.0000])}
    """
    by_name = strengths if isinstance(strengths, Mapping) else dict.fromkeys(params, strengths)
    for strength in by_name.values():
        _check("soft_threshold", strength)
    return {
        name: param - param.clamp(-by_name[name], by_name[name]) if name in by_name else param.clone()
        for name, param in params.items()
    }


def _check(where: str, strength: Any) -> None:
    check_number(where, "strength", strength, "0.01 is a first try, 0 switches it off", at_least=0)


@final
@dataclass(frozen=True)
class SoftThreshold(Project):
    """Soft-threshold the weight matrices after each update, by the learning rate times λ. See :func:`soft_threshold`.

    Biases, gains and embeddings are unchanged: rows of an embedding have no gradient in steps without their words, so
    nothing would balance the pull. Parameters without a gradient in a step are not moved in that step.
    """

    example: ClassVar[str] = "SoftThreshold(0.01)"
    neutral: ClassVar[str] = "SoftThreshold(0.0)"

    strength: float
    pattern: Pattern = "*"

    def __post_init__(self) -> None:
        _check("SoftThreshold", self.strength)

    @property
    def equation(self) -> str:
        return f"θ ← sign(θ)·max(|θ| − {self.strength:g}·α, 0)"

    @property
    def description(self) -> str:
        what = (
            "every weight matrix" if self.pattern == "*" else f"the weight matrices among {join_patterns(self.pattern)}"
        )
        return f"move the entries of {what} by {self.strength:g} times the learning rate towards zero, and stop at zero"

    def start(self, model: nn.Module, batches: Any, loss: Any, now: Now) -> Memory:
        chosen = set(select(now.params, self.pattern))
        names = [name for name in matrices(model) if name in chosen]
        if not names:
            do = "Biases, gains and embeddings are unchanged; choose matrices, such as '*.dense.weight'"
            raise argument_error("SoftThreshold", f"pattern {self.pattern!r}", "match a trainable matrix", "none", do)
        return names

    def project(self, params: Tensors, memory: Memory, now: Now) -> tuple[Tensors, Memory]:
        strengths = {name: self.strength * now.rates[name] for name in memory if name in now.grads}
        return soft_threshold({name: params[name] for name in strengths}, strengths), memory
