"""BitFit: which names, against peft's biases and the paper's share, and real steps in which nothing else moves."""

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from ftlab.errors import ArgumentError
from ftlab.experiments.tiny_run import batch, begun, freeze as freeze_words, go_on, model as small_bert, trained
from ftlab.formulas.bitfit import BitFit, bitfit
from ftlab.formulas.freeze import Freeze
from ftlab.models.load import Pretrained
from ftlab.parameters import roles
from ftlab.rule import Now
from ftlab.training.loop import begin, finish, step


def trainable(model):
    return [name for name, param in model.named_parameters() if param.requires_grad]


def prepared(model, fresh=()):
    origin = {name: param for name, param in model.named_parameters() if name not in fresh}
    return BitFit().prepare(model, Now(origin=origin))


def test_biases_and_the_head_are_trained_worked_by_hand():
    role = {"a.weight": "weight", "a.bias": "bias", "n.weight": "gain", "n.bias": "bias", "head.weight": "weight"}
    assert bitfit(role, ["head.weight"]) == ["a.bias", "n.bias", "head.weight"]
    assert bitfit(role) == ["a.bias", "n.bias"]
    assert bitfit({}) == []
    assert len(role) == 5


def test_the_names_are_the_biases_that_peft_marks_and_the_head():
    theirs = small_bert()
    inject_adapter_in_model(LoraConfig(bias="all", target_modules=["query"]), theirs.bert)
    marked = [name.replace(".base_layer", "") for name in trainable(theirs.bert) if "lora_" not in name]
    ours = trainable(prepared(small_bert()))
    assert ours == [f"bert.{name}" for name in marked] + ["classifier.weight", "classifier.bias"]


@pytest.mark.parametrize(
    ("layers", "width", "heads", "percent"),
    [(24, 1024, 16, 0.08), (12, 768, 12, 0.09)],
)
def test_the_biases_of_bert_are_the_share_that_the_paper_gives(layers, width, heads, percent):
    config = BertConfig(
        num_hidden_layers=layers, hidden_size=width, num_attention_heads=heads, intermediate_size=4 * width
    )
    with torch.device("meta"):
        model = BertForSequenceClassification(config).bert
    sizes = {name: param.numel() for name, param in model.named_parameters()}
    assert round(100 * sum(sizes[name] for name in bitfit(roles(model))) / sum(sizes.values()), 2) == percent


def test_in_real_steps_biases_and_head_move_and_nothing_else():
    before = {name: param.detach().clone() for name, param in small_bert().named_parameters()}
    state = begun([BitFit()])
    go_on(state, 3)
    moved = {name for name, param in state.model.named_parameters() if not torch.equal(param, before[name])}
    still = {f"bert.encoder.layer.{layer}.attention.self.key.bias" for layer in (0, 1)}  # softmax does not see them
    assert moved >= {name for name in before if name.endswith(".bias")} - still
    assert moved - {name for name in before if name.endswith(".bias")} == {"classifier.weight"}
    assert set(state.params) == moved | still
    assert len(state.optimizer.state) == len(state.params)


def test_what_was_not_in_the_checkpoint_is_the_head_wherever_it_is():
    fresh = frozenset({"bert.pooler.dense.weight", "bert.pooler.dense.bias"})
    state = begin(Pretrained(small_bert(), None, "tiny", None, fresh), [batch(0)], [BitFit()])
    assert [name for name in state.params if not name.endswith("bias")] == ["bert.pooler.dense.weight"]
    step(state, batch(0))


def test_a_plain_module_has_no_head_of_its_own_and_one_without_biases_has_nothing_to_train():
    model = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3), nn.Linear(3, 2))
    assert trainable(prepared(model)) == ["0.bias", "1.bias", "2.bias"]
    with pytest.raises(ArgumentError, match="BitFit: model must have biases or a head. Got none in Sequential"):
        begin(nn.Sequential(nn.Linear(2, 2, bias=False)), [batch(0)], [BitFit()])


def test_the_values_stay_and_at_the_end_all_that_it_froze_is_trainable_again_and_no_more():
    model, values = freeze_words(small_bert()), dict(small_bert().named_parameters())
    before = trainable(model)
    assert prepared(model) is model
    assert all(torch.equal(param, values[name]) for name, param in model.named_parameters())
    assert BitFit().finish(model, None) is model
    assert trainable(model) == before
    assert "bert.embeddings.word_embeddings.weight" not in before
    model.classifier.weight.requires_grad_(False)
    BitFit().finish(model, None)
    assert not model.classifier.weight.requires_grad


def test_a_frozen_bias_stays_frozen_beside_it_and_both_give_back_what_they_froze():
    state = begun([Freeze("*.LayerNorm.bias"), BitFit()])
    assert not any("LayerNorm" in name for name in state.params)
    assert all(name.endswith("bias") or name.startswith("classifier") for name in state.params)
    assert trainable(finish(state)) == trainable(small_bert())


def test_what_is_tied_is_chosen_once():
    model = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    model[1].weight, model[1].bias = model[0].weight, model[0].bias
    assert trainable(prepared(model)) == ["0.bias"]


def test_rule_says_what_it_trains():
    assert BitFit().equation == "θ = θ₀ except the biases and the head"
    assert "only the biases and the head" in BitFit().description
    assert "higher learning rate" in BitFit().cautions([])[0]
    assert all(param.requires_grad for param in trained([BitFit()], 1).model.parameters())


MUTANTS = (
    ('role == "bias" or name in head', 'role == "bias"'),
    ('role == "bias" or name in head', 'role != "weight" or name in head'),
    ('role == "bias" or name in head', '"bias" in name and name in head'),
    ("head_names(model, params, now.origin)", "head_names(model, params, ())"),
    ("head_names(model, params, now.origin)", "[]"),
    ("        unfreeze_params(model)\n", ""),
    (
        "freeze_params(params[name] for name in params.keys() - set(",
        "freeze_params(params[name] for name in params.keys() & set(",
    ),
)
