"""Remove the least important feed-forward neurons, which makes the model smaller and faster."""

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
    r"""Return the importance of each neuron of a feed-forward block, by its weights or by its weights and gradients.

    .. math:: I_i = \lVert w^{in}_i\rVert_2\cdot\lVert w^{out}_i\rVert_2
              \qquad\text{or}\qquad I_i = \sum_{w\in w^{in}_i\cup w^{out}_i}\left|w\cdot\frac{\partial J}{\partial w}\right|

    ========================  =========  ==========================================================
    symbol                    code       meaning
    ========================  =========  ==========================================================
    :math:`w^{in}_i`          ``into``   row i: the incoming weights of neuron i, its bias as one more column
    :math:`w^{out}_i`         ``out``    column i: the outgoing weights of neuron i
    :math:`\partial J`        ``grads``  the gradients of both
    ========================  =========  ==========================================================

    The product is invariant to rescaling (incoming weights times c, outgoing weights divided by c), and it is 0 for a
    neuron without outgoing weights. The sum bounds the first-order change of the loss when the neuron is removed.

    Args:
        into: Shape (neurons, inputs).
        out: Shape (outputs, neurons).
        grads: The gradients of ``into`` and ``out``; left out, the importance is computed from the weights alone.

    Returns:
        Shape (neurons,), at least 0. The inputs are not modified.

    Raises:
        ArgumentError: If the shapes do not match.

    Source:
        The sum: Molchanov et al. 2019, "Importance Estimation for Neural Network Pruning", arXiv 1906.10771.
        Departure: absolute values are summed, where the paper sums squares. The product is the plain magnitude criterion.

    Example:
        >>> neuron_importance(torch.tensor([[3.0, 4.0], [1.0, 0.0]]), torch.tensor([[2.0, 0.0]]))
        tensor([10.,  0.])
    """
    pairs = zip((into, out), grads or (into, out), strict=True)
    shapes = [(tuple(weight.shape), tuple(grad.shape)) for weight, grad in pairs]
    if into.ndim != 2 or out.ndim != 2 or into.shape[0] != out.shape[1] or any(a != b for a, b in shapes):
        do = "Transpose the weights of a Conv1D"
        raise argument_error("neuron_importance", "out", "have a column for each row of into", str(shapes), do)
    if grads is None:
        product: Tensor = torch.linalg.vector_norm(into, dim=1) * torch.linalg.vector_norm(out, dim=0)
        return product
    return (into * grads[0]).abs().sum(1) + (out * grads[1]).abs().sum(0)


def keep_neurons(importance: Tensor, share: float) -> Tensor:
    r"""Choose the neurons to keep: all but a share of the least important ones.

    .. math:: K = \{1,\dots,n\}\setminus\{\text{the } \mathrm{round}(p\,n) \text{ least } I_i\}

    =============  ===============  =====================================
    symbol         code             meaning
    =============  ===============  =====================================
    :math:`I`      ``importance``   the importance of each neuron
    :math:`p`      ``share``        the share of neurons to remove
    :math:`K`                       the indices to keep
    =============  ===============  =====================================

    Args:
        importance: Shape (neurons,).
        share: At least 0 and less than 1; 0 keeps all.

    Returns:
        The indices to keep, in ascending order. Of equally important neurons the later ones are kept.

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


def feed_forwards(net: nn.Module, where: str = "RemoveNeurons") -> list[tuple[tuple[Any, ...], Any]]:
    """Return the linear modules of each layer's feed-forward block: those into its neurons, and the one out of them."""
    pairs = []
    for layer in layer_stack(net, where)[1]:
        pair = feed_forward(layer)
        if pair is None or neurons_field(net.config) is None:
            do = "BERT, RoBERTa, DistilBERT, GPT-2 and Llama have one"
            got = type(net).__name__
            raise argument_error(where, "model", "have feed-forward blocks of a known kind", got, do)
        pairs.append(pair)
    return pairs


