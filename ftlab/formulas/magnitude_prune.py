"""Magnitude prune: set a growing share of the smallest weights to zero during training."""

from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import nn

from ftlab.errors import argument_error, check_choice, check_number
from ftlab.formulas.cubic_sparsity import check_ramp, cubic_sparsity
from ftlab.parameters import Pattern, Tensors, matrices, select, top_mask
from ftlab.rule import Memory, Now, Project

RENEWALS = 50
"""The largest number of new masks in a run: ranking ten million weights takes as long as a training step."""


def magnitude_prune(params: Tensors, sparsity: float, scope: str = "global") -> Tensors:
    r"""Set the entries of smallest absolute value to zero.

    .. math:: \theta_{new} = \theta\odot[\,|\theta| > \tau_s\,]

    ==============  ============  =================================================
    symbol          code          meaning
    ==============  ============  =================================================
    :math:`\theta`  ``params``    the parameters, by name
    :math:`s`       ``sparsity``  the share of entries that becomes zero
    :math:`\tau_s`                the absolute value that a share s does not exceed
    ==============  ============  =================================================

    Args:
        params: Tensors by name.
        sparsity: From 0 to 1. Of n entries, round(s·n) become zero; 0 changes nothing.
        scope: ``"global"``: one threshold for all tensors. ``"matrix"``: each tensor loses the same share.

    Returns:
        New tensors under the same names and of the same shapes, so neither memory nor time is saved. Of equal absolute
        values the earlier entries are pruned first; NaN is pruned last. The inputs are not modified.

    Raises:
        ArgumentError: If the sparsity is outside its range, or the scope is unknown.

    Source:
        Han et al. 2015, "Learning both Weights and Connections", arXiv 1506.02626. Departure: the paper sets a
        threshold; here the share is set, and the threshold follows from it.

    Example:
        >>> magnitude_prune({"w": torch.tensor([3.0, -1.0, 2.0, 0.5])}, 0.5)
        {'w': tensor([3., 0., 2., 0.])}
    """
    _check("magnitude_prune", sparsity, scope)
    masks = top_mask({name: param.abs() for name, param in params.items()}, sparsity, together=scope == "global")
    return {name: param.masked_fill(~masks[name], 0) for name, param in params.items()}


def _check(where: str, sparsity: Any, scope: Any) -> None:
    do = "0.5 is a first try, 0 switches it off"
    check_number(where, "sparsity", sparsity, do, at_least=0, at_most=1)
    check_choice(where, "scope", scope, ("global", "matrix"))


@final
@dataclass(frozen=True)
class MagnitudePrune(Project):
    """Prune weight matrices gradually during training. See :func:`magnitude_prune` and :func:`cubic_sparsity`.

    Only matrices inside the model's layers are pruned: no embeddings, gains, biases or head. Pruned entries stay zero.
    The saved model contains the zeros; it is neither smaller nor faster.
    """

    example: ClassVar[str] = "MagnitudePrune(0.5)"
    neutral: ClassVar[str] = "MagnitudePrune(0.0)"

    sparsity: float
    scope: str = "global"
    begin: float = 0.1
    end: float = 0.7
    pattern: Pattern = "*"

    def __post_init__(self) -> None:
        _check("MagnitudePrune", self.sparsity, self.scope)
        check_ramp("MagnitudePrune", self.begin, self.end)

    @property
    def equation(self) -> str:
        return f"θ ← θ⊙[|θ| > τ],  zeros: 0 → {self.sparsity:g}"

    @property
    def description(self) -> str:
        where = "of all chosen matrices together" if self.scope == "global" else "of each chosen matrix"
        when = f"from {self.begin:.0%} to {self.end:.0%} of the run"
        return f"set a growing share of the smallest entries {where} to zero {when}, up to {self.sparsity:.0%}"

    def start(self, model: nn.Module, batches: Any, loss: Any, now: Now) -> Memory:
        chosen = set(select(now.params, self.pattern))
        names = [name for name in matrices(model, layers=True) if name in chosen]
        if not names:
            do = "Embeddings, gains, biases and the head are not pruned; choose matrices, such as '*.dense.weight'"
            raise argument_error("MagnitudePrune", f"pattern {self.pattern!r}", "match a trainable matrix", "none", do)
        return {"names": names, "sparsity": 0.0, "masks": {}}

    def project(self, params: Tensors, memory: Memory, now: Now) -> tuple[Tensors, Memory]:
        sparsity = cubic_sparsity(now.step + 1, now.steps, self.sparsity, self.begin, self.end)
        if sparsity == 0:
            return {}, memory
        masks = memory["masks"]
        pruned = {name: params[name] for name in memory["names"]}
        if masks:
            pruned = {name: param.masked_fill(~masks[name], 0) for name, param in pruned.items()}
        grown = sparsity - memory["sparsity"]
        if grown >= self.sparsity / RENEWALS or (grown > 0 and sparsity == self.sparsity):
            sizes = {name: param.abs() for name, param in pruned.items()}
            sizes = {name: size.masked_fill(~masks[name], -1) if masks else size for name, size in sizes.items()}
            masks = top_mask(sizes, sparsity, together=self.scope == "global")
            pruned = {name: param.masked_fill(~masks[name], 0) for name, param in pruned.items()}
            memory = {**memory, "sparsity": sparsity, "masks": masks}
        return pruned, memory

    def finish(self, model: nn.Module, memory: Memory) -> nn.Module:
        params = dict(model.named_parameters())
        with torch.no_grad():
            for name, mask in memory["masks"].items():
                params[name].masked_fill_(~mask, 0)
        return model
