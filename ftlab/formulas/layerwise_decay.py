"""Layer-wise decay: the deeper a layer lies below the head, the smaller its learning rate."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

from torch import nn

from ftlab.errors import argument_error, check_int, check_number
from ftlab.parameters import depths as depths_of
from ftlab.rule import Memory, Now, Rates, Schedule


def layerwise_decay(rates: Rates, depths: Mapping[str, int], factor: float) -> Rates:
    r"""Shrink each learning rate by the same factor for every layer between its parameter and the top.

    .. math:: \alpha_k \leftarrow \alpha_k\cdot d^{\,D - k}

    ==================  =============  =======================================================
    symbol              code           meaning
    ==================  =============  =======================================================
    :math:`\alpha_k`    ``rates``      the learning rates, by parameter name
    :math:`k`           ``depths``     how far above the input a parameter stands, by name
    :math:`D`                          the greatest depth of all, that of the head
    :math:`d`           ``factor``     what one layer further down leaves of the rate
    ==================  =============  =======================================================

    In a model of L layers with a head, the head (and a pooler) keeps the whole rate, the top layer has d of it, and the
    embeddings have :math:`d^{L+1}`.

    Args:
        rates: Learning rates of at least 0, by name.
        depths: Whole numbers by name, as :func:`ftlab.parameters.depths` counts them. It may hold further names, which
            count for the greatest depth: a head that is not trained is still the top.
        factor: Greater than 0 and at most 1; 1 changes nothing.

    Returns:
        New rates under the same names.

    Raises:
        ArgumentError: If ``factor`` or a depth is outside its range, or a name has no depth.

    Source:
        Howard and Ruder 2018, "ULMFiT", arXiv 1801.06146 (discriminative fine-tuning); Clark et al. 2020, "ELECTRA",
        arXiv 2003.10555, gives it this form. Departure: none from the papers; the code of ELECTRA gives the
        top layer the square of the factor, which its author calls a bug (google-research/electra, issue 51).

    Example:
        >>> layerwise_decay({"words": 1.0, "layer": 1.0, "head": 1.0}, {"words": 0, "layer": 1, "head": 2}, 0.5)
        {'words': 0.25, 'layer': 0.5, 'head': 1.0}
    """
    _check("layerwise_decay", factor)
    for name, depth in depths.items():
        check_int("layerwise_decay", f"depth of {name}", depth, "Count from 0, the embeddings")
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
    """Layer-wise learning rates: whole at the head, smaller with each layer below it. See :func:`layerwise_decay`.

    Depths are counted from the tree of modules when the training begins, see :func:`ftlab.parameters.depths`.
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
        return (
            f"give the head the whole learning rate, and every layer below {self.factor:g} times that of the one above"
        )

    def start(self, model: nn.Module, batches: Any, loss: Any, now: Now) -> Memory:
        """Remember the depth of every parameter, of those too that are not trained."""
        return depths_of(model)

    def schedule(self, rates: Rates, memory: Memory, now: Now) -> tuple[Rates, Memory]:
        return layerwise_decay(rates, memory, self.factor), memory
