"""Reinit, formula (3) as noise: its moments and distribution by scipy, and its laws."""

import copy
import math

import pytest
import torch
from scipy import stats
from torch import nn

from ftlab.errors import ArgumentError
from ftlab.experiments.tiny_run import begun, model as small_bert
from ftlab.formulas.l2_sp import L2SP
from ftlab.formulas.reinit import Reinit, reinit
from ftlab.rule import Now


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def params():
    draw = seeded(5)
    return {
        "wide": 3 + 2 * torch.randn(300, 200, generator=draw, dtype=torch.double),
        "narrow": 0.1 * torch.randn(50, 40, generator=draw, dtype=torch.double),
    }


def noise(params, scale, seed=0):
    return {name: (new - params[name]).flatten() for name, new in reinit(params, scale, seeded(seed)).items()}


@pytest.mark.parametrize("scale", [0.15, 2.0])
def test_noise_is_uniform_within_half_the_scale_of_each_matrix_own_spread(params, scale):
    for name, drawn in noise(params, scale).items():
        spread = stats.tstd(params[name].flatten().numpy())
        found = stats.describe(drawn.numpy())
        reach = scale * spread / 2
        assert -reach <= found.minmax[0] < -0.99 * reach
        assert 0.99 * reach < found.minmax[1] <= reach
        error = scale * spread / math.sqrt(12 * found.nobs)  # of the mean
        assert abs(found.mean) < 4 * error
        assert math.sqrt(found.variance) == pytest.approx(scale * spread / math.sqrt(12), rel=0.03)
        assert stats.kstest(drawn.numpy(), stats.uniform(-reach, 2 * reach).cdf).pvalue > 0.01


def test_the_usual_scale_has_a_spread_of_4_3_percent_of_the_matrix(params):
    assert noise(params, 0.15)["wide"].std() / params["wide"].std() == pytest.approx(0.0433, abs=2e-4)


def test_the_spread_is_that_of_a_sample_worked_by_hand():
    # (-1, 1) has the variance (1 + 1) / (2 - 1) = 2, so that a scale of 1 reaches ±√2/2 = ±0.7071
    pairs = {str(pair): torch.tensor([-1.0, 1.0]) for pair in range(1000)}
    drawn = torch.cat(list(noise(pairs, 1.0).values())).abs()
    assert 0.70 < drawn.max() <= math.sqrt(2) / 2 + 1e-6


def test_noise_differs_from_entry_to_entry_and_from_name_to_name():
    drawn = noise({"a": torch.arange(100.0), "b": torch.arange(100.0)}, 1.0)
    assert len(set(torch.cat(list(drawn.values())).tolist())) > 190


@pytest.mark.parametrize("still", [torch.ones(7, 31), torch.tensor([3.0]), torch.tensor(3.0), torch.zeros(4)])
def test_a_tensor_without_spread_stays(still):
    assert torch.equal(reinit({"w": still}, 0.5, seeded())["w"], still)


def test_no_tensors_and_empty_ones_are_taken_as_they_are():
    assert reinit({}, 0.5, seeded()) == {}
    assert reinit({"none": torch.zeros(0, 3)}, 0.5, seeded())["none"].shape == (0, 3)


def test_rules_that_need_the_loaded_weights_have_them_without_the_noise():
    state = begun([Reinit(0.5), L2SP(0.1)])
    loaded = dict(small_bert().named_parameters())
    origin = state.now(1).origin
    assert all(torch.equal(origin[name], param) for name, param in loaded.items())
    name = "bert.encoder.layer.0.output.dense.weight"
    assert not torch.equal(state.params[name], loaded[name])


def test_noise_follows_the_unit_of_the_matrix_but_not_its_mean(params):
    drawn = noise(params, 0.5)["wide"]
    moved = {"wide": 8 * params["wide"] + 100}
    torch.testing.assert_close(noise(moved, 0.5)["wide"], 8 * drawn, rtol=1e-9, atol=1e-11)


def test_the_same_seed_gives_the_same_noise_and_another_seed_another(params):
    first, again, other = (reinit(params, 0.15, seeded(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in params)
    assert not any(torch.equal(first[name], other[name]) for name in params)


def test_the_noise_depends_on_the_generator_alone(params):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        first = reinit(params, 0.15, seeded())
        torch.manual_seed(2)
        assert torch.equal(reinit(params, 0.15, seeded())["wide"], first["wide"])


def test_rule_adds_the_noise_of_the_formula_in_place_and_keeps_what_is_trained():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2)).double()
    model[0].weight.requires_grad_(False)
    before, now = copy.deepcopy(model), Now(seed=3, index=1)
    kept = dict(model.named_parameters())
    assert Reinit(0.4).prepare(model, now) is model
    expected = reinit({name: one.detach() for name, one in before.named_parameters()}, 0.4, now.generator)
    for name, param in model.named_parameters():
        assert param is kept[name]
        assert torch.equal(param, expected[name])
        assert param.requires_grad == (name != "0.weight")
    assert not torch.equal(model[2].weight, before[2].weight)
    torch.testing.assert_close(dict(model.named_buffers()), dict(before.named_buffers()), rtol=0, atol=0)


def test_rule_touches_only_what_its_pattern_matches():
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    before = copy.deepcopy(model)
    Reinit(0.15, ("1.*", "0.bias")).prepare(model, Now())
    changed = {name for name, one in before.named_parameters() if not torch.equal(one, model.get_parameter(name))}
    assert changed == {"0.bias", "1.weight", "1.bias"}


def test_rule_adds_noise_to_tied_weights_once():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    before = model[0].weight.detach().clone()
    Reinit(1.0, "*.weight").prepare(model, Now())
    assert model[1].weight is model[0].weight
    assert torch.equal(model[0].weight, reinit({"0.weight": before}, 1.0, Now().generator)["0.weight"])


def test_rule_refuses_a_pattern_that_matches_nothing():
    with pytest.raises(ArgumentError, match=r"pattern '9\.\*' must match a parameter. Got none of 2 names"):
        Reinit(0.15, "9.*").prepare(nn.Linear(2, 2), Now())


def test_rule_tells_how_far_the_noise_reaches():
    assert Reinit(0.15).equation == "θ₀ ← θ₀ + ε,  ε ~ U(±0.075)·std(θ₀)"
    assert Reinit(0.15).description.startswith("add noise to every parameter: uniform, within ±0.075")
    assert "the parameters *.bias" in Reinit(0.15, "*.bias").description
    assert Reinit(0.15).cautions([]) == []


MUTANTS = (
    ("- 0.5", ""),
    ("scale * std * noise", "scale * noise"),
    ("torch.rand(param.shape", "torch.randn(param.shape"),
    ("scale * std * noise", "scale * std * noise.abs()"),
    ("if param.numel() > 1 else param.new_zeros(())", ""),
)
