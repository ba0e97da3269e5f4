"""Remove layers from a transformer."""

from dataclasses import dataclass
from typing import Any, ClassVar, final

from torch import nn

from ftlab.errors import argument_error, check_choice, check_int, note
from ftlab.formulas._architectures import LAYERS_DIFFER
from ftlab.parameters import layer_stack
from ftlab.rule import Now, Prepare

WHICH = {"top": "the lowest", "bottom": "the highest", "even": "evenly spaced"}
"""The layers that are kept, by what is dropped."""


def layers_to_keep(layers: int, keep: int, drop: str = "top") -> list[int]:
    r"""Choose the layers to keep: the lowest, the highest, or evenly spaced ones.

    .. math:: K = \{0,\dots,k-1\},\quad \{n-k,\dots,n-1\},\quad\text{or}\quad
              \{\mathrm{round}(i\,\tfrac{n-1}{k-1})\}_{i=0}^{k-1}

    =============  ============  ====================================
    symbol         code          meaning
    =============  ============  ====================================
    :math:`n`      ``layers``    the number of layers
    :math:`k`      ``keep``      the number to keep
    :math:`K`                    the indices to keep, from 0
    =============  ============  ====================================

    Args:
        layers: At least 1.
        keep: At least 1; ``layers`` or more keeps all.
        drop: Which layers are dropped: ``"top"``, ``"bottom"``, or ``"even"``, which keeps the first and the last, and
            with ``keep`` = 1 the first.

    Returns:
        The indices to keep, in ascending order.

    Raises:
        ArgumentError: If a number is outside its range, or ``drop`` is unknown.

    Source:
        Sajjad et al. 2020, "On the Effect of Dropping Layers of Pre-trained Transformer Models", arXiv 2004.03844.
        Departure: the spacing of ``"even"`` is that of DistilBERT, 0, 2, 4, 7, 9, 11 of 12.

    Example:
        >>> layers_to_keep(6, 4)
        [0, 1, 2, 3]
        >>> layers_to_keep(12, 6, "even")
        [0, 2, 4, 7, 9, 11]
    """
    check_int("layers_to_keep", "layers", layers, "Give the number of layers", at_least=1)
    _check("layers_to_keep", keep, drop)
    if keep >= layers:
        return list(range(layers))
    if drop == "even" and keep > 1:
        return [round(index * (layers - 1) / (keep - 1)) for index in range(keep)]
    return list(range(layers - keep, layers) if drop == "bottom" else range(keep))


def _check(where: str, keep: Any, drop: Any) -> None:
    check_int(where, "keep", keep, "4 of 6 is a first try, as many as there are removes none", at_least=1)
    check_choice(where, "drop", drop, tuple(WHICH))


def remove_layers(net: nn.Module, keep: int, drop: str = "top") -> None:
    """Remove layers from a transformer, in place, and update the number of layers in its config.

    Args:
        net: A ``transformers`` model whose layers form one stack and are all alike: BERT, RoBERTa, DistilBERT, GPT-2.
        keep: The number of layers to keep, at least 1; the number of layers or more keeps all.
        drop: Which layers are dropped: ``"top"``, ``"bottom"`` or ``"even"``. See :func:`layers_to_keep`.

    Raises:
        ArgumentError: If an argument is outside its range, or the model's layers are not alike.
    """
    name, layers = layer_stack(net, "RemoveLayers")
    kept: list[Any] = [layers[index] for index in layers_to_keep(len(layers), keep, drop)]
    if len(kept) == len(layers):
        note("RemoveLayers", f"the model has {len(layers)} layers, so none is removed.")
        return
    config: Any = net.config
    unlike = [field for field in LAYERS_DIFFER if getattr(config, field, None)]
    if unlike:
        do = "BERT, RoBERTa, DistilBERT and GPT-2 have such"
        got = f"{type(net).__name__} with {unlike[0]}"
        raise argument_error("RemoveLayers", "model", "have one stack of layers that are all alike", got, do)
    parent, _, last = name.rpartition(".")
    setattr(net.get_submodule(parent), last, nn.ModuleList(kept))
    config.num_hidden_layers = len(kept)
    for index, layer in enumerate(kept):
        for module in layer.modules():
            if hasattr(module, "layer_idx"):
                module.layer_idx = index


@final
@dataclass(frozen=True)
class RemoveLayers(Prepare):
    """Remove whole layers from a transformer before training. See :func:`layers_to_keep`.

    The saved model is an ordinary one, smaller and faster.
    """

    example: ClassVar[str] = "RemoveLayers(4)"
    neutral: ClassVar[str] = "RemoveLayers(1000)"
    removes_parameters: ClassVar[str] = "A removed layer has no parameters to save."
    """Why fewer parameters are saved than were loaded."""

    keep: int = 4
    drop: str = "top"

    def __post_init__(self) -> None:
        _check("RemoveLayers", self.keep, self.drop)

    @property
    def equation(self) -> str:
        return f"θ₀ ← θ₀ of {self.keep} layers, {WHICH[self.drop]}"

    @property
    def description(self) -> str:
        return f"keep {self.keep} layers, {WHICH[self.drop]}, and take the others out"

    def prepare(self, model: nn.Module, now: Now) -> nn.Module:
        remove_layers(model, self.keep, self.drop)
        return model