def as_linear(module: Any, weight: Tensor) -> Tensor:
    """Return a module's weight, or its gradient, with the shape (outputs, inputs); GPT-2's Conv1D stores the transpose."""
    return weight.T if is_conv1d(module) else weight


def incoming(module: Any, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return a module's weight and bias, or their gradients, as one matrix with a row for each neuron."""
    rows = as_linear(module, weight.detach())
    return rows if bias is None else torch.cat([rows, bias.detach()[:, None]], 1)


def by_weights(ins: Sequence[Any], out: Any) -> Tensor:
    """Return the importance of a block's neurons, computed from its weights alone."""
    rows = torch.cat([incoming(into, into.weight, into.bias) for into in ins], 1)
    return neuron_importance(rows, as_linear(out, out.weight.detach()))


def cut_neurons(net: nn.Module, share: float, importances: Sequence[Tensor] | None = None) -> None:
    """Remove a share of the feed-forward neurons from every layer, in place, and update their number in the config.

    Every layer loses the same number, since the config has one number for all. Layers that share a matrix lose the same
    neurons.
    """
    pairs = feed_forwards(net)
    by_layer = [by_weights(*pair) for pair in pairs] if importances is None else list(importances)
    groups: list[int] = []
    for index, pair in enumerate(pairs):
        own = {id(module.weight) for module in _modules(pair)}
        shared = (groups[i] for i in range(index) if own & {id(module.weight) for module in _modules(pairs[i])})
        groups.append(next(shared, index))
    joint = dict.fromkeys(groups, torch.zeros_like(by_layer[0]))
    for importance, group in zip(by_layer, groups, strict=True):
        joint[group] = joint[group] + importance
    kept = {group: keep_neurons(importance, share) for group, importance in joint.items()}
    if all(len(indices) == len(by_layer[0]) for indices in kept.values()):
        return
    cut: dict[int, nn.Parameter] = {}
    modules = {
        module: group for pair, group in zip(pairs, groups, strict=True) for module in _modules(pair)
    }  # each once
    ins = {into for before, _ in pairs for into in before}
    for module, group in modules.items():
        _cut(module, kept[group], cut, outputs=module in ins)
    field = neurons_field(net.config)
    assert field is not None  # feed_forwards refuses such a model
    setattr(net.config, field, len(kept[groups[0]]))


def _modules(block: tuple[tuple[Any, ...], Any]) -> tuple[Any, ...]:
    return *block[0], block[1]


def _cut(module: Any, kept: Tensor, cut: dict[int, nn.Parameter], *, outputs: bool) -> None:
    """Keep some outputs or inputs of a linear module; tied parameters stay tied, and frozen ones frozen."""
    conv = is_conv1d(module)
    for name, dim in (("weight", int(outputs == conv)), ("bias", 0)):
        old = getattr(module, name)
        if old is None or (name == "bias" and not outputs):
            continue
        if id(old) not in cut:
            cut[id(old)] = nn.Parameter(old.detach().index_select(dim, kept), requires_grad=old.requires_grad)
            vars(cut[id(old)]).update(vars(old))  # such as the mark of freeze_params
        setattr(module, name, cut[id(old)])
    fields = {(False, True): "out_features", (False, False): "in_features", (True, True): "nf", (True, False): "nx"}
    setattr(module, fields[conv, outputs], len(kept))


@final
@dataclass(frozen=True)
class RemoveNeurons(Prepare):
    """Remove the least important feed-forward neurons from every layer before training, judged by their weights.

    The saved model is an ordinary one, smaller and faster. See :func:`neuron_importance`.

    Source:
        The magnitude criterion for neurons: the product of the norms of a neuron's incoming and outgoing weights.
        Departure: none.
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
            return ["The parameters that RemoveNeurons shrinks have no θ₀, so rules that need θ₀ leave them out."]
        return []

    def prepare(self, model: nn.Module, now: Now) -> nn.Module:
        cut_neurons(model, self.share)
        return model
