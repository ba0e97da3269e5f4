"""Remove layers: which stay, against DistilBERT's choice, and what is left of a model."""

import itertools

import pytest
import torch
from torch import nn

from ftlab.errors import ArgumentError
from ftlab.experiments.conformance import examine
from ftlab.experiments.tiny_run import batch, begun, go_on, model as small_bert
from ftlab.formulas.remove_layers import RemoveLayers, layers_to_keep, remove_layers
from ftlab.rule import Now

DISTILBERT = [0, 2, 4, 7, 9, 11]  # the layers of BERT that it was begun with


def bert_of(layers):
    from transformers import BertConfig, BertForSequenceClassification

    sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 50}
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return BertForSequenceClassification(BertConfig(num_hidden_layers=layers, **sizes)).eval()


def test_layers_that_stay_worked_by_hand():
    assert layers_to_keep(6, 4) == [0, 1, 2, 3]
    assert layers_to_keep(6, 4, "bottom") == [2, 3, 4, 5]
    assert layers_to_keep(7, 3, "even") == [0, 3, 6]
    assert layers_to_keep(6, 1, "even") == [0]
    assert layers_to_keep(12, 6, "even") == DISTILBERT


@pytest.mark.parametrize("drop", ["top", "bottom", "even"])
def test_as_many_stay_as_were_asked_for_each_once_in_order(drop):
    for layers, keep in itertools.product(range(1, 14), range(1, 16)):
        found = layers_to_keep(layers, keep, drop)
        assert len(found) == min(layers, keep)
        assert found == sorted(set(found))
        assert set(found) <= set(range(layers))
    assert layers_to_keep(5, 5, drop) == layers_to_keep(5, 1000, drop) == [0, 1, 2, 3, 4]


def test_even_spacing_keeps_the_ends_and_leaves_no_gap_wider_than_needed():
    for layers in range(2, 25):
        for keep in range(2, layers + 1):
            found = layers_to_keep(layers, keep, "even")
            gaps = [after - before for before, after in itertools.pairwise(found)]
            assert (found[0], found[-1]) == (0, layers - 1)
            assert max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize("keep", [0, -1, 1.5, "4", None, True])
def test_a_number_that_cannot_be_meant_is_refused(keep):
    match = ": keep must be a whole number of at least 1. Got .* 4 of 6 is a first try"
    with pytest.raises(ArgumentError, match=f"^layers_to_keep{match}"):
        layers_to_keep(6, keep)
    with pytest.raises(ArgumentError, match=f"^RemoveLayers{match}"):
        RemoveLayers(keep)


def test_other_arguments_that_cannot_be_meant_are_refused():
    with pytest.raises(ArgumentError, match="^layers_to_keep: layers must be a whole number"):
        layers_to_keep(0, 1)
    for call in (lambda: layers_to_keep(6, 4, "odd"), lambda: RemoveLayers(4, "odd")):
        with pytest.raises(ArgumentError, match="drop must be one of 'top', 'bottom', 'even'. Got 'odd'"):
            call()
    with pytest.raises(ArgumentError, match="^RemoveLayers: model must have a list of layers"):
        RemoveLayers(1).prepare(nn.Linear(2, 2), Now())


@pytest.mark.parametrize(("drop", "kept"), [("top", [0, 1, 2]), ("bottom", [2, 3, 4]), ("even", [0, 2, 4])])
def test_the_layers_that_stay_are_the_very_same_and_run_one_after_the_other(drop, kept):
    net = bert_of(5)
    before = list(net.bert.encoder.layer)
    inputs = {name: tensor for name, tensor in batch(0).items() if name != "labels"}
    remove_layers(net, 3, drop)
    assert [before.index(layer) for layer in net.bert.encoder.layer] == kept
    assert net.config.num_hidden_layers == net.bert.config.num_hidden_layers == 3
    assert [layer.attention.self.layer_idx for layer in net.bert.encoder.layer] == [0, 1, 2]
    with torch.no_grad():
        states = net(**inputs, output_hidden_states=True).hidden_states
        expected = states[0]
        for index in kept:
            expected = before[index](expected)
    torch.testing.assert_close(states[-1], expected, rtol=0, atol=1e-6)


