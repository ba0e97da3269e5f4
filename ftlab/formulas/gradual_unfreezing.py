"""Gradual unfreezing: train the head first, then one more layer in every epoch, from the top down."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch  # noqa: F401  (for the examples)
from torch import nn

from ftlab.errors import argument_error, check_int, check_number, note
from ftlab.parameters import Tensors, depths as depths_of
from ftlab.rule import GradientRule, Memory, Now, Project, Rule


def gradual_unfreezing(grads: Tensors, depths: Mapping[str, int], groups: int) -> Tensors:
    r"""Keep the gradients of the upper groups of layers, and drop those of the groups below.

    .. math:: g_i \leftarrow \begin{cases} g_i & k_i > D - n \\ \text{none} & \text{else} \end{cases}

    ===========  ==========  ====================================================
    symbol       code        meaning
    ===========  ==========  ====================================================
    :math:`g`    ``grads``   the gradients, by name
    :math:`k_i`  ``depths``  the depth of each parameter above the input, by name
    :math:`D`                the greatest depth, that of the head
    :math:`n`    ``groups``  the number of groups to train, from the top
    ===========  ==========  ====================================================

    A model of L layers has L + 2 groups: everything above the layers, each layer, and the embeddings.

    Args:
        grads: Tensors by name.
        depths: Whole numbers by name, from :func:`ftlab.parameters.depths`. Names without a gradient count for the
            greatest depth too.
        groups: A whole number of at least 0; from D + 1 on everything is trained.

    Returns:
        The gradients of the groups that are trained, unchanged. A name that is left out is not updated at all.

    Raises:
        ArgumentError: If ``groups`` is not a whole number of at least 0, or a name has no depth.

    Source:
        Howard and Ruder 2018, "ULMFiT", arXiv 1801.06146 (gradual unfreezing). Departure: none. In a
        transformer the embeddings are one group, and everything above the layers is one.

    Example:
        >>> grads = {"words": torch.ones(1), "layer": torch.ones(1), "head": torch.ones(1)}
        >>> [list(gradual_unfreezing(grads, {"words": 0, "layer": 1, "head": 2}, groups)) for groups in (1, 2, 3)]
        [['head'], ['layer', 'head'], ['words', 'layer', 'head']]
    """
    check_int("gradual_unfreezing", "groups", groups, "1 trains only the head")
    missing = [name for name in grads if name not in depths]
    if missing:
        do = "Take them from ftlab.parameters.depths(model)"
        raise argument_error("gradual_unfreezing", "depths", "hold every name of grads", f"none of {missing[0]}", do)
    bottom = max(depths.values(), default=0) - groups
    return {name: grad for name, grad in grads.items() if depths[name] > bottom}


@final
@dataclass(frozen=True)
class GradualUnfreezing(GradientRule):
    """Unfreeze one more group of layers after a number of epochs, from the top down. See :func:`gradual_unfreezing`.

    ULMFiT unfreezes one group per epoch, the default. Its other two parts are rules of their own:
    :class:`~ftlab.formulas.layerwise_decay.LayerwiseDecay` and
    :class:`~ftlab.formulas.slanted_triangular.SlantedTriangular`.
    """

    freezes: ClassVar[bool] = True
    example: ClassVar[str] = "GradualUnfreezing(0.5)"
    neutral: ClassVar[str] = "GradualUnfreezing(0.0)"

    epochs_per_layer: float = 1.0

    def __post_init__(self) -> None:
        do = "1 is ULMFiT's, 0 trains everything from the start"
        check_number("GradualUnfreezing", "epochs_per_layer", self.epochs_per_layer, do, at_least=0)

    @property
    def equation(self) -> str:
        if not self.epochs_per_layer:
            return "g ← g"
        return f"g_k ← none while k ≤ D − 1 − ⌊epochs/{self.epochs_per_layer:g}⌋"

    @property
    def description(self) -> str:
        if not self.epochs_per_layer:
            return "train everything from the start"
        every = "epoch" if self.epochs_per_layer == 1 else f"{self.epochs_per_layer:g} epochs"
        return f"train everything above the layers, and unfreeze the next layer below after every {every}"

    def cautions(self, recipe: Sequence[Rule]) -> list[str]:
        moving = [type(rule).__name__ for rule in recipe if isinstance(rule, Project) and not rule.needs_origin]
        if not moving or not self.epochs_per_layer:
            return []
        return [f"{' and '.join(moving)} may move layers that GradualUnfreezing still freezes."]

    def start(self, model: nn.Module, batches: Any, loss: Any, now: Now) -> Memory:
        """Remember the depth of every parameter; mention it if the run ends before the last group is unfrozen."""
        depths = depths_of(model)
        top = max(depths.values(), default=0)
        lowest = min((depths[name] for name in now.params), default=top)
        reached = self._groups(now.steps - 1, now, top)
        if reached < top - lowest + 1:
            note("GradualUnfreezing", f"the run is too short: it will train {reached} of {top - lowest + 1} groups.")
        return depths

    def shape(self, grads: Tensors, memory: Memory, now: Now) -> tuple[Tensors, Memory]:
        top = max(memory.values(), default=0)
        return gradual_unfreezing(grads, memory, self._groups(now.step, now, top)), memory

    def _groups(self, step: int, now: Now, top: int) -> int:
        """Return the number of groups to train at a step; each has at least one update before the next one joins."""
        if not self.epochs_per_layer:
            return top + 1
        return min(top + 1, 1 + max(0, step) // max(1, round(self.epochs_per_layer * now.steps_per_epoch)))
