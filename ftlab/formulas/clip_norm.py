"""Clip norm: clip the global gradient norm."""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch  # noqa: F401  (for the examples)
from torch import Tensor

from ftlab.errors import check_number
from ftlab.parameters import Tensors, joint_norm
from ftlab.rule import GradientRule, Memory, Now


def clip_norm(grads: Tensors, max_norm: float) -> Tensors:
    r"""Rescale all gradients by one factor so that their global L2 norm is at most a bound.

    .. math:: g \leftarrow g\cdot\min\left(1, \frac{c}{\lVert g\rVert_2 + 10^{-6}}\right)

    =========  ============  ===========================
    symbol     code          meaning
    =========  ============  ===========================
    :math:`g`  ``grads``     all gradients as one vector
    :math:`c`  ``max_norm``  the largest norm allowed
    =========  ============  ===========================

    Args:
        grads: Tensors by name, any shapes.
        max_norm: Greater than 0, in the gradients' unit; ``math.inf`` changes nothing.

    Returns:
        New tensors under the same names. The direction is unchanged. A gradient that is not finite gives NaN, which the
        next loss reports. The norm is computed in single precision at least.

    Raises:
        ArgumentError: If ``max_norm`` is not greater than 0.

    Source:
        Pascanu, Mikolov and Bengio 2013, "On the difficulty of training recurrent neural networks".
        Departure: 1e-6 is added to the norm, as in ``torch.nn.utils.clip_grad_norm_``.

    Example:
        >>> clip_norm({"w": torch.tensor([3.0, 4.0])}, 1.0)
        {'w': tensor([0.6000, 0.8000])}
        >>> clip_norm({"w": torch.tensor([0.3, 0.4])}, 1.0)
        {'w': tensor([0.3000, 0.4000])}
    """
    _check("clip_norm", max_norm)
    factor = clip_factor(grads, max_norm)
    return {name: grad * factor.to(grad) for name, grad in grads.items()}


def clip_factor(grads: Tensors, max_norm: float) -> Tensor:
    """Return the factor by which :func:`clip_norm` multiplies every gradient, at most 1.

    >>> clip_factor({"w": torch.tensor([3.0, 4.0])}, 1.0)
    tensor(0.2000)
    """
    return (max_norm / (joint_norm(grads) + 1e-6)).clamp(max=1.0)


def _check(where: str, max_norm: float) -> None:
    check_number(where, "max_norm", max_norm, "1.0 is usual, inf switches it off", above=0, finite=False)


@final
@dataclass(frozen=True)
class ClipNorm(GradientRule):
    """Clip the global gradient norm. See :func:`clip_norm`."""

    example: ClassVar[str] = "ClipNorm(1.0)"
    neutral: ClassVar[str] = "ClipNorm(inf)"

    max_norm: float = 1.0

    def __post_init__(self) -> None:
        _check("ClipNorm", self.max_norm)

    @property
    def equation(self) -> str:
        return f"g ← g·min(1, {self.max_norm:g}/‖g‖)"

    @property
    def description(self) -> str:
        if math.isinf(self.max_norm):
            return "leave the gradients unchanged (no bound)"
        return f"rescale all gradients by one factor so that their global norm is at most {self.max_norm:g}"

    def shape(self, grads: Tensors, memory: Memory, now: Now) -> tuple[Tensors, Memory]:
        return clip_norm(grads, self.max_norm), memory
