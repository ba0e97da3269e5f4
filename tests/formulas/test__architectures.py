"""The table of architectures agrees with the models of transformers."""

import pytest
from torch import nn

from ftlab.formulas._architectures import ARCHITECTURES, architecture_of, feed_forward, first_position, neurons_field
from ftlab.parameters import layer_stack
from tests.engines.fast.models import MODELS, made


@pytest.mark.parametrize("kind", MODELS)
def test_every_path_of_the_table_leads_to_a_module_of_the_model(kind):
    net = made(kind)
    for layer in layer_stack(net)[1]:
        architecture = architecture_of(layer)
        parts = {part: layer.get_submodule(path) for part, path in architecture.modules.items()}
        assert all(isinstance(parts[name], nn.Dropout) for name in parts if name.endswith("dropout"))
        assert all(type(parts[name]).__name__.endswith("Norm") for name in parts if name.endswith("norm"))
        attention = layer.get_submodule(architecture.modules["query"].rpartition(".")[0])
        assert (getattr(attention, architecture.heads) if architecture.heads else net.config.num_attention_heads) == 2
        ins = tuple(parts[name] for name in ("gate", "inner") if name in parts)
        assert feed_forward(layer) == (ins, parts["outer"])
    assert neurons_field(net.config) == architecture.neurons


def test_the_small_models_cover_the_table():
    kinds = [architecture_of(layer_stack(made(kind))[1][0]) for kind in MODELS]
    assert all(architecture in kinds for architecture in ARCHITECTURES)


@pytest.mark.parametrize("kind", MODELS)
def test_positions_start_after_the_padding_index_in_roberta_only(kind):
    assert first_position(made(kind).base_model) == (2 if kind == "roberta" else 0)


def test_a_layer_of_the_same_name_from_elsewhere_is_not_known():
    layer = type("BertLayer", (nn.Module,), {})()
    assert architecture_of(layer) is None
    assert feed_forward(layer) is None
