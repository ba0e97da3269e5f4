"""EWC: a penalty on the distance from the pretrained weights, weighted by their Fisher information."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from ftlab.errors import check_int, check_number
from ftlab.formulas.fisher_information import fisher_information
from ftlab.parameters import Tensors
from ftlab.rule import Memory, Now, Penalty, Rule


def ewc(params: Tensors, origin: Tensors, fisher: Tensors, strength: float) -> Tensor:
    r"""Return the squared distance from the pretrained parameters, each entry weighted by its importance.

    .. math:: \Omega(\theta) = \frac{\lambda}{2}\sum_i F_i\,(\theta_i - \theta_{0,i})^2

    ================  ============  =====================================
    symbol            code          meaning
    ================  ============  =====================================
    :math:`\theta`    ``params``    the parameters, by name
    :math:`\theta_0`  ``origin``    the pretrained parameters, by name
    :math:`F`         ``fisher``    the importance of each entry, by name
    :math:`\lambda`   ``strength``  the strength of the penalty
    ================  ============  =====================================

    Args:
        params: Tensors by name.
        origin: Tensors by name. A parameter that is not in it is not penalised.
        fisher: Tensors by name, at least 0, for every name that is both in ``params`` and in ``origin``, such as
            those of :func:`~ftlab.formulas.fisher_information.fisher_information`.
        strength: At least 0. With 0 the result has no gradient.

    Returns:
        A scalar, at least 0.

    Raises:
        ArgumentError: If ``strength`` is not a number of at least 0.

    Source:
        Kirkpatrick et al. 2017, "Overcoming catastrophic forgetting", arXiv 1612.00796. Departure: none here.
        :class:`EWC` measures the importance on the data of the new task, because the pretraining data are not
        available.

    Example:
        >>> origin = {"w": torch.tensor([1.0, 1.0])}
        >>> ewc({"w": torch.tensor([3.0, 2.0])}, origin, {"w": torch.tensor([0.5, 4.0])}, 2.0)  # 0.5·2² + 4·1²
        tensor(6.)
    """
    check_number("ewc", "strength", strength, "1 is a first try, 0 switches it off", at_least=0)
    penalised = [name for name in params if name in origin and strength]
    terms = [(fisher[name] * (params[name] - origin[name]).square()).sum() for name in penalised]
    zero = next(iter(params.values())).new_zeros(()) if params else torch.zeros(())
    return strength / 2 * (torch.stack(terms).sum() if terms else zero)


@final
@dataclass(frozen=True)
class EWC(Penalty):
    """Elastic weight consolidation around θ₀. See :func:`ewc`.

    The importance is the empirical Fisher information at the start, over the first ``samples`` training rows.
    """

    example: ClassVar[str] = "EWC(1.0, samples=16)"
    neutral: ClassVar[str] = "EWC(0.0)"
    needs_origin: ClassVar[bool] = True

    strength: float = 1.0
    samples: int = 128

    def __post_init__(self) -> None:
        check_number("EWC", "strength", self.strength, "1 is a first try, 0 switches it off", at_least=0)
        check_int("EWC", "samples", self.samples, "128 is usual", at_least=1)

    @property
    def equation(self) -> str:
        return f"Ω = {self.strength / 2:g}·Σ F·(θ − θ₀)²"

    @property
    def description(self) -> str:
        return (
            f"pull each loaded entry to θ₀ by {self.strength:g} times its Fisher information on {self.samples} samples"
        )

    def cautions(self, recipe: Sequence[Rule]) -> list[str]:
        return ["EWC measures the Fisher information on the new task: the pretraining data are not available."]

    def start(self, model: nn.Module, batches: Any, loss: Any, now: Now) -> Memory:
        if not self.strength:
            return None
        names = [name for name in now.params if name in now.origin]
        return fisher_information(model, batches, loss, names, self.samples)

    def penalty(self, params: Tensors, memory: Memory, now: Now) -> Tensor:
        return ewc(params, now.origin, memory or {}, self.strength)
