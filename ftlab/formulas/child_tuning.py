"""Child-Tuning: mask part of the gradient, at random in each step (F) or once by Fisher information (D)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import nn

from ftlab.errors import check_int, check_number
from ftlab.formulas.fisher_information import fisher_information
from ftlab.parameters import Pattern, Tensors, join_patterns, select, top_mask
from ftlab.rule import GradientRule, Memory, Now, Project, Rule


def child_tuning(grads: Tensors, share: float, generator: torch.Generator) -> Tensors:
    r"""Keep a random share of the gradient entries, and scale them so that the expected gradient is unchanged.

    .. math:: g \leftarrow \frac{M\odot g}{p}, \qquad M \sim \mathrm{Bernoulli}(p)

    =========  =========  =================================
    symbol     code       meaning
    =========  =========  =================================
    :math:`g`  ``grads``  the gradients, by name
    :math:`p`  ``share``  probability that an entry is kept
    :math:`M`             0 or 1, drawn for each entry
    =========  =========  =================================

    Args:
        grads: Tensors by name, any shapes.
        share: Greater than 0, at most 1; 1 changes nothing.
        generator: On the CPU. For gradients on a GPU it seeds a generator of that GPU, which draws other masks.

    Returns:
        New tensors under the same names. Dropped entries are 0. The inputs are not modified.

    Raises:
        ArgumentError: If ``share`` is outside its range.

    Source:
        Xu et al. 2021, "Raise a Child in Large Language Model", arXiv 2109.05687 (Child-Tuning-F). Departure: none.

    Example:
        With p = 1/2 the entries that are kept are doubled.

        >>> child_tuning({"w": torch.ones(4)}, 0.5, torch.Generator().manual_seed(1))
        {'w': tensor([0., 2., 2., 0.])}
    """
    _check("child_tuning", share)
    new, chance = {}, generator
    for name, grad in grads.items():
        if grad.is_cuda and chance.device != grad.device:
            seed = int(torch.randint(2**62, (), generator=generator))
            chance = torch.Generator(grad.device).manual_seed(seed)
        mask = torch.rand(grad.shape, generator=chance, device=chance.device) < share
        new[name] = grad * mask.to(grad.device) / share
    return new


def child_network(fisher: Tensors, share: float) -> Tensors:
    r"""Return masks of the entries with the largest Fisher information, the child network.

    .. math:: M_i = \left[F_i \text{ is among the largest } p\,d\right]

    =========  ==========  =============================================
    symbol     code        meaning
    =========  ==========  =============================================
    :math:`F`  ``fisher``  the Fisher information of each entry, by name
    :math:`p`  ``share``   the share of all d entries that is chosen
    :math:`M`              true for entries of the child network
    =========  ==========  =============================================

    Args:
        fisher: Tensors by name, at least 0, from
            :func:`~ftlab.formulas.fisher_information.fisher_information`. All of them are ranked together.
        share: Greater than 0, at most 1; 1 chooses everything.

    Returns:
        Boolean masks of the same names and shapes. Of equal entries the later ones are chosen, so the number is exact.

    Raises:
        ArgumentError: If ``share`` is outside its range.

    Source:
        Xu et al. 2021, "Raise a Child in Large Language Model", arXiv 2109.05687 (Child-Tuning-D). Departure:
        none. The authors' code squares the mean gradient of each batch instead, after clipping it.

    Example:
        >>> child_network({"a": torch.tensor([1.0, 9.0]), "b": torch.tensor([5.0, 0.0])}, 0.5)
        {'a': tensor([False,  True]), 'b': tensor([ True, False])}
    """
    _check("child_network", share)
    return top_mask(fisher, 1 - share)


def _check(where: str, share: float) -> None:
    check_number(where, "share", share, "0.3 is usual, 1 switches it off", above=0, at_most=1)


@final
@dataclass(frozen=True)
class ChildTuningF(GradientRule):
    """Keep a random share of the gradient, redrawn in each step. See :func:`child_tuning`.

    Only the gradient is masked: an entry that is dropped in a step still moves by Adam's first moment and by weight
    decay, as in the authors' code. Under plain gradient descent it does not move.
    """

    example: ClassVar[str] = "ChildTuningF(0.3)"
    neutral: ClassVar[str] = "ChildTuningF(1.0)"

    share: float = 0.3

    def __post_init__(self) -> None:
        _check("ChildTuningF", self.share)

    @property
    def equation(self) -> str:
        return f"g ← M⊙g/{self.share:g},  M ~ Bernoulli({self.share:g})"

    @property
    def description(self) -> str:
        return f"keep {self.share:.0%} of all gradient entries, drawn in each step, and divide them by {self.share:g}"

    def cautions(self, recipe: Sequence[Rule]) -> list[str]:
        caution = "ChildTuningF drops gradients only: AdamW's moments and weight decay still move the dropped entries."
        return [caution] if self.share < 1 else []

    def shape(self, grads: Tensors, memory: Memory, now: Now) -> tuple[Tensors, Memory]:
        return child_tuning(grads, self.share, now.generator), memory


@final
@dataclass(frozen=True)
class ChildTuningD(GradientRule, Project):
    """Train only the entries with the largest Fisher information, chosen once. See :func:`child_network`.

    The Fisher information is measured at the start, on the first ``samples`` training rows and their labels. Parameters
    without θ₀ (a new head) are always trained. Entries outside the child network stay the same bit for bit: the rule
    restores them after the update. In the authors' code AdamW's weight decay still pulls them towards 0, and only the
    layers are masked, while the embeddings are trained; for a BERT ``pattern="*.layer.*"`` does the same.

    Source:
        Xu et al. 2021, "Raise a Child in Large Language Model", arXiv 2109.05687 (Child-Tuning-D). Departure: the
        authors measure the Fisher information on the whole training split, with dropout.
    """

    freezes: ClassVar[bool] = True
    example: ClassVar[str] = "ChildTuningD(0.3)"
    neutral: ClassVar[str] = "ChildTuningD(1.0)"
    needs_origin: ClassVar[bool] = True

    share: float = 0.3
    samples: int = 128
    pattern: Pattern = "*"

    def __post_init__(self) -> None:
        _check("ChildTuningD", self.share)
        check_int("ChildTuningD", "samples", self.samples, "128 rows are usual", at_least=1)

    @property
    def equation(self) -> str:
        return f"g ← M⊙g,  θ[1−M] = θ₀,  M = [F is among its largest {self.share:.0%}]"

    @property
    def description(self) -> str:
        what = "all entries" if self.pattern == "*" else f"the entries of {join_patterns(self.pattern)}"
        rows = f"{self.samples} training rows"
        return f"train only the {self.share:.0%} of {what} with the largest Fisher information on {rows}"

    def start(self, model: nn.Module, batches: Any, loss: Any, now: Now) -> Memory:
        names = [name for name in select(now.params, self.pattern) if name in now.origin]
        if self.share == 1:
            return {"child": {}, "before": {}}
        fisher = fisher_information(model, batches, loss, names, self.samples)
        return {"child": child_network(fisher, self.share), "before": {}}

    def shape(self, grads: Tensors, memory: Memory, now: Now) -> tuple[Tensors, Memory]:
        child = memory["child"]
        before = {name: now.params[name].clone() for name in child if name in grads}
        new = {name: grad * child[name] if name in child else grad for name, grad in grads.items()}
        return new, {"child": child, "before": before}

    def project(self, params: Tensors, memory: Memory, now: Now) -> tuple[Tensors, Memory]:
        child = memory["child"]
        kept = {name: torch.where(child[name], params[name], old) for name, old in memory["before"].items()}
        return kept, {"child": child, "before": {}}