def test_keeping_all_leaves_the_model_as_it_is_and_says_so(mentioned):
    net = small_bert()
    before = dict(net.named_parameters())
    assert RemoveLayers(2).prepare(net, Now()) is net
    assert all(param is before[name] for name, param in net.named_parameters())
    assert "RemoveLayers: the model has 2 layers, so none is removed." in mentioned()
    RemoveLayers(1).prepare(net, Now())
    assert mentioned().count("none is removed") == 1


def test_models_whose_layers_are_not_alike_are_refused_since_they_would_open_as_others():
    from transformers import (
        BartConfig,
        BartForSequenceClassification,
        GPT2Config,
        GPT2ForSequenceClassification,
        Qwen2Config,
        Qwen2ForSequenceClassification,
    )

    sizes = {"d_model": 8, "encoder_attention_heads": 2, "decoder_attention_heads": 2, "max_position_embeddings": 16}
    widths = {"encoder_ffn_dim": 8, "decoder_ffn_dim": 8, "encoder_layers": 2, "decoder_layers": 2}
    bart = BartForSequenceClassification(BartConfig(vocab_size=20, **sizes, **widths))
    gpt2 = {"vocab_size": 20, "n_embd": 8, "n_layer": 2, "n_head": 2, "n_positions": 16}
    scaled = GPT2ForSequenceClassification(GPT2Config(**gpt2, scale_attn_by_inverse_layer_idx=True))
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "num_hidden_layers": 2}
    qwen = Qwen2ForSequenceClassification(
        Qwen2Config(vocab_size=20, hidden_size=8, intermediate_size=8, pad_token_id=0, **heads)
    )
    for net, said in ((bart, "is_encoder_decoder"), (scaled, "scale_attn_by_inverse"), (qwen, "layer_types")):
        match = f"^RemoveLayers: model must have one stack of layers that are all alike. Got {type(net).__name__} with {said}"
        before = len(list(net.parameters()))
        with pytest.raises(ArgumentError, match=match):
            remove_layers(net, 1)
        assert len(list(net.parameters())) == before


def test_rule_keeps_the_contract_where_it_does_remove():
    for rule in (RemoveLayers(1), RemoveLayers(1, "bottom")):
        assert examine(rule) == []


def test_rule_in_a_training_trains_what_is_left():
    state = begun([RemoveLayers(1, "bottom")])
    upper = dict(small_bert().named_parameters())
    names = [name for name in state.params if ".layer." in name]
    assert names
    assert all(".layer.0." in name for name in names)
    assert all(torch.equal(state.params[name], upper[name.replace(".layer.0.", ".layer.1.")]) for name in names)
    go_on(state, 1)
    assert not torch.equal(state.params[names[0]], upper[names[0].replace(".layer.0.", ".layer.1.")])


def test_rule_tells_which_layers_stay():
    assert RemoveLayers(4).equation == "θ₀ ← θ₀ of 4 layers, the lowest"
    assert RemoveLayers(3, "even").equation == "θ₀ ← θ₀ of 3 layers, evenly spaced"
    assert [
        RemoveLayers(4, drop).description.split(", ")[1].removesuffix(" and take the others out")
        for drop in ("top", "bottom", "even")
    ] == ["the lowest", "the highest", "evenly spaced"]
    assert RemoveLayers(4).cautions([]) == []


MUTANTS = (
    ('if drop == "bottom" else', 'if drop != "bottom" else'),
    ("(layers - 1) / (keep - 1)", "layers / keep"),
    ("round(index *", "int(index *"),
    ("if keep >= layers:", "if keep > layers + 999:"),
    ("config.num_hidden_layers = len(kept)", "pass"),
    ("module.layer_idx = index", "pass"),
    ("    if unlike:", "    if not net:"),
    ("in LAYERS_DIFFER if", "in LAYERS_DIFFER[:1] if"),
    ('if drop == "even" and keep > 1:', 'if drop == "even" and keep > 2:'),
)
