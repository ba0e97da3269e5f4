"""Layer-wise decay: by hand, against the authors' walk and ELECTRA's bug, in real steps, and its laws."""

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from ftlab.experiments.tiny_run import begun, go_on
from ftlab.formulas.decay import Decay
from ftlab.formulas.layerwise_decay import LayerwiseDecay, layerwise_decay
from ftlab.parameters import depths
from ftlab.rule import Now
from ftlab.training.loop import begin, step

SIZES = {"vocab_size": 20, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8}


@pytest.fixture(scope="module")
def twelve():
    """A BERT of twelve layers, so that there is a layer 1 and a layer 10."""
    with torch.device("meta"):
        return BertForSequenceClassification(BertConfig(num_hidden_layers=12, **SIZES))


def rates_of(model, lr, factor):
    return layerwise_decay({name: lr for name, _ in model.named_parameters()}, depths(model), factor)


def test_each_layer_down_costs_one_factor_worked_by_hand():
    # the top is 3; factor 1/2: 8 stays, then 8/2, 8/4, and at the bottom 4/8
    new = layerwise_decay(
        {"head": 8.0, "layer.1": 8.0, "layer.0": 8.0, "words": 4.0},
        {"words": 0, "layer.0": 1, "layer.1": 2, "head": 3},
        0.5,
    )
    assert new == {"head": 8.0, "layer.1": 4.0, "layer.0": 2.0, "words": 0.5}


@pytest.mark.parametrize("factor", [0.5, 0.8, 0.95])
def test_rates_equal_a_walk_from_the_top_down(twelve, factor):
    """Zhang et al. go down the modules themselves, and shorten the rate before each layer."""
    lr, expected = 2e-5, {}
    for top in (twelve.classifier, twelve.bert.pooler):
        expected |= {id(param): lr for param in top.parameters()}
    for layer in [*reversed(list(twelve.bert.encoder.layer)), twelve.bert.embeddings]:
        lr *= factor
        expected |= {id(param): lr for param in layer.parameters()}
    found = rates_of(twelve, 2e-5, factor)
    for name, param in twelve.named_parameters():
        assert found[name] == pytest.approx(expected[id(param)], rel=1e-12), name


def test_the_top_layer_has_one_factor_where_electras_code_gives_it_two(twelve):
    """ELECTRA's optimizer gives the task layer the depth n + 2, so nothing has the depth n + 1."""
    factor, layers, names = 0.8, 12, [name for name, _ in twelve.named_parameters()]
    keys = {"bert.embeddings.": 0} | {f"encoder.layer.{i}.": i + 1 for i in range(layers)}
    keys |= {"classifier.": layers + 2, "pooler.": layers + 2}
    theirs = {name: factor ** (layers + 2 - next(keys[key] for key in keys if key in name)) for name in names}
    ours = rates_of(twelve, 1.0, factor)
    top, words = "bert.encoder.layer.11.output.dense.bias", "bert.embeddings.word_embeddings.weight"
    assert (theirs[top], ours[top]) == (pytest.approx(0.64), 0.8)
    assert (theirs[words], ours[words]) == (pytest.approx(0.8**14), pytest.approx(0.8**13))
    for name in names:  # apart from the head, theirs is one factor short of the paper everywhere
        assert theirs[name] == pytest.approx(ours[name] * (1 if depths(twelve)[name] == 13 else 0.8))


def test_layer_1_has_not_the_rate_of_layer_10(twelve):
    found = rates_of(twelve, 1.0, 0.5)
    rates = {layer: {found[name] for name in found if f".layer.{layer}." in name} for layer in range(12)}
    assert rates == {layer: {0.5 ** (12 - layer)} for layer in range(12)}


def test_only_the_distance_from_the_top_counts_and_a_top_that_is_not_trained_counts_too():
    rates = {"a": 1.0, "b": 1.0}
    assert layerwise_decay(rates, {"a": 0, "b": 2}, 0.5) == layerwise_decay(rates, {"a": 5, "b": 7}, 0.5)
    assert layerwise_decay(rates, {"a": 0, "b": 1, "head": 2}, 0.5) == {"a": 0.25, "b": 0.5}
    assert layerwise_decay({}, {}, 0.5) == {}
    assert layerwise_decay({"a": 0, "b": 1.0}, {"a": 0, "b": 1}, 0.5) == {"a": 0, "b": 1.0}


def test_rule_remembers_the_depths_from_the_start_and_shrinks_the_rates_by_them(twelve):
    rule = LayerwiseDecay(0.9)
    memory = rule.start(twelve, None, None, Now())
    assert memory == depths(twelve)
    rates = {name: 3e-5 for name, _ in twelve.named_parameters()}
    new, after = rule.schedule(rates, memory, Now(step=3))
    assert new == rates_of(twelve, 3e-5, 0.9)
    assert after == memory


def test_in_real_steps_each_parameter_gets_its_own_rate_beside_another_schedule():
    state = begun([LayerwiseDecay(0.5), Decay(0.1, per="step")])
    go_on(state, 2)
    applied = {id(param): group["lr"] for group in state.optimizer.param_groups for param in group["params"]}
    # the rate 0.01 is 0.001 at the second step; two layers: 0.001, then 1/2, 1/4 and 1/8 of it
    rates = {name: applied[id(param)] for name, param in state.params.items()}
    parts = {"classifier": 1.0, "pooler": 1.0, "layer.1.": 0.5, "layer.0.": 0.25, "embeddings": 0.125}
    for part, share in parts.items():
        chosen = {lr for name, lr in rates.items() if part in name}
        assert list(chosen) == pytest.approx([0.001 * share], rel=1e-12), part


def test_in_a_real_step_of_plain_descent_an_update_is_as_long_as_its_rate_says():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))
    before = {name: param.detach().clone() for name, param in net.named_parameters()}
    data = {"inputs": torch.randn(5, 3), "labels": torch.randint(2, (5,))}

    def loss(model, part):
        return nn.functional.cross_entropy(model(part["inputs"]), part["labels"])

    state = begin(net, [data], [LayerwiseDecay(0.25)], lr=0.5, loss=loss, optimizer="sgd")
    step(state, data)
    for name, share in {"0": 0.25**2, "2": 0.25, "4": 1.0}.items():
        param = state.params[f"{name}.weight"]
        assert torch.equal(param, before[f"{name}.weight"] - 0.5 * share * param.grad)


def test_where_the_head_is_frozen_it_is_still_the_top():
    def freeze_head(net):
        net.classifier.requires_grad_(False)
        net.bert.pooler.requires_grad_(False)
        return net

    state = begun([LayerwiseDecay(0.5)], change=freeze_head)
    go_on(state, 1)
    assert max(group["lr"] for group in state.optimizer.param_groups) == 0.005


def test_rule_tells_its_factor_and_has_no_cautions():
    assert LayerwiseDecay(0.8).equation == "α_k ← α_k·0.8^(layers above k)"
    assert "each layer below 0.8 times the rate of the layer above" in LayerwiseDecay(0.8).description
    assert LayerwiseDecay(0.8).cautions([]) == []


MUTANTS = (
    ("factor ** (top - depths[name])", "factor ** (top + 1 - depths[name])"),
    ("factor ** (top - depths[name])", "factor ** depths[name]"),
    ("max(depths.values(), default=0)", "max((depths[name] for name in rates), default=0)"),
    ("lr * factor **", "lr * factor *"),
    ("above=0, at_most=1", "above=0"),
)
