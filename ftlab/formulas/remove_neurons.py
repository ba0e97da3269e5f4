"""Neuron importance: feed-forward neurons that matter least are cut out, so that the model becomes smaller and faster."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from ftlab.errors import argument_error, check_number
from ftlab.formulas._architectures import feed_forward, neurons_field
from ftlab.parameters import is_conv1d, layer_stack, top_mask
from ftlab.rule import Now, Prepare, Rule


def neuron_importance(into: Tensor, out: Tensor, grads: tuple[Tensor, Tensor] | None = None) -> Tensor:
    r"""Say how much each neuron of a feed-forward block matters, by its weights or by its weights and gradients.

    .. math:: I_i = \lVert w^{in}_i\rVert_2\cdot\lVert w^{out}_i\rVert_2
              \qquad\text{or}\qquad I_i = \sum_{w\in w^{in}_i\cup w^{out}_i}\left|w\cdot\frac{\partial J}{\partial w}\right|

    ========================  =========  ==========================================================
    symbol                    code       meaning
    ========================  =========  ==========================================================
    :math:`w^{in}_i`          ``into``   row i: what neuron i reads with, its bias as one column more
    :math:`w^{out}_i`         ``out``    column i: what neuron i writes with
    :math:`\partial J`        ``grads``  the gradients of both
    ========================  =========  ==========================================================

    The product is invariant to rescaling (incoming weights times c, outgoing weights divided by c), and it is 0 for a
    neuron that writes nothing. The sum is a bound on the first-order change of the loss when the neuron goes.

    Args:
        into: Shape (neurons, inputs).
        out: Shape (outputs, neurons).
        grads: Left out, the weights alone are looked at; else two tensors of these shapes.

    Returns:
        Shape (neurons,), at least 0; what came in is not changed.

    Raises:
        ArgumentError: If the shapes do not belong together.

    Source:
        The sum: Molchanov et al. 2019, "Importance Estimation for Neural Network Pruning", arXiv 1906.10771.
        Departure: sizes are added up, where the paper has squares. The product is the plain magnitude criterion.

    Example:
        >>> neuron_importance(torch.tensor([[3.0, 4.0], [1.0, 0.0]]), torch.tensor([[2.0, 0.0]]))
        tensor([10.,  0.])
    """
    shapes = [
        (tuple(one.shape), tuple(other.shape)) for one, other in zip((into, out), grads or (into, out), strict=True)
    ]
    if into.ndim != 2 or out.ndim != 2 or into.shape[0] != out.shape[1] or any(one != other for one, other in shapes):
        do = "Transpose the weights of a Conv1D"
        raise argument_error("neuron_importance", "out", "have a column for each row of into", str(shapes), do)
    if grads is None:
        product: Tensor = torch.linalg.vector_norm(into, dim=1) * torch.linalg.vector_norm(out, dim=0)
        return product
    return (into * grads[0]).abs().sum(1) + (out * grads[1]).abs().sum(0)


def keep_neurons(importance: Tensor, share: float) -> Tensor:
    r"""Choose the neurons that stay: all but a share of the least important ones.

    .. math:: K = \{1,\dots,n\}\setminus\{\text{the } \mathrm{round}(p\,n) \text{ least } I_i\}

    =============  ===============  =====================================
    symbol         code             meaning
    =============  ===============  =====================================
    :math:`I`      ``importance``   a number for each neuron
    :math:`p`      ``share``        the share of neurons that goes
    :math:`K`                       the numbers of those that stay
    =============  ===============  =====================================

    Args:
        importance: Shape (neurons,).
        share: At least 0 and less than 1; 0 keeps all.

    Returns:
        Whole numbers in rising order. Among equals the later neurons stay.

    Raises:
        ArgumentError: If the share is outside its range, or leaves no neuron.

    Source:
        As :func:`neuron_importance`. Departure: none.

    Example:
        >>> keep_neurons(torch.tensor([3.0, 1.0, 2.0, 4.0]), 0.5)
        tensor([0, 3])
    """
    _check("keep_neurons", share)
    kept = top_mask({"": importance}, share)[""].nonzero().flatten()
    if not len(kept):
        raise argument_error("keep_neurons", "share", "leave a neuron", f"{share} of {len(importance)}", "Take less")
    return kept


def _check(where: str, share: Any) -> None:
    do = "0.5 is a first try, 0 removes nothing"
    check_number(where, "share", share, do, at_least=0, below=1)


def feed_forwards(net: nn.Module, where: str = "RemoveNeurons") -> list[tuple[Any, Any]]:
    """Return the two linear modules of each layer's feed-forward block."""
    pairs = []
    for layer in layer_stack(net, where)[1]:
        pair = feed_forward(layer)
        if pair is None or neurons_field(net.config) is None:
            do = "BERT, RoBERTa, DistilBERT and GPT-2 have one"
            got = type(net).__name__
            raise argument_error(where, "model", "have feed-forward blocks of a known kind", got, do)
        pairs.append(pair)
    return pairs


