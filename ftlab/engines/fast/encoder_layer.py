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

from ftlab.engines.fast.attention import LONG_ENOUGH, attend, attend_backward, attend_once
from ftlab.engines.fast.dropout import drop_, drop_some_, kept
from ftlab.engines.fast.flash import attend_long, attend_long_backward, suits
from ftlab.engines.fast.packed_batch import PackedBatch
from ftlab.formulas._architectures import architecture_of

WEIGHTS = ("query", "key", "value", "out", "attention_norm", "inner", "outer", "feed_forward_norm")


@dataclass(frozen=True)
class How:
    """What a layer is besides its weights."""

    heads: int
    dropout: tuple[float, float, float]
    """Of the attention's shares, behind the attention, behind the feed-forward block."""
    eps: tuple[float, float]
    first_only: bool
    """Whether only the first token of each text is asked for."""
    precision: torch.dtype
    long: bool = False
    """Whether attention is by the kernel for long texts."""
    once: bool = False
    """Whether no backward pass follows."""


def understood(layer: nn.Module) -> bool:
    """Say whether a layer is one whose modules and activation are known here, and every part of it is as it came."""
    architecture = architecture_of(layer)
    if architecture is None or architecture.pre_norm:
        return False
    if getattr(layer, "is_decoder", False) or getattr(layer, "add_cross_attention", False):
        return False
    try:
        parts = {part: layer.get_submodule(name) for part, name in architecture.modules.items()}
    except AttributeError:
        return False
    linear = [parts[name] for name in ("query", "key", "value", "out", "inner", "outer")]
    norms = [parts["attention_norm"], parts["feed_forward_norm"]]
    drops = [parts[name] for name in parts if name.endswith("dropout")]
    return (
        all(type(one) is nn.Linear and one.bias is not None for one in linear)
        and all(type(one) is nn.LayerNorm and one.bias is not None for one in norms)
        and all(type(one) is nn.Dropout and one.p < 0.99 for one in drops)
        and type(parts["activation"]).__name__ == "GELUActivation"
        and parts["query"].out_features == parts["key"].out_features == parts["value"].out_features
    )


