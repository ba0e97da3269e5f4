"""Clip weights: keep every entry within a distance of zero or of the pretrained weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch  # noqa: F401  (for the examples)
from torch import nn

from ftlab.errors import argument_error, check_choice, check_number
from ftlab.parameters import Pattern, Tensors, join_patterns, select
from ftlab.rule import Memory, Now, Project, Rule


def clip_weights(params: Tensors, bound: float, origin: Tensors | None = None) -> Tensors:
    r"""Clip every entry to a distance from zero or from its loaded value.

    .. math:: \theta \leftarrow \mathrm{clamp}(\theta, -c, c) \qquad\text{or}\qquad
              \theta \leftarrow \theta_0 + \mathrm{clamp}(\theta - \theta_0, -c, c)

    ================  ==========  =================================================
    symbol            code        meaning
    ================  ==========  =================================================
    :math:`\theta`    ``params``  the parameters, by name
    :math:`\theta_0`  ``origin``  the parameters as loaded, by name
    :math:`c`         ``bound``   the largest distance from zero or from the origin
    ================  ==========  =================================================

    The first form is used without ``origin``, the second with it. The second is a trust region: a cube around the
    pretrained weights that training cannot leave.

    Args:
        params: Tensors by name.
        bound: Greater than 0, in the parameters' unit; ``math.inf`` changes nothing.
        origin: Tensors by name, each of its parameter's shape. A name that is not in it, such as a new head, is not
            clipped.

    Returns:
        New tensors under the same names. An entry within the bound is unchanged bit for bit.

    Raises:
        ArgumentError: If ``bound`` is not greater than 0, or a shape in ``origin`` differs.

    Source:
        Elsayed et al. 2024, "Weight Clipping for Deep Continual and Reinforcement Learning", arXiv 2407.01704.
        Departure: one bound for all layers; theirs is proportional to the scale of a layer's initialisation. The form
        with an origin is the projection onto a cube, computed as a clamp between θ₀ - c and θ₀ + c.

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
            do = "Give the parameters as loaded"
            raise argument_error("clip_weights", f"origin of {name}", "have its parameter's shape", got, do)
        new[name] = param.clamp(origin[name] - bound, origin[name] + bound)
    return new


def _check(where: str, bound: float) -> None:
    check_number(where, "bound", bound, "0.001 is a first try, inf switches it off", above=0, finite=False)


@final
@dataclass(frozen=True)
class ClipWeights(Project):
    """Clip the weights after each update, around the loaded weights or around zero. See :func:`clip_weights`.

    Around ``"origin"`` every loaded parameter is clipped; a new head is not. Around ``"zero"`` only parameters of two
    dimensions or more are clipped, and neither biases nor the gains of normalisation layers, which are near 1 and would
    be cut to the bound.
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
        return f"keep every entry of {what} within {self.bound:g} of its loaded value"

    def cautions(self, recipe: Sequence[Rule]) -> list[str]:
        sentences = []
        if self.around == "zero":
            sentences.append(
                "Around zero, the first update clips the pretrained weights that exceed the bound; 'origin' clips none."
            )
        index = max((index for index, rule in enumerate(recipe) if rule == self), default=len(recipe))
        later = [type(rule).__name__ for rule in recipe[index + 1 :] if isinstance(rule, Project)]
        if later:
            sentences.append(f"{' and '.join(later)} acts after ClipWeights, so weights may exceed the bound again.")
        return sentences

    def start(self, model: nn.Module, batches: Any, loss: Any, now: Now) -> Memory:
        """Remember the names of the parameters to clip."""
        matching = select(now.params, self.pattern)
        chosen = [name for name in matching if self._clips(name, now)]
        if not chosen:
            what = "a parameter of two dimensions" if self.around == "zero" else "a loaded parameter"
            do = "Biases, gains and new heads are not clipped"
            raise argument_error(
                "ClipWeights", f"pattern {self.pattern!r}", f"match {what}", f"only {', '.join(matching)}", do
            )
        return chosen

    def _clips(self, name: str, now: Now) -> bool:
        return now.params[name].ndim > 1 if self.around == "zero" else name in now.origin

    def project(self, params: Tensors, memory: Memory, now: Now) -> tuple[Tensors, Memory]:
        chosen = {name: params[name] for name in memory}
        return clip_weights(chosen, self.bound, now.origin if self.around == "origin" else None), memory
