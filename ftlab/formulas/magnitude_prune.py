"""Magnitude prune: the smallest weights become zero and stay zero, more and more of them during the training."""

from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import nn

from ftlab.errors import argument_error, check_choice, check_int, check_number
from ftlab.parameters import Pattern, Tensors, matrices, select, top_mask
from ftlab.rule import Memory, Now, Project

RENEWALS = 50
"""A threshold over ten million weights costs as much as a step: so many of them are found on the way, at most."""


def magnitude_prune(params: Tensors, sparsity: float, scope: str = "global") -> Tensors:
    r"""Set the smallest entries to zero.

    .. math:: \theta_{new} = \theta\odot[\,|\theta| > \tau_s\,]

    =================  =============  =====================================================
    symbol             code           meaning
    =================  =============  =====================================================
    :math:`\theta`     ``params``     the parameters, by name
    :math:`s`          ``sparsity``   the share of entries that becomes zero
    :math:`\tau_s`                    the size that a share s of the entries does not exceed
    =================  =============  =====================================================

    Args:
        params: Tensors by name.
        sparsity: From 0 to 1. Of n entries, round(s·n) become zero; 0 changes nothing.
        scope: ``"global"``: one threshold for all tensors; ``"matrix"``: each tensor loses the same share.

    Returns:
        New tensors under the same names, as large as before: zeros take as much room and time as any other number.
        Among equal sizes the earlier entries go first; NaN goes last. What came in is not changed.

    Raises:
        ArgumentError: If the sparsity is outside its range, or the scope is unknown.

    Source:
        Han et al. 2015, "Learning both Weights and Connections", arXiv 1506.02626. Departure: the paper gives a threshold;
        here the share is given, and the threshold found by counting.

    Example:
        >>> magnitude_prune({"w": torch.tensor([3.0, -1.0, 2.0, 0.5])}, 0.5)
        {'w': tensor([3., 0., 2., 0.])}
    """
    _check("magnitude_prune", sparsity, scope)
    masks = top_mask({name: param.abs() for name, param in params.items()}, sparsity, together=scope == "global")
    return {name: param.masked_fill(~masks[name], 0) for name, param in params.items()}


def cubic_sparsity(step: int, steps: int, final: float, begin: float, end: float) -> float:
    r"""Say how much is to be zero after so many updates: much soon, then less and less more.

    .. math:: s_t = s_f\left(1 - \left(1 - \frac{t - t_0}{t_1 - t_0}\right)^3\right), \qquad t_0 \le t \le t_1

    =================  ===========  ==============================================
    symbol             code         meaning
    =================  ===========  ==============================================
    :math:`t`          ``step``     updates made
    :math:`s_f`        ``final``    the sparsity at the end
    :math:`t_0`        ``begin``    where it begins, as a share of all updates
    :math:`t_1`        ``end``      where it is reached, as a share of all updates
    =================  ===========  ==============================================

    Args:
        step: At least 0.
        steps: Updates of the whole run, at least 1.
        final: From 0 to 1.
        begin: From 0 to 1; before it the sparsity is 0.
        end: At least ``begin`` and at most 1; from it on the sparsity is the final one.

    Returns:
        The sparsity, from 0 to ``final``; it never falls.

    Raises:
        ArgumentError: If a number is outside its range.

    Source:
        Zhu and Gupta 2017, "To prune, or not to prune", arXiv 1710.01878.
        Departure: the initial sparsity is 0.

    Example:
        >>> [cubic_sparsity(step, 10, 0.5, 0.0, 1.0) for step in (0, 5, 10)]
        [0.0, 0.4375, 0.5]
    """
    check_int("cubic_sparsity", "step", step, "Count the updates from 0")
    check_int("cubic_sparsity", "steps", steps, "Give the updates of the whole run", at_least=1)
    check_number("cubic_sparsity", "final", final, "0.5 is a first try", at_least=0, at_most=1)
    _check_ramp("cubic_sparsity", begin, end)
    if step >= end * steps:
        return final
    if step <= begin * steps:
        return 0.0
    progress = (step - begin * steps) / ((end - begin) * steps)
    return final * (1 - (1 - progress) ** 3)


def _check(where: str, sparsity: Any, scope: Any) -> None:
    do = "0.5 is a first try, 0 switches it off"
    check_number(where, "sparsity", sparsity, do, at_least=0, at_most=1)
    check_choice(where, "scope", scope, ("global", "matrix"))


def _check_ramp(where: str, begin: Any, end: Any) -> None:
    check_number(where, "begin", begin, "0.1 is a first try", at_least=0, at_most=1)
    check_number(where, "end", end, "0.7 leaves time to recover", at_least=begin, at_most=1)


@final
@dataclass(frozen=True)
class MagnitudePrune(Project):
    """Prune weight matrices step by step during the training. See :func:`magnitude_prune`, :func:`cubic_sparsity`.

    Chosen are the matrices inside the model's layers: neither embeddings, gains, biases, nor the head. What is pruned
    stays pruned, so the saved model holds these zeros. Its files are no smaller and it is no faster for them.
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
        _check_ramp("MagnitudePrune", self.begin, self.end)

    @property
    def equation(self) -> str:
        return f"θ ← θ⊙[|θ| > τ],  zeros: 0 → {self.sparsity:g}"

    @property
    def description(self) -> str:
        where = "of all chosen matrices together" if self.scope == "global" else "of each chosen matrix"
        when = f"from {self.begin:.0%} to {self.end:.0%} of the run"
        return f"set the smallest entries {where} to zero, more and more {when}, up to {self.sparsity:.0%}"

    def start(self, model: nn.Module, batches: Any, loss: Any, now: Now) -> Memory:
        chosen = set(select(now.params, self.pattern))
        names = [name for name in matrices(model, layers=True) if name in chosen]
        if not names:
            do = "Embeddings, gains, biases and the head are left alone; choose matrices, such as '*.dense.weight'"
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
