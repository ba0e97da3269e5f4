"""L2-SP: a penalty on the distance from the pretrained weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from ftlab.errors import check_number
from ftlab.parameters import Tensors
from ftlab.rule import Memory, Now, Penalty, Rule


def l2_sp(params: Tensors, origin: Tensors, strength: float, head_strength: float) -> Tensor:
    r"""Return the squared distance of the parameters from the pretrained ones, plus the squared norm of the new ones.

    .. math:: \Omega(\theta) = \frac{\alpha}{2}\lVert \theta_S - \theta_{S,0} \rVert_2^2
              + \frac{\beta}{2}\lVert \theta_{\bar S} \rVert_2^2

    ====================  =================  ======================================================
    symbol                code               meaning
    ====================  =================  ======================================================
    :math:`\theta`        ``params``         the parameters, by name
    :math:`\theta_{S,0}`  ``origin``         the pretrained parameters, by name; all others are new
    :math:`\alpha`        ``strength``       the strength of the pull towards θ₀
    :math:`\beta`         ``head_strength``  the strength of the pull of new ones towards 0
    ====================  =================  ======================================================

    Args:
        params: Tensors by name.
        origin: Tensors by name, each of its parameter's shape. Names that are not in ``params`` are ignored.
        strength: At least 0; 0 leaves the term out.
        head_strength: At least 0; 0 leaves the term out.

    Returns:
        A scalar, at least 0. It has a gradient if a strength is above 0.

    Raises:
        ArgumentError: If a strength is not a number of at least 0.

    Source:
        Li, Grandvalet and Davoine 2018, "Explicit Inductive Bias for Transfer Learning", arXiv 1802.01483.
        Departure: none. Biases and gains are penalised too, which is one of the modes of the authors' code.

    Example:
        >>> params = {"body": torch.tensor([3.0]), "head": torch.tensor([2.0])}
        >>> l2_sp(params, {"body": torch.tensor([1.0])}, 0.5, 0.1)  # 0.25·2² + 0.05·2²
        tensor(1.2000)
    """
    _check("l2_sp", strength, head_strength)
    near = [(param - origin[name]).square().sum() for name, param in params.items() if name in origin and strength]
    new = [param.square().sum() for name, param in params.items() if name not in origin and head_strength]
    return strength / 2 * _total(near, params) + head_strength / 2 * _total(new, params)


def _total(terms: list[Tensor], params: Tensors) -> Tensor:
    zero = next(iter(params.values())).new_zeros(()) if params else torch.zeros(())
    return torch.stack(terms).sum() if terms else zero


def _check(where: str, strength: float, head_strength: float) -> None:
    for name, value in (("strength", strength), ("head_strength", head_strength)):
        check_number(where, name, value, "0.01 is usual, 0 switches it off", at_least=0)


@final
@dataclass(frozen=True)
class L2SP(Penalty):
    """Add the squared distance from θ₀ to the loss. See :func:`l2_sp`.

    Parameters without θ₀ are pulled towards 0: usually the head, and with LoRA also its factors. Under AdamW the
    gradient of the penalty passes through the moments; the pull of :class:`PriorDecay` does not.
    """

    example: ClassVar[str] = "L2SP(0.01, 0.01)"
    neutral: ClassVar[str] = "L2SP(0.0, 0.0)"
    needs_origin: ClassVar[bool] = True

    strength: float = 0.01
    head_strength: float = 0.01

    def __post_init__(self) -> None:
        _check("L2SP", self.strength, self.head_strength)

    @property
    def equation(self) -> str:
        return f"Ω = {self.strength / 2:g}·‖θ − θ₀‖² + {self.head_strength / 2:g}·‖θ_new‖²"

    @property
    def description(self) -> str:
        return f"pull the loaded parameters to θ₀ ({self.strength:g}) and new ones to 0 ({self.head_strength:g})"

    def cautions(self, recipe: Sequence[Rule]) -> list[str]:
        return ["AdamW's own weight decay still pulls all weights towards 0, away from θ₀."] if self.strength else []

    def penalty(self, params: Tensors, memory: Memory, now: Now) -> Tensor:
        return l2_sp(params, now.origin, self.strength, self.head_strength)
