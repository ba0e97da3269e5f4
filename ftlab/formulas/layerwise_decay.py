"""Layer-wise decay: smaller learning rates for layers further below the head."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

from torch import nn

from ftlab.errors import argument_error, check_int, check_number
from ftlab.parameters import depths as depths_of
from ftlab.rule import Memory, Now, Rates, Schedule


def layerwise_decay(rates: Rates, depths: Mapping[str, int], factor: float) -> Rates:
    r"""Multiply each learning rate by the same factor once for every layer between its parameter and the top.

    .. math:: \alpha_k \leftarrow \alpha_k\cdot d^{\,D - k}

    ================  ==========  ====================================================
    symbol            code        meaning
    ================  ==========  ====================================================
    :math:`\alpha_k`  ``rates``   the learning rates, by parameter name
    :math:`k`         ``depths``  the depth of each parameter above the input, by name
    :math:`D`                     the greatest depth, that of the head
    :math:`d`         ``factor``  the factor from one layer to the one below
    ================  ==========  ====================================================

    In a model of L layers with a head, the head and the pooler keep the full rate, the top layer has d times the rate,
    and the embeddings have :math:`d^{L+1}` times the rate.

    Args:
        rates: Learning rates of at least 0, by name.
        depths: Whole numbers by name, from :func:`ftlab.parameters.depths`. Names without a rate count for the greatest
            depth too: a frozen head is still the top.
        factor: Greater than 0 and at most 1; 1 changes nothing.

    Returns:
        New rates under the same names.

    Raises:
        ArgumentError: If ``factor`` or a depth is outside its range, or a name has no depth.

    Source:
        Howard and Ruder 2018, "ULMFiT", arXiv 1801.06146 (discriminative fine-tuning); Clark et al. 2020, "ELECTRA",
        arXiv 2003.10555, gives it this form. Departure: none from the papers. The code of ELECTRA gives the
        top layer the square of the factor, which its author calls a bug (google-research/electra, issue 51).

    Example:
        >>> layerwise_decay({"words": 1.0, "layer": 1.0, "head": 1.0}, {"words": 0, "layer": 1, "head": 2}, 0.5)
        {'words': 0.25, 'layer': 0.5, 'head': 1.0}
    """
    _check("layerwise_decay", factor)
    for name, depth in depths.items():
        check_int("layerwise_decay", f"depth of {name}", depth, "Count from 0 at the embeddings")
    top = max(depths.values(), default=0)
    new = {}
    for name, lr in rates.items():
        if name not in depths:
            do = "Take them from ftlab.parameters.depths(model)"
            raise argument_error("layerwise_decay", "depths", "hold every name of rates", f"none of {name}", do)
        check_number("layerwise_decay", f"rate of {name}", lr, "5e-5 is usual for fine-tuning", at_least=0)
        new[name] = lr * factor ** (top - depths[name])
    return new


def _check(where: str, factor: float) -> None:
    check_number(where, "factor", factor, "0.95 is usual, 1 switches it off", above=0, at_most=1)


@final
@dataclass(frozen=True)
class LayerwiseDecay(Schedule):
    """Use smaller learning rates for layers further below the head. See :func:`layerwise_decay`.

    Depths are read from the tree of modules at the start, see :func:`ftlab.parameters.depths`.
    """

    example: ClassVar[str] = "LayerwiseDecay(0.95)"
    neutral: ClassVar[str] = "LayerwiseDecay(1.0)"

    factor: float = 0.95

    def __post_init__(self) -> None:
        _check("LayerwiseDecay", self.factor)

    @property
    def equation(self) -> str:
        return f"α_k ← α_k·{self.factor:g}^(layers above k)"

    @property
    def description(self) -> str:
        below = f"{self.factor:g} times the rate of the layer above"
        return f"use the full learning rate for the head, and for each layer below {below}"

    def start(self, model: nn.Module, batches: Any, loss: Any, now: Now) -> Memory:
        """Remember the depth of every parameter, including frozen ones."""
        return depths_of(model)

    def schedule(self, rates: Rates, memory: Memory, now: Now) -> tuple[Rates, Memory]:
        return layerwise_decay(rates, memory, self.factor), memory
