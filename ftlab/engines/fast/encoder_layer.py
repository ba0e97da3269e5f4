r"""One layer of a BERT-type encoder as one differentiable function, on tokens without padding.

.. math:: y=\mathrm{LN}\big(x+\mathrm{drop}(W_o\,\mathrm{attention}(x))\big),\qquad
          z=\mathrm{LN}\big(y+\mathrm{drop}(W_2\,\mathrm{gelu}(W_1y))\big)

It computes what ``transformers`` computes, with less around the matrix products: one fused product for query, key and
value, no padding outside attention, cheap dropout masks, and sums and normalisation in fp32 while products are in the
precision of autocast. If only the first tokens of the last layer are needed, only those are computed.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ftlab.engines.fast.attention import LONG_ENOUGH, attend, attend_backward, attend_no_grad
from ftlab.engines.fast.dropout import drop_, drop_some_, keep_probability
from ftlab.engines.fast.flash import attend_long, attend_long_backward, use_flash
from ftlab.engines.fast.packed_batch import PackedBatch
from ftlab.formulas._architectures import architecture_of

WEIGHTS = ("query", "key", "value", "out", "attention_norm", "inner", "outer", "feed_forward_norm")
"""The modules whose weight and bias :class:`Layer` takes, in this order."""
Gradients = tuple[Tensor | None, Tensor | None]
"""Those of a weight and a bias; None where they are not needed."""


@dataclass(frozen=True)
class LayerSpec:
    """What defines the computation of a layer besides its weights."""

    heads: int
    dropout: tuple[float, float, float]
    """Of the attention probabilities, after attention, after the feed-forward block."""
    eps: tuple[float, float]
    first_only: bool
    """Whether only the first token of each text is needed."""
    precision: torch.dtype
    flash: bool = False
    """Whether attention uses the kernel for long texts."""
    no_grad: bool = False
    """Whether no backward pass follows."""


def is_supported(layer: nn.Module) -> bool:
    """Return whether :func:`forward_layer` computes what the layer computes: a known class with its original modules."""
    architecture = architecture_of(layer)
    if architecture is None or architecture.pre_norm:
        return False
    if getattr(layer, "is_decoder", False) or getattr(layer, "add_cross_attention", False):
        return False
    try:
        parts = {part: layer.get_submodule(path) for part, path in architecture.modules.items()}
    except AttributeError:
        return False
    linear = [parts[name] for name in ("query", "key", "value", "out", "inner", "outer")]
    norms = [parts["attention_norm"], parts["feed_forward_norm"]]
    dropouts = [parts[name] for name in parts if name.endswith("dropout")]
    return (
        all(type(module) is nn.Linear and module.bias is not None for module in linear)
        and all(type(module) is nn.LayerNorm and module.bias is not None for module in norms)
        and all(type(module) is nn.Dropout and module.p < 0.99 for module in dropouts)
        and type(parts["activation"]).__name__ == "GELUActivation"
        and parts["query"].out_features == parts["key"].out_features == parts["value"].out_features
    )


def forward_layer(layer: nn.Module, hidden: Tensor, packed: PackedBatch, *, first_only: bool = False) -> Tensor:
    """Run a layer that :func:`is_supported` on tokens without padding.

    Args:
        layer: A layer of ``transformers``.
        hidden: Shape (tokens + tail, width).
        packed: Where the texts begin.
        first_only: Whether only the first token of each text is needed.

    Returns:
        Shape (tokens + tail, width), or (texts, width), in fp32.
    """
    architecture = architecture_of(layer)
    assert architecture is not None
    parts: dict[str, Any] = {part: layer.get_submodule(path) for part, path in architecture.modules.items()}
    attention = layer.get_submodule(architecture.modules["query"].rpartition(".")[0])
    device = hidden.device.type
    heads, precision = int(getattr(attention, architecture.heads)), precision_of_products(device)
    spec = LayerSpec(
        heads=heads,
        dropout=tuple(  # type: ignore[arg-type]
            parts[name].p if name in parts and parts[name].training else 0.0
            for name in ("attention_dropout", "out_dropout", "outer_dropout")
        ),
        eps=(parts["attention_norm"].eps, parts["feed_forward_norm"].eps),
        first_only=first_only,
        precision=precision,
        flash=not first_only and use_flash(packed, hidden.device, precision, hidden.shape[-1] // heads),
        no_grad=precision == torch.float32 and not torch.is_grad_enabled(),
    )
    weights = [tensor for name in WEIGHTS for tensor in (weight_of(parts[name]), parts[name].bias)]
    with torch.autocast(device, enabled=False):
        output: Tensor = Layer.apply(hidden.float(), packed, spec, *weights)  # type: ignore[no-untyped-call]
    return output


def weight_of(module: nn.Module) -> Tensor:
    """Return the weight that a module uses in this pass: its own, or the one that a rule has put in its place."""
    of_pass = getattr(module.__dict__.get("forward"), "weight_of_pass", None)
    weight: Any = of_pass() if of_pass else module.weight
    return weight  # type: ignore[no-any-return]


def precision_of_products(device: str) -> torch.dtype:
    """Return the dtype to which autocast casts on a device now; fp32 where it is off.

    >>> precision_of_products("cpu")
    torch.float32
    """
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32


class Layer(torch.autograd.Function):
    """The layer's forward and backward pass."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, packed: PackedBatch, spec: LayerSpec, *weights: Tensor) -> Tensor:
        wq, bq, wk, bk, wv, bv, wo, bo, g1, b1, w1, c1, w2, c2, g2, b2 = weights
        exact, kind, first_only = hidden, spec.precision, spec.first_only
        x = hidden.to(kind)
        weight, bias = _joined((wq, wk, wv), kind), _joined((bq, bk, bv), kind)
        rows = x
        if first_only:
            exact, rows, width = exact[packed.first], x[packed.first], len(wq)
            query = nn.functional.linear(rows, weight[:width], bias[:width])
            joined = nn.functional.linear(x, weight[width:], bias[width:])
            context, attention = attend(joined, spec.heads, packed, spec.dropout[0], query)
        else:
            joined = nn.functional.linear(x, weight, bias)
            if spec.flash:
                context, attention = attend_long(joined, spec.heads, packed, spec.dropout[0])
            elif spec.no_grad and not spec.dropout[0] and packed.max_seqlen >= LONG_ENOUGH:
                context, attention = attend_no_grad(joined, spec.heads, packed), ()
            else:
                context, attention = attend(joined, spec.heads, packed, spec.dropout[0])

        wo_, w1_, w2_ = wo.to(kind), w1.to(kind), w2.to(kind)
        projected, out_mask = drop_some_(nn.functional.linear(context, wo_, bo.to(kind)), spec.dropout[1])
        before = exact.add(projected, alpha=1 / keep_probability(spec.dropout[1]))
        middle, mean, rstd = torch.native_layer_norm(before, g1.shape, g1, b1, spec.eps[0])
        y = middle.to(kind)
        inner = nn.functional.linear(y, w1_, c1.to(kind))
        active = nn.functional.gelu(inner)
        projected, outer_mask = drop_some_(nn.functional.linear(active, w2_, c2.to(kind)), spec.dropout[2])
        behind = middle.add(projected, alpha=1 / keep_probability(spec.dropout[2]))
        output, last_mean, last_rstd = torch.native_layer_norm(behind, g2.shape, g2, b2, spec.eps[1])
        ctx.save_for_backward(
            *(x, rows, context, out_mask, before, mean, rstd),
            *(y, inner, active, outer_mask, behind, last_mean, last_rstd),
            *(weight, wo_, w1_, w2_, g1, b1, g2, b2, *attention),
        )
        ctx.packed, ctx.spec = packed, spec
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        with torch.autocast(grad.device.type, enabled=False):
            d_hidden, gradients = _backward(ctx, grad)
        flat = [gradient for name in WEIGHTS for gradient in gradients.get(name, (None, None))]
        return d_hidden, None, None, *flat


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, dict[str, Gradients]]:
    """Return the gradient of the layer's input, and those of weight and bias by module."""
    (x, rows, context, out_mask, before, mean, rstd, y, inner, active, outer_mask, behind, last_mean, last_rstd) = (
        ctx.saved_tensors[:14]
    )
    (weight, wo, w1, w2, g1, b1, g2, b2), attention = ctx.saved_tensors[14:22], ctx.saved_tensors[22:]
    packed, spec, kind = ctx.packed, ctx.spec, ctx.spec.precision
    flags = ctx.needs_input_grad[3:]
    needs = dict(zip(WEIGHTS, zip(flags[::2], flags[1::2], strict=True), strict=True))
    gradients: dict[str, Gradients] = {}

    d_behind, *gradients["feed_forward_norm"] = _norm_backward(grad, behind, last_mean, last_rstd, g2, b2)
    d_projected = _undrop(d_behind, outer_mask, spec.dropout[2], kind)
    gradients["outer"] = _of_linear(d_projected, active, needs["outer"])
    d_inner = torch.ops.aten.gelu_backward(d_projected @ w2, inner)
    gradients["inner"] = _of_linear(d_inner, y, needs["inner"])
    d_before, *gradients["attention_norm"] = _norm_backward(d_behind.add_(d_inner @ w1), before, mean, rstd, g1, b1)
    d_projected = _undrop(d_before, out_mask, spec.dropout[1], kind)
    gradients["out"] = _of_linear(d_projected, context, needs["out"])
    if not (any(flags[:6]) or ctx.needs_input_grad[0]):
        return None, gradients

    d_context, width = d_projected @ wo, len(weight) // 3
    if spec.first_only:
        d_joined, d_query = attend_backward(d_context, attention, spec.heads, packed, spec.dropout[0], first=True)
        assert d_query is not None
        gradients["query"] = _of_linear(d_query, rows, needs["query"])
        gradients |= _split(_of_linear(d_joined, x, (any(flags[2:6]),) * 2), ("key", "value"))
        d_before.add_(d_query @ weight[:width])
        return (d_joined @ weight[width:]).float().index_add_(0, packed.first, d_before), gradients
    if spec.flash:
        d_joined = attend_long_backward(d_context, attention, spec.heads, packed, spec.dropout[0])
    else:
        d_joined, _ = attend_backward(d_context, attention, spec.heads, packed, spec.dropout[0])
    gradients |= _split(_of_linear(d_joined, x, (any(flags[:6]),) * 2), ("query", "key", "value"))
    return d_before.add_(d_joined @ weight), gradients


