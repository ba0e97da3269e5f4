"""Redraw, formula (3) as a new beginning: its distribution by scipy, and its laws."""

import copy
import math

import pytest
import torch
from scipy import stats
from torch import nn

from ftlab.errors import ArgumentError
from ftlab.experiments.tiny_run import model as small_bert
from ftlab.formulas.l2_sp import L2SP
from ftlab.formulas.redraw import Redraw, RedrawTop, redraw
from ftlab.formulas.warmup import WarmupLinear
from ftlab.recipes.conflicts import conflicts
from ftlab.rule import Now


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def params():
    shapes = {"weight": (100, 80), "norm.weight": (80,), "bias": (80,)}
    return {name: 5 + torch.randn(shape, generator=seeded(9)) for name, shape in shapes.items()}


def small_model():
    return nn.Sequential(nn.Linear(40, 30), nn.LayerNorm(30), nn.Linear(30, 20))


@pytest.mark.parametrize("std", [0.02, 3.0])
def test_weights_are_normal_around_zero_with_the_given_spread(params, std):
    drawn = redraw(params, std, seeded())["weight"].flatten().double().numpy()
    assert abs(drawn.mean()) < 4 * std / math.sqrt(8000)
    assert drawn.std() == pytest.approx(std, rel=0.03)
    assert abs(drawn).max() > 3 * std  # a truncated normal would stop at two
    assert stats.kstest(drawn, stats.norm(0, std).cdf).pvalue > 0.01


def test_gains_become_one_and_biases_zero(params):
    new = redraw(params, 0.02, seeded(), gains=["norm.weight"], biases=["bias"])
    assert torch.equal(new["norm.weight"], torch.ones(80))
    assert torch.equal(new["bias"], torch.zeros(80))
    assert new["weight"].std() == pytest.approx(0.02, rel=0.03)


def test_nothing_of_what_was_learned_remains(params):
    other = {name: -7 * param for name, param in params.items()}
    first, second = (redraw(some, 0.02, seeded()) for some in (params, other))
    assert all(torch.equal(first[name], second[name]) for name in params)


def test_spread_zero_makes_the_weights_zero(params):
    assert (redraw(params, 0, seeded())["weight"] == 0).all()


def test_a_double_spread_doubles_what_is_drawn(params):
    assert torch.equal(redraw(params, 0.04, seeded())["weight"], 2 * redraw(params, 0.02, seeded())["weight"])


