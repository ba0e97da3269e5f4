"""The mean of the last weights: by hand, against torch's AveragedModel, its laws, and its place in a run."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_swa_multi_avg_fn

from ftlab.experiments.tiny_run import PER_EPOCH, STEPS, batch, begun, go_on
from ftlab.formulas.decay import Decay
from ftlab.formulas.ema import EMA
from ftlab.formulas.interpolate import Interpolate
from ftlab.formulas.magnitude_prune import MagnitudePrune
from ftlab.formulas.slanted_triangular import SlantedTriangular
from ftlab.formulas.swa import SWA, swa
from ftlab.formulas.warmup import WarmupLinear
from ftlab.rule import Now
from ftlab.training.loop import finish, step

EMPTY = {"count": 0, "mean": {}}


@pytest.fixture
def params():
    generator = torch.Generator().manual_seed(0)
    shapes = {"weight": (4, 3), "bias": (3,), "scale": ()}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def weights(state):
    return {name: param.detach().clone() for name, param in state.params.items()}


def test_three_sets_worked_by_hand():
    # means of 8; 8, 2; 8, 2, 11: 8, 5, 7
    mean = {}
    for count, (value, expected) in enumerate(((8.0, 8.0), (2.0, 5.0), (11.0, 7.0))):
        mean = swa(mean, {"w": torch.tensor([value])}, count)
        torch.testing.assert_close(mean["w"], torch.tensor([expected]), rtol=2e-7, atol=0)


def test_six_sets_equal_those_of_torchs_averaged_model():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    theirs, mean = AveragedModel(net, multi_avg_fn=get_swa_multi_avg_fn()), {}
    for count in range(6):
        with torch.no_grad():
            for param in net.parameters():
                param.add_(torch.randn_like(param))
        theirs.update_parameters(net)
        mean = swa(mean, {name: param.detach() for name, param in net.named_parameters()}, count)
    expected = {name: param.detach() for name, param in theirs.module.named_parameters()}
    torch.testing.assert_close(mean, expected, rtol=1e-6, atol=1e-7)


def test_many_sets_one_by_one_have_the_mean_of_all_at_once():
    sets = np.random.default_rng(0).normal(size=(50, 7))
    mean = {}
    for count, one in enumerate(sets):
        mean = swa(mean, {"w": torch.from_numpy(one)}, count)
    np.testing.assert_allclose(mean["w"].numpy(), sets.mean(axis=0), rtol=1e-12, atol=1e-14)


def test_the_first_set_is_the_mean_exactly_whatever_was_there(params):
    assert same(swa({}, params, 0), params)
    assert same(swa({name: param.fill_(math.nan) for name, param in copy.deepcopy(params).items()}, params, 0), params)


@pytest.mark.parametrize("count", [1, 2, 9])
def test_equal_sets_are_their_own_mean(params, count):
    assert same(swa(params, params, count), params)


def test_its_gradient_is_that_of_finite_differences():
    mean, param = (torch.randn(3, dtype=torch.double, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(lambda a, b: swa({"w": a}, {"w": b}, 4)["w"], (mean, param))


@pytest.mark.parametrize(
    ("rule", "taken"),
    [
        (SWA(0.0), [1, 2, 3, 4, 5, 6]),
        (SWA(0.5), [3, 4, 5, 6]),
        (SWA(0.6), [4, 5, 6]),  # 0.6 * 6 = 3.6
        (SWA(0.75), [5, 6]),
        (SWA(1.0), [6]),
        (SWA(0.0, 2), [1, 3, 5]),
        (SWA(0.5, every=3), [3, 6]),
    ],
)
def test_rule_ends_with_the_mean_of_the_weights_that_it_took_in(rule, taken):
    state, plain = begun([rule]), begun([])
    theirs = AveragedModel(plain.model, multi_avg_fn=get_swa_multi_avg_fn())
    for number in range(STEPS):
        for one in (state, plain):
            step(one, batch(number % PER_EPOCH))
        if number + 1 in taken:
            theirs.update_parameters(plain.model)
    assert same(weights(state), weights(plain))
    assert state.memory[0]["count"] == len(taken)
    expected = {name: param.detach() for name, param in theirs.module.named_parameters()}
    new = {name: param.detach() for name, param in finish(state).named_parameters()}
    torch.testing.assert_close(new, expected, rtol=1e-5, atol=1e-7)
    assert same(new, weights(plain)) == (taken == [6])


def test_the_first_update_taken_in_is_not_put_off_by_rounding(params):
    assert 0.55 * 100 > 55
    taken = [
        made for made in range(1, 101) if SWA(0.55).project(params, EMPTY, Now(step=made - 1, steps=100))[1]["count"]
    ]
    assert taken == list(range(55, 101))
    taken = [
        made for made in range(1, 101) if SWA(0.551).project(params, EMPTY, Now(step=made - 1, steps=100))[1]["count"]
    ]
    assert taken == list(range(56, 101))


def test_a_run_stopped_before_the_share_ends_with_its_last_weights():
    state = begun([SWA(0.75)])
    go_on(state, 3)
    before = weights(state)
    assert state.memory[0] == {"count": 0, "mean": {}}
    assert same({name: param.detach() for name, param in finish(state).named_parameters()}, before)


def test_rule_changes_no_parameter(params):
    new, memory = SWA(0.0).project(params, {"count": 1, "mean": params}, Now(steps=4))
    assert new == {}
    assert memory["count"] == 2


def test_batch_normalisation_and_parameters_that_are_gone_are_mentioned(mentioned):
    SWA().start(nn.Linear(1, 1), [], None, Now())
    assert mentioned() == ""
    SWA().start(nn.Sequential(nn.BatchNorm1d(2)), [], None, Now())
    assert "running statistics of batch normalisation stay those of the last weights" in mentioned()
    memory = {"count": 1, "mean": {"weight": torch.zeros(2, 2), "gone": torch.zeros(1)}}
    assert torch.equal(SWA().finish(nn.Linear(2, 2), memory).weight, torch.zeros(2, 2))
    assert "SWA: 1 averaged parameters are no longer there; list SWA later" in mentioned()


def test_rule_tells_when_it_takes_in_and_warns():
    assert SWA(0.5, 2).equation == "θ* = mean of θ_t over t = 0.5T, 0.5T+2, … up to T"
    assert "after every update from 75% of the run" in SWA().description
    assert "after every 5 updates" in SWA(0.5, 5).description
    rule = SWA()
    assert rule.cautions([]) == rule.cautions([Interpolate(0.5), Decay(0.9, "epoch"), rule]) == []
    others = [Interpolate(0.5), MagnitudePrune(0.5), EMA(0.9)]
    assert rule.cautions([*others, rule]) == []
    said = "overwrites the result of Interpolate, MagnitudePrune, EMA: list SWA after it"
    assert said in rule.cautions([rule, Decay(0.9, "epoch"), *others])[0]
    assert "under WarmupLinear the averaged weights" in rule.cautions([rule, WarmupLinear()])[0]
    assert "under SlantedTriangular the averaged weights" in rule.cautions([rule, SlantedTriangular()])[0]
    assert SWA(1.0).cautions([WarmupLinear()]) == []


MUTANTS = (
    ("param, 1 / (count + 1))", "param, 1 / (count + 2))"),
    ("if count == 0:", "if count <= 1:"),
    ("since = now.step + 1 - first", "since = now.step - first"),
    ("steps - 1e-9)", "steps)"),
    ("max(1, math", "max(0, math"),
    ("math.ceil(self.start_at", "math.floor(self.start_at"),
    ("since % self.every", "since % (self.every + 1)"),
    ("rates[-1] < max(rates) / 10", "rates[-1] > max(rates) / 10"),
    ("rates[-1] < max(rates) / 10", "rates[-1] < max(rates)"),
    ('memory["count"] + 1', 'memory["count"] + 2'),
)