def _joined(tensors: tuple[Tensor, ...], kind: torch.dtype) -> Tensor:
    """Concatenate tensors along the first dimension, in the precision of the products."""
    joined = torch.empty(sum(map(len, tensors)), *tensors[0].shape[1:], dtype=kind, device=tensors[0].device)
    for part, tensor in zip(joined.chunk(len(tensors)), tensors, strict=True):
        part.copy_(tensor)
    return joined


def _undrop(grad: Tensor, mask: Tensor | None, p: float, kind: torch.dtype) -> Tensor:
    """Return the gradient before dropout."""
    scaled = grad.mul(1 / keep_probability(p)).to(kind)
    return scaled if mask is None else drop_(scaled, mask)


def _norm_backward(grad: Tensor, inputs: Tensor, mean: Tensor, rstd: Tensor, gain: Tensor, bias: Tensor) -> Any:
    return torch.ops.aten.native_layer_norm_backward(
        grad.contiguous(), inputs, gain.shape, mean, rstd, gain, bias, [True, True, True]
    )


def _of_linear(grad: Tensor, inputs: Tensor, needs: tuple[bool, ...]) -> Gradients:
    """Return the gradients of a weight and a bias, in fp32, where they are needed."""
    weight = (grad.t() @ inputs).float() if needs[0] else None
    return weight, grad.sum(0).float() if needs[1] else None


def _split(joined: Gradients, names: tuple[str, ...]) -> dict[str, Gradients]:
    """Split the gradients of a joined weight and bias by module."""
    weight, bias = joined
    if weight is None or bias is None:
        return {}
    return dict(zip(names, zip(weight.chunk(len(names)), bias.chunk(len(names)), strict=True), strict=True))
