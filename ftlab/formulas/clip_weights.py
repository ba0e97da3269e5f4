"""Clip weights: every entry stays within a bound, of zero or of the pretrained weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch  # noqa: F401  (for the examples)
from torch import nn

from ftlab.errors import argument_error, check_choice, check_number
from ftlab.parameters import Pattern, Tensors, join_patterns, select
from ftlab.rule import Memory, Now, Project, Rule


def clip_weights(params: Tensors, bound: float, origin: Tensors | None = None) -> Tensors:
    r"""Put every entry that went too far back to the nearest value that is allowed.

    .. math:: \theta \leftarrow \mathrm{clamp}(\theta, -c, c) \qquad\text{or}\qquad
              \theta \leftarrow \theta_0 + \mathrm{clamp}(\theta - \theta_0, -c, c)

    ==================  ============  ==================================================
    symbol              code          meaning
    ==================  ============  ==================================================
    :math:`\theta`      ``params``    the parameters, by name
    :math:`\theta_0`    ``origin``    the same parameters as they were loaded
    :math:`c`           ``bound``     the longest way from zero, or from the origin
    ==================  ============  ==================================================

    The first form is taken without ``origin``, the second with it. The second is a trust region: a cube around the
    pretrained weights that the training cannot leave.

    Args:
        params: Tensors by name.
        bound: Greater than 0, in the parameters' unit; ``math.inf`` changes nothing.
        origin: Tensors by name, each of its parameter's shape. A name that is not in it, such as a new head, is free.

    Returns:
        New tensors under the same names. An entry within the bound stays bit for bit.

    Raises:
        ArgumentError: If ``bound`` is not greater than 0, or a shape in ``origin`` is another one.

    Source:
        Elsayed et al. 2024, "Weight Clipping for Deep Continual and Reinforcement Learning", arXiv 2407.01704.
        Departure: one bound for all layers, where theirs follows the spread that a layer was drawn with; the form with
        an origin is the projection on a cube, computed as a clamp between θ₀ - c and θ₀ + c.

    Example:
        >>> clip_weights({"w": torch.tensor([0.25, -3.0])}, 1.0)
        {'w': tensor([ 0.2500, -1.0000])}
        >>> clip_weights({"w": torch.tensor([2.5, -3.0])}, 1.0, {"w": torch.tensor([2.0, 2.0])})
        {'w': tensor([2.5000, 1.0000])}
    """
    _check("clip_weights", bound)
    if origin is None:
        return {name: param.clamp(-bound, bound) for name, param in params.items()}
    new = {}
    for name, param in params.items():
        if name not in origin:
            new[name] = param.clone()
            continue
        if origin[name].shape != param.shape:
            got = f"{tuple(origin[name].shape)} beside {tuple(param.shape)}"
            do = "Give the parameters as they were loaded"
            raise argument_error("clip_weights", f"origin of {name}", "have its parameter's shape", got, do)
        new[name] = param.clamp(origin[name] - bound, origin[name] + bound)
    return new


def _check(where: str, bound: float) -> None:
    check_number(where, "bound", bound, "0.001 is a first try, inf switches it off", above=0, finite=False)


@final
@dataclass(frozen=True)
class ClipWeights(Project):
    """Weight clipping after each update, around the pretrained weights or around zero. See :func:`clip_weights`.

    Around ``"origin"`` every parameter that was loaded is kept near; a new head is free. Around ``"zero"`` only
    parameters of two dimensions or more are clipped: biases, and the gains of normalising modules, which lie near 1
    and would be cut down to the bound, stay as they are.
    """

    example: ClassVar[str] = "ClipWeights(0.001)"
    neutral: ClassVar[str] = "ClipWeights(inf)"
    needs_origin: ClassVar[bool] = True

    bound: float
    around: str = "origin"
    pattern: Pattern = "*"

    def __post_init__(self) -> None:
        _check("ClipWeights", self.bound)
        check_choice("ClipWeights", "around", self.around, ("origin", "zero"))

    @property
    def equation(self) -> str:
        if self.around == "zero":
            return f"θ ← clamp(θ, ±{self.bound:g})"
        return f"θ ← θ₀ + clamp(θ − θ₀, ±{self.bound:g})"

    @property
    def description(self) -> str:
        if self.around == "zero":
            what = (
                "every weight of two dimensions or more"
                if self.pattern == "*"
                else f"the weights {join_patterns(self.pattern)}"
            )
            return f"keep every entry of {what} within {self.bound:g} of zero"
        what = (
            "every loaded parameter" if self.pattern == "*" else f"the loaded parameters {join_patterns(self.pattern)}"
        )
        return f"keep every entry of {what} within {self.bound:g} of the value that was loaded"

    def cautions(self, recipe: Sequence[Rule]) -> list[str]:
        found = []
        if self.around == "zero":
            found.append("Around zero the first update cuts pretrained weights beyond the bound; 'origin' cuts none.")
        index = max((index for index, rule in enumerate(recipe) if rule == self), default=len(recipe))
        later = [type(rule).__name__ for rule in recipe[index + 1 :] if isinstance(rule, Project)]
        if later:
            found.append(f"{' and '.join(later)} acts after ClipWeights, so weights may leave the bound again.")
        return found

    def start(self, model: nn.Module, batches: Any, loss: Any, now: Now) -> Memory:
        """Remember the names of the parameters to clip."""
        found = select(now.params, self.pattern)
        chosen = [name for name in found if self._may(name, now)]
        if not chosen:
            what = "one of two dimensions" if self.around == "zero" else "one that was loaded"
            do = "Biases, gains and new heads are left alone"
            raise argument_error(
                "ClipWeights", f"pattern {self.pattern!r}", f"match {what}", f"only {', '.join(found)}", do
            )
        return chosen

    def _may(self, name: str, now: Now) -> bool:
        return now.params[name].ndim > 1 if self.around == "zero" else name in now.origin

    def project(self, params: Tensors, memory: Memory, now: Now) -> tuple[Tensors, Memory]:
        chosen = {name: params[name] for name in memory}
        return clip_weights(chosen, self.bound, now.origin if self.around == "origin" else None), memory
