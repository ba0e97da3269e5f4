"""The one table of architectures: where a transformer's layer keeps its modules, and what its config calls them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Architecture:
    """The anatomy of one kind of layer in ``transformers``. A new kind is one more entry in :data:`ARCHITECTURES`."""

    layers: tuple[str, ...]
    """The classes of such layers."""
    modules: Mapping[str, str]
    """The path of each part inside the layer.

    Matrices: ``query``, ``key``, ``value`` (one path three times if one matrix computes all), ``out``, ``inner`` and
    ``outer`` (of the feed-forward block), ``gate`` (whose activation multiplies ``inner``'s output, where there is one). Norms: ``attention_norm``, ``feed_forward_norm``. Then ``activation`` and the
    dropouts: ``attention_dropout`` (of the probabilities), ``out_dropout``, ``outer_dropout``.
    """
    pre_norm: bool
    """Whether the norms stand before attention and feed-forward block, or behind their residual sums."""
    heads: str
    """The attribute of the attention module that holds the number of heads; empty if only the config has it."""
    neurons: str
    """The field of the config that holds the number of feed-forward neurons."""


BERT = Architecture(
    layers=("BertLayer", "RobertaLayer", "ElectraLayer", "XLMRobertaLayer"),
    modules={
        "query": "attention.self.query",
        "key": "attention.self.key",
        "value": "attention.self.value",
        "out": "attention.output.dense",
        "attention_norm": "attention.output.LayerNorm",
        "inner": "intermediate.dense",
        "outer": "output.dense",
        "feed_forward_norm": "output.LayerNorm",
        "activation": "intermediate.intermediate_act_fn",
        "attention_dropout": "attention.self.dropout",
        "out_dropout": "attention.output.dropout",
        "outer_dropout": "output.dropout",
    },
    pre_norm=False,
    heads="num_attention_heads",
    neurons="intermediate_size",
)
GPT2 = Architecture(
    layers=("GPT2Block",),
    modules={
        "query": "attn.c_attn",
        "key": "attn.c_attn",
        "value": "attn.c_attn",
        "out": "attn.c_proj",
        "attention_norm": "ln_1",
        "inner": "mlp.c_fc",
        "outer": "mlp.c_proj",
        "feed_forward_norm": "ln_2",
        "activation": "mlp.act",
        "attention_dropout": "attn.attn_dropout",
        "out_dropout": "attn.resid_dropout",
        "outer_dropout": "mlp.dropout",
    },
    pre_norm=True,
    heads="num_heads",
    neurons="n_inner",
)
DISTILBERT = Architecture(
    layers=("TransformerBlock",),
    modules={
        "query": "attention.q_lin",
        "key": "attention.k_lin",
        "value": "attention.v_lin",
        "out": "attention.out_lin",
        "attention_norm": "sa_layer_norm",
        "inner": "ffn.lin1",
        "outer": "ffn.lin2",
        "feed_forward_norm": "output_layer_norm",
        "activation": "ffn.activation",
        "attention_dropout": "attention.dropout",
        "outer_dropout": "ffn.dropout",
    },
    pre_norm=False,
    heads="n_heads",
    neurons="hidden_dim",
)
LLAMA = Architecture(
    layers=("LlamaDecoderLayer", "MistralDecoderLayer", "Qwen2DecoderLayer"),
    modules={
        "query": "self_attn.q_proj",
        "key": "self_attn.k_proj",
        "value": "self_attn.v_proj",
        "out": "self_attn.o_proj",
        "attention_norm": "input_layernorm",
        "gate": "mlp.gate_proj",
        "inner": "mlp.up_proj",
        "outer": "mlp.down_proj",
        "feed_forward_norm": "post_attention_layernorm",
        "activation": "mlp.act_fn",
    },
    pre_norm=True,
    heads="",
    neurons="intermediate_size",
)
ARCHITECTURES = (BERT, GPT2, DISTILBERT, LLAMA)
_BY_LAYER = {name: architecture for architecture in ARCHITECTURES for name in architecture.layers}

LAYERS_DIFFER = ("is_encoder_decoder", "layer_types", "scale_attn_by_inverse_layer_idx")
"""Config fields of models whose layers depend on their index, so that a model with fewer layers would load differently."""


def architecture_of(layer: nn.Module) -> Architecture | None:
    """Return the table's entry for a layer of ``transformers``; None for any other module.

    >>> architecture_of(nn.Linear(2, 2)) is None
    True
    """
    known = type(layer).__module__.startswith("transformers.")
    return _BY_LAYER.get(type(layer).__name__) if known else None


def feed_forward(layer: nn.Module) -> tuple[tuple[Any, ...], Any] | None:
    """Return the matrices into a layer's feed-forward neurons and the one out of them; None if it is of no kind in the table.

    The layer may be of a class that is not in the table: the paths decide.

    >>> feed_forward(nn.Linear(2, 2)) is None
    True
    """
    inside = dict(layer.named_modules())
    for modules in (architecture.modules for architecture in ARCHITECTURES):
        ins = [modules[part] for part in ("gate", "inner") if part in modules]
        if all(path in inside for path in (*ins, modules["outer"])):
            return tuple(inside[path] for path in ins), inside[modules["outer"]]
    return None


def neurons_field(config: Any) -> str | None:
    """Return the name of the config's field for the number of feed-forward neurons; None if it has none of the table.

    >>> neurons_field(nn.Linear(2, 2)) is None
    True
    """
    return next((one.neurons for one in ARCHITECTURES if hasattr(config, one.neurons)), None)


def first_position(body: nn.Module) -> int:
    """Return the index of a text's first position.

    It is 0, but RoBERTa's kind of position embedding reserves the indices up to that of the padding token.

    >>> first_position(nn.ModuleDict({"position_embeddings": nn.Embedding(9, 2, padding_idx=1)}))
    2
    """
    embeddings = (module for name, module in body.named_modules() if name.endswith("position_embeddings"))
    padding = getattr(next(embeddings, None), "padding_idx", None)
    return 0 if padding is None else padding + 1