def run_layer(layer: nn.Module, hidden: Tensor, texts: PackedBatch, *, first_only: bool = False) -> Tensor:
    """Run a layer that is :func:`understood` on tokens without padding.

    Args:
        layer: Of ``transformers``.
        hidden: Shape (tokens + tail, width).
        texts: Where the texts begin.
        first_only: Whether only the first token of each text is asked for.

    Returns:
        Shape (tokens + tail, width), or (texts, width), in fp32.
    """
    architecture = architecture_of(layer)
    assert architecture is not None
    parts: dict[str, Any] = {part: layer.get_submodule(path) for part, path in architecture.modules.items()}
    attention = layer.get_submodule(architecture.modules["query"].rpartition(".")[0])
    device = hidden.device.type
    heads, precision = int(getattr(attention, architecture.heads)), precision_of_products(device)
    how = How(
        heads=heads,
        dropout=tuple(  # type: ignore[arg-type]
            parts[one].p if one in parts and parts[one].training else 0.0
            for one in ("attention_dropout", "out_dropout", "outer_dropout")
        ),
        eps=(parts["attention_norm"].eps, parts["feed_forward_norm"].eps),
        first_only=first_only,
        precision=precision,
        long=not first_only and suits(texts, hidden.device, precision, hidden.shape[-1] // heads),
        once=precision == torch.float32 and not torch.is_grad_enabled(),
    )
    weights = [weight for part in WEIGHTS for weight in (weight_of(parts[part]), parts[part].bias)]
    with torch.autocast(device, enabled=False):
        made: Tensor = Layer.apply(hidden.float(), texts, how, *weights)  # type: ignore[no-untyped-call]
    return made


def weight_of(module: nn.Module) -> Tensor:
    """Return the weight with which a module computes this pass: its own, or what a rule has in its place."""
    of_pass = getattr(module.__dict__.get("forward"), "weight_of_pass", None)
    weight: Any = of_pass() if of_pass else module.weight
    return weight  # type: ignore[no-any-return]


def precision_of_products(device: str) -> torch.dtype:
    """Return the precision that autocast has for a device now, fp32 where it is off.

    >>> precision_of_products("cpu")
    torch.float32
    """
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32


class Layer(torch.autograd.Function):
    """The layer, forward and backward."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, texts: PackedBatch, how: How, *weights: Tensor) -> Tensor:
        wq, bq, wk, bk, wv, bv, wo, bo, g1, b1, w1, c1, w2, c2, g2, b2 = weights
        exact, kind, first_only = hidden, how.precision, how.first_only
        x = hidden.to(kind)
        weight, bias = _joined((wq, wk, wv), kind), _joined((bq, bk, bv), kind)
        rows = x
        if first_only:
            exact, rows, width = exact[texts.first], x[texts.first], len(wq)
            query = nn.functional.linear(rows, weight[:width], bias[:width])
            joined = nn.functional.linear(x, weight[width:], bias[width:])
            context, attention = attend(joined, how.heads, texts, how.dropout[0], query)
        else:
            joined = nn.functional.linear(x, weight, bias)
            if how.long:
                context, attention = attend_long(joined, how.heads, texts, how.dropout[0])
            elif how.once and not how.dropout[0] and texts.max_seqlen >= LONG_ENOUGH:
                context, attention = attend_once(joined, how.heads, texts), ()
            else:
                context, attention = attend(joined, how.heads, texts, how.dropout[0])

        wo_, w1_, w2_ = wo.to(kind), w1.to(kind), w2.to(kind)
        moved, out_mask = drop_some_(nn.functional.linear(context, wo_, bo.to(kind)), how.dropout[1])
        before = exact.add(moved, alpha=1 / kept(how.dropout[1]))
        middle, mean, spread = torch.native_layer_norm(before, g1.shape, g1, b1, how.eps[0])
        y = middle.to(kind)
        inner = nn.functional.linear(y, w1_, c1.to(kind))
        active = nn.functional.gelu(inner)
        moved, outer_mask = drop_some_(nn.functional.linear(active, w2_, c2.to(kind)), how.dropout[2])
        behind = middle.add(moved, alpha=1 / kept(how.dropout[2]))
        made, last_mean, last_spread = torch.native_layer_norm(behind, g2.shape, g2, b2, how.eps[1])
        ctx.save_for_backward(
            *(x, rows, context, out_mask, before, mean, spread),
            *(y, inner, active, outer_mask, behind, last_mean, last_spread),
            *(weight, wo_, w1_, w2_, g1, b1, g2, b2, *attention),
        )
        ctx.texts, ctx.how = texts, how
        return made

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        with torch.autocast(grad.device.type, enabled=False):
            return _backward(ctx, grad)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    (x, rows, context, out_mask, before, mean, spread, y, inner, active, outer_mask, behind, last_mean, last_spread) = (
        ctx.saved_tensors[:14]
    )
    (weight, wo, w1, w2, g1, b1, g2, b2), attention = ctx.saved_tensors[14:22], ctx.saved_tensors[22:]
    texts, how, kind = ctx.texts, ctx.how, ctx.how.precision
    wanted = ctx.needs_input_grad[3:]
    gradients: list[Tensor | None] = [None] * len(wanted)

    d_behind, *of_norm = _norm_backward(grad, behind, last_mean, last_spread, g2, b2)
    gradients[14:16] = of_norm
    d_moved = _undrop(d_behind, outer_mask, how.dropout[2], kind)
    gradients[12:14] = _of_linear(d_moved, active, wanted[12:14])
    d_inner = torch.ops.aten.gelu_backward(d_moved @ w2, inner)
    gradients[10:12] = _of_linear(d_inner, y, wanted[10:12])
    d_before, *of_norm = _norm_backward(d_behind.add_(d_inner @ w1), before, mean, spread, g1, b1)
    gradients[8:10] = of_norm
    d_moved = _undrop(d_before, out_mask, how.dropout[1], kind)
    gradients[6:8] = _of_linear(d_moved, context, wanted[6:8])
    if not (any(wanted[:6]) or ctx.needs_input_grad[0]):
        return None, None, None, *gradients

    d_context, width = d_moved @ wo, len(weight) // 3
    if how.first_only:
        d_joined, d_query = attend_backward(d_context, attention, how.heads, texts, how.dropout[0], first=True)
        assert d_query is not None
        gradients[0:2] = _of_linear(d_query, rows, wanted[0:2])
        gradients[2:6] = _split(_of_linear(d_joined, x, (any(wanted[2:6]),) * 2), 2)
        d_before.add_(d_query @ weight[:width])
        return (d_joined @ weight[width:]).float().index_add_(0, texts.first, d_before), None, None, *gradients
    if how.long:
        d_joined = attend_long_backward(d_context, attention, how.heads, texts, how.dropout[0])
    else:
        d_joined, _ = attend_backward(d_context, attention, how.heads, texts, how.dropout[0])
    gradients[0:6] = _split(_of_linear(d_joined, x, (any(wanted[0:6]),) * 2), 3)
    return d_before.add_(d_joined @ weight), None, None, *gradients


def _joined(tensors: tuple[Tensor, ...], kind: torch.dtype) -> Tensor:
    """Put weights one below the other, in the precision of the products."""
    whole = torch.empty(sum(map(len, tensors)), *tensors[0].shape[1:], dtype=kind, device=tensors[0].device)
    for part, tensor in zip(whole.chunk(len(tensors)), tensors, strict=True):
        part.copy_(tensor)
    return whole


def _undrop(grad: Tensor, mask: Tensor | None, p: float, kind: torch.dtype) -> Tensor:
    scaled = grad.mul(1 / kept(p)).to(kind)
    return scaled if mask is None else drop_(scaled, mask)


def _norm_backward(grad: Tensor, given: Tensor, mean: Tensor, spread: Tensor, gain: Tensor, bias: Tensor) -> Any:
    return torch.ops.aten.native_layer_norm_backward(
        grad.contiguous(), given, gain.shape, mean, spread, gain, bias, [True, True, True]
    )


def _of_linear(grad: Tensor, given: Tensor, wanted: tuple[bool, ...]) -> list[Tensor | None]:
    """Return the gradients of a weight and a bias, in fp32, where they are wanted."""
    weight = (grad.t() @ given).float() if wanted[0] else None
    return [weight, grad.sum(0).float() if wanted[1] else None]


def _split(pair: list[Tensor | None], parts: int) -> list[Tensor | None]:
    """Take the gradients of joined weights apart: weight, bias, weight, bias ..."""
    weight, bias = pair
    if weight is None or bias is None:
        return [None] * (2 * parts)
    return [one for both in zip(weight.chunk(parts), bias.chunk(parts), strict=True) for one in both]