def test_the_same_seed_draws_the_same_and_another_seed_another(params):
    first, again, other = (redraw(params, 0.02, seeded(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in params)
    assert not any(torch.equal(first[name], other[name]) for name in params)
    assert not torch.equal(first["bias"], first["norm.weight"])


def test_rule_draws_weights_and_sets_gains_and_biases_in_place():
    model, now = small_model(), Now(seed=3, index=1)
    kept = dict(model.named_parameters())
    with torch.no_grad():
        for param in kept.values():
            param.fill_(5)
    kept["0.weight"].requires_grad_(False)
    assert Redraw("*").prepare(model, now) is model
    expected = redraw({name: kept[name].detach() for name in ("0.weight", "2.weight")}, 0.02, now.generator)
    for name, param in model.named_parameters():
        assert param is kept[name]
        assert param.requires_grad == (name != "0.weight")
    assert all(torch.equal(kept[name], weight) for name, weight in expected.items())
    assert torch.equal(model[1].weight, torch.ones(30))
    assert not any(kept[name].any() for name in ("0.bias", "1.bias", "2.bias"))


def test_rule_draws_with_its_own_spread_and_seed():
    first, second = (Redraw("0.weight", 0.5).prepare(small_model(), Now(seed=seed))[0].weight for seed in (1, 2))
    assert first.std().item() == pytest.approx(0.5, rel=0.1)
    assert not torch.equal(first, second)


def test_rule_touches_only_what_its_pattern_matches():
    model = small_model()
    before = copy.deepcopy(model)
    Redraw(("2.*", "0.bias")).prepare(model, Now())
    changed = {name for name, one in before.named_parameters() if not torch.equal(one, model.get_parameter(name))}
    assert changed == {"0.bias", "2.weight", "2.bias"}


def test_rule_refuses_a_pattern_that_matches_nothing():
    with pytest.raises(ArgumentError, match=r"pattern '9\.\*' must match a parameter. Got none of 6 names"):
        Redraw("9.*").prepare(small_model(), Now())


def test_rules_that_draw_back_to_the_loaded_weights_are_named():
    for rule, name in ((Redraw("*.1.*"), "Redraw"), (RedrawTop(), "RedrawTop")):
        assert conflicts([rule, WarmupLinear()]) == []
        (said,) = conflicts([rule, L2SP(0.1), WarmupLinear()])
        assert said == f"The θ₀ of L2SP is the loaded weights, so the change by {name} is pulled back."


def test_no_tensors_and_a_single_number_are_drawn_as_any():
    assert redraw({}, 0.02, seeded()) == {}
    new = redraw({"one": torch.tensor(5.0), "gain": torch.tensor([3.0])}, 0.02, seeded(), gains=["gain"])
    assert new["one"].shape == ()
    assert 0 < abs(new["one"].item()) < 0.2
    assert torch.equal(new["gain"], torch.ones(1))


def test_rule_tells_what_it_draws():
    assert Redraw("pooler.*").equation == "θ₀[pooler.*] ← ε,  ε ~ N(0, 0.02²)"
    assert "re-initialise pooler.*: normal with standard deviation 0.02" in Redraw("pooler.*").description
    assert Redraw("pooler.*").cautions([]) == []


def changed_by(rule, net):
    before = copy.deepcopy(net)
    assert rule.prepare(net, Now(seed=3)) is net
    return {name for name, one in before.named_parameters() if not torch.equal(one, net.get_parameter(name))}


@pytest.mark.parametrize(("layers", "blocks"), [(1, [1]), (2, [0, 1])])
def test_the_top_layers_and_the_pooler_begin_anew_as_in_the_authors_loop(layers, blocks):
    net = small_bert()
    with torch.no_grad():
        for param in net.parameters():
            param.fill_(5)
    assert len(net.bert.encoder.layer) == 2
    expected = {f"bert.pooler.dense.{one}" for one in ("weight", "bias")}
    for block in blocks:
        expected |= {
            f"bert.encoder.layer.{block}.{name}" for name, _ in net.bert.encoder.layer[block].named_parameters()
        }
    assert changed_by(RedrawTop(layers), net) == expected
    for module in [net.bert.pooler, *(net.bert.encoder.layer[block] for block in blocks)]:
        for one in module.modules():
            if isinstance(one, nn.Linear):
                assert abs(one.weight.mean()) < 0.01
                assert one.weight.std().item() == pytest.approx(0.02, rel=0.25)
                assert not one.bias.any()
            if isinstance(one, nn.LayerNorm):
                assert torch.equal(one.weight, torch.ones(16))
                assert not one.bias.any()


def test_the_top_is_what_redraw_gives_for_the_same_names_and_seed():
    first, second = small_bert(), small_bert()
    RedrawTop(1, 0.5).prepare(first, Now(seed=4))
    Redraw(("*.layer.1.*", "*.pooler.*"), 0.5).prepare(second, Now(seed=4))
    assert all(torch.equal(one, second.get_parameter(name)) for name, one in first.named_parameters())


def test_a_model_without_a_list_of_layers_is_a_chain_whose_last_part_is_the_head():
    net = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False), nn.ReLU(), nn.Linear(4, 2))
    assert changed_by(RedrawTop(1), net) == {"1.weight"}


def test_more_layers_than_there_are_are_refused():
    with pytest.raises(
        ArgumentError, match="RedrawTop: layers must be at most 2, the number of layers of the model. Got 3. Use Redraw"
    ):
        RedrawTop(3).prepare(small_bert(), Now())


def test_the_rule_of_the_top_tells_what_it_draws():
    assert RedrawTop(2).equation == "θ₀[top 2, pooler] ← ε,  ε ~ N(0, 0.02²)"
    assert "re-initialise the top layer and the pooler" in RedrawTop().description
    assert "re-initialise the top 2 layers and the pooler" in RedrawTop(2).description


MUTANTS = (
    ("head - self.layers <= index < head", "head - self.layers < index < head"),
    (' or (index == head and "pooler" in name.split("."))', ""),
    ("if self.layers >= head:", "if self.layers > head:"),
    ("new[name] = torch.ones_like(param)", "new[name] = torch.zeros_like(param)"),
    ("generator=generator) * std", "generator=generator) + std"),
    ("torch.randn(param.shape", "torch.rand(param.shape"),
    ('if role[name] == "gain"', 'if role[name] == "bias"'),
    ("elif name in biases:", "elif not biases:"),
)