def as_linear(module: Any, weight: Tensor) -> Tensor:
    """Return a weight, or its gradient, as (outputs, inputs); GPT-2's Conv1D has it the other way round."""
    return weight.T if is_conv1d(module) else weight


def by_weights(into: Any, out: Any) -> Tensor:
    """Return the importance of a block's neurons by its weights alone."""
    rows = as_linear(into, into.weight.detach())
    rows = rows if into.bias is None else torch.cat([rows, into.bias.detach()[:, None]], 1)
    return neuron_importance(rows, as_linear(out, out.weight.detach()))


def cut_neurons(net: nn.Module, share: float, importances: Sequence[Tensor] | None = None) -> None:
    """Cut a share of the feed-forward neurons out of every layer, in place; the config says how many are left.

    Each layer loses as many, since a config has one number for all. Layers that share a matrix lose the same ones.
    """
    pairs = feed_forwards(net)
    found = [by_weights(*pair) for pair in pairs] if importances is None else list(importances)
    groups: list[int] = []
    for index, pair in enumerate(pairs):
        own = {id(module.weight) for module in pair}
        shared = (groups[i] for i in range(index) if own & {id(module.weight) for module in pairs[i]})
        groups.append(next(shared, index))
    joint = dict.fromkeys(groups, torch.zeros_like(found[0]))
    for one, group in zip(found, groups, strict=True):
        joint[group] = joint[group] + one
    kept = {group: keep_neurons(one, share) for group, one in joint.items()}
    if all(len(one) == len(found[0]) for one in kept.values()):
        return
    cut: dict[int, nn.Parameter] = {}
    modules = {module: group for pair, group in zip(pairs, groups, strict=True) for module in pair}  # each one once
    ins = {into for into, _ in pairs}
    for module, group in modules.items():
        _cut(module, kept[group], cut, outputs=module in ins)
    field = neurons_field(net.config)
    assert field is not None  # feed_forwards refuses such a model
    setattr(net.config, field, len(kept[groups[0]]))


def _cut(module: Any, kept: Tensor, cut: dict[int, nn.Parameter], *, outputs: bool) -> None:
    """Keep some outputs or inputs of a linear module; what was tied or frozen stays so."""
    conv = is_conv1d(module)
    for name, dim in (("weight", int(outputs == conv)), ("bias", 0)):
        old = getattr(module, name)
        if old is None or (name == "bias" and not outputs):
            continue
        if id(old) not in cut:
            cut[id(old)] = nn.Parameter(old.detach().index_select(dim, kept), requires_grad=old.requires_grad)
            vars(cut[id(old)]).update(vars(old))  # such as the mark of a rule that froze it
        setattr(module, name, cut[id(old)])
    fields = {(False, True): "out_features", (False, False): "in_features", (True, True): "nf", (True, False): "nx"}
    setattr(module, fields[conv, outputs], len(kept))


@final
@dataclass(frozen=True)
class RemoveNeurons(Prepare):
    """Cut the least important feed-forward neurons out of every layer, before the training, by their weights.

    The model that is saved is smaller, faster, and an ordinary one. See :func:`neuron_importance`.

    Source:
        The plain magnitude criterion, for neurons: the product of the norms of a neuron's weights in and out. Departure:
        none.
    """

    example: ClassVar[str] = "RemoveNeurons(0.5)"
    neutral: ClassVar[str] = "RemoveNeurons(0.0)"

    share: float = 0.5

    def __post_init__(self) -> None:
        _check("RemoveNeurons", self.share)

    @property
    def equation(self) -> str:
        return f"θ₀ ← θ₀ without the {self.share:.0%} neurons of least ‖w_in‖·‖w_out‖"

    @property
    def description(self) -> str:
        return f"cut the {self.share:.0%} least important feed-forward neurons out of every layer"

    def cautions(self, recipe: Sequence[Rule]) -> list[str]:
        if self.share > 0 and any(rule.needs_origin for rule in recipe):
            return [
                "What RemoveNeurons has cut has no θ₀ any more: rules that need it leave the feed-forward blocks out."
            ]
        return []

    def prepare(self, model: nn.Module, now: Now) -> nn.Module:
        cut_neurons(model, self.share)
        return model
