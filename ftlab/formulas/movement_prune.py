"""Movement prune: set the weights that training moves towards zero to zero, whatever their size is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import nn

from ftlab.errors import argument_error, check_choice, check_number
from ftlab.formulas.cubic_sparsity import check_ramp, cubic_sparsity
from ftlab.parameters import Pattern, Tensors, matrices, select, top_mask
from ftlab.rule import Memory, Now, Project, Rule

RENEWALS = 100
"""The largest number of new masks in a run: ranking ten million scores takes as long as a training step."""


def movement_scores(scores: Tensors, params: Tensors, grads: Tensors, lr: float = 1.0) -> Tensors:
    r"""Accumulate how far each weight is pushed away from zero.

    .. math:: S_{t+1} = S_t - \alpha_S\,\frac{\partial J}{\partial W'}\odot W

    ==============================  ==========  ===========================================
    symbol                          code        meaning
    ==============================  ==========  ===========================================
    :math:`S`                       ``scores``  the scores so far, 0 at first
    :math:`W`                       ``params``  the dense weights, including pruned entries
    :math:`\partial J/\partial W'`  ``grads``   the gradient at the pruned weights W'
    :math:`\alpha_S`                ``lr``      the scores' learning rate
    ==============================  ==========  ===========================================

    A step against the gradient moves a weight away from zero if the gradient has the opposite sign, and this raises its
    score.

    Args:
        scores: Tensors by name.
        params: Tensors by name, before the update.
        grads: Tensors by name. The scores of a name without a gradient are unchanged.
        lr: Greater than 0. A constant rate does not change the ranking.

    Returns:
        New scores under the names of ``scores``. The inputs are not modified.

    Raises:
        ArgumentError: If ``lr`` is not greater than 0.

    Source:
        Sanh, Wolf and Rush 2020, "Movement Pruning", arXiv 2005.07683. Departure: none.

    Example:
        With a negative gradient both weights increase: the first moves away from 0, the second towards it.

        >>> movement_scores({"w": torch.zeros(2)}, {"w": torch.tensor([2.0, -1.0])}, {"w": torch.tensor([-1.0, -1.0])})
        {'w': tensor([ 2., -1.])}
    """
    check_number("movement_scores", "lr", lr, "1.0 is usual; a constant rate does not change the ranking", above=0)
    return {
        name: torch.addcmul(score, grads[name], params[name], value=-lr) if name in grads else score.clone()
        for name, score in scores.items()
    }


def movement_prune(params: Tensors, scores: Tensors, sparsity: float, scope: str = "matrix") -> Tensors:
    r"""Set the entries with the lowest scores to zero.

    .. math:: W' = W\odot\mathrm{Top}_v(S), \qquad v = 1 - s

    =========  ============  =======================================
    symbol     code          meaning
    =========  ============  =======================================
    :math:`W`  ``params``    the dense weights, by name
    :math:`S`  ``scores``    the scores from :func:`movement_scores`
    :math:`s`  ``sparsity``  the share of entries that becomes zero
    =========  ============  =======================================

    Args:
        params: Tensors by name.
        scores: Tensors by name, each of its parameter's shape.
        sparsity: From 0 to 1. Of n entries, round(s·n) become zero; 0 changes nothing.
        scope: ``"matrix"``: each tensor loses the same share. ``"global"``: one threshold for all.

    Returns:
        New tensors under the same names. Of equal scores the earlier entries are pruned first. The inputs are not
        modified.

    Raises:
        ArgumentError: If the sparsity is outside its range, or the scope is unknown.

    Source:
        Sanh, Wolf and Rush 2020, "Movement Pruning", arXiv 2005.07683.
        Departure: n - round(s·n) entries are kept, not ⌊v·n⌋.

    Example:
        >>> movement_prune({"w": torch.tensor([9.0, 1.0])}, {"w": torch.tensor([-0.1, 0.1])}, 0.5)
        {'w': tensor([0., 1.])}
    """
    _check("movement_prune", sparsity, scope)
    masks = top_mask({name: scores[name] for name in params}, sparsity, together=scope == "global")
    return {name: param.masked_fill(~masks[name], 0) for name, param in params.items()}


def _check(where: str, sparsity: Any, scope: Any) -> None:
    do = "0.5 is a first try, 0 switches it off"
    check_number(where, "sparsity", sparsity, do, at_least=0, at_most=1)
    check_choice(where, "scope", scope, ("matrix", "global"))


@final
@dataclass(frozen=True)
class MovementPrune(Project):
    """Prune weight matrices gradually by their movement. See :func:`movement_scores` and :func:`movement_prune`.

    The model computes with the pruned weights. The rule keeps the dense weights and applies every update of the
    optimizer to them (a straight-through estimator), so a pruned weight can come back. Departures from the paper: the
    gradient is the one that the optimizer saw, after clipping; decoupled weight decay does not act on a pruned weight;
    the sparsity follows :func:`cubic_sparsity`; masks are renewed at most a hundred times in a run. Only matrices
    inside the model's layers are pruned. The saved model contains the zeros; it is neither smaller nor faster.
    """

    example: ClassVar[str] = "MovementPrune(0.5)"
    neutral: ClassVar[str] = "MovementPrune(0.0)"

    sparsity: float
    scope: str = "matrix"
    begin: float = 0.1
    end: float = 0.7
    pattern: Pattern = "*"

    def __post_init__(self) -> None:
        _check("MovementPrune", self.sparsity, self.scope)
        check_ramp("MovementPrune", self.begin, self.end)

    @property
    def equation(self) -> str:
        return f"S ← S − ∇J⊙W,  θ ← W⊙Top(S),  zeros: 0 → {self.sparsity:g}"

    @property
    def description(self) -> str:
        where = "of each chosen matrix" if self.scope == "matrix" else "of all chosen matrices together"
        when = f"from {self.begin:.0%} to {self.end:.0%} of the run"
        what = f"set a growing share of the entries {where} to zero, those that training moves towards zero"
        return f"{what}, {when}, up to {self.sparsity:.0%}"

    def cautions(self, recipe: Sequence[Rule]) -> list[str]:
        later = list(recipe)[list(recipe).index(self) + 1 :] if self in recipe else []
        names = [type(rule).__name__ for rule in later if isinstance(rule, Project)]
        if not names or not self.sparsity:
            return []
        return [f"MovementPrune counts a change by {', '.join(names)} as a part of the next update; list it last."]

    def start(self, model: nn.Module, batches: Any, loss: Any, now: Now) -> Memory:
        chosen = set(select(now.params, self.pattern))
        names = [name for name in matrices(model, layers=True) if name in chosen]
        if not names:
            do = "Embeddings, gains, biases and the head are not pruned; choose matrices, such as '*.dense.weight'"
            raise argument_error("MovementPrune", f"pattern {self.pattern!r}", "match a trainable matrix", "none", do)
        if self.sparsity == 0:
            return None
        dense = {name: now.params[name].clone() for name in names}
        scores = {name: torch.zeros_like(param) for name, param in dense.items()}
        return {"dense": dense, "scores": scores, "masks": {}}

    def project(self, params: Tensors, memory: Memory, now: Now) -> tuple[Tensors, Memory]:
        if memory is None:
            return {}, memory
        scores, masks = movement_scores(memory["scores"], memory["dense"], now.grads), memory["masks"]
        dense = {name: _straight_through(old, params[name], masks.get(name)) for name, old in memory["dense"].items()}
        updates = now.step + 1
        sparsity = cubic_sparsity(updates, now.steps, self.sparsity, self.begin, self.end)
        if sparsity > 0 and (updates % math.ceil(now.steps / RENEWALS) == 0 or updates == now.steps):
            masks = top_mask(scores, sparsity, together=self.scope == "global")
        memory = {"dense": dense, "scores": scores, "masks": masks}
        return {name: dense[name].masked_fill(~mask, 0) for name, mask in masks.items()}, memory

    def finish(self, model: nn.Module, memory: Memory) -> nn.Module:
        params = dict(model.named_parameters())
        with torch.no_grad():
            for name, mask in (memory or {"masks": {}})["masks"].items():
                params[name].masked_fill_(~mask, 0)
        return model


def _straight_through(old: torch.Tensor, new: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Return the dense weights after an update: a pruned entry was 0, so its new value is its update."""
    return new.clone() if mask is None else torch.where(mask, new, old + new)
