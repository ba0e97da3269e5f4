"""The moving average of weights: by hand, against torch's AveragedModel and optax, its laws, and its place in a run."""

import copy

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ftlab.experiments.tiny_run import PER_EPOCH, STEPS, batch, begun, go_on
from ftlab.formulas.ema import EMA, ema
from ftlab.formulas.interpolate import Interpolate
from ftlab.formulas.magnitude_prune import MagnitudePrune
from ftlab.rule import Now
from ftlab.training.loop import finish, step


@pytest.fixture
def params():
    generator = torch.Generator().manual_seed(0)
    shapes = {"weight": (4, 3), "bias": (3,), "scale": ()}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def course(params, steps=6):
    return [{name: (param * (number + 1)).sin() for name, param in params.items()} for number in range(steps)]


def test_three_updates_worked_by_hand():
    # d = 0.75, weights 8, 0, 4: mean 8; 0.75 * 8 + 0.25 * 0 = 6; 0.75 * 6 + 0.25 * 4 = 5.5
    mean = {}
    for value, expected in ((8.0, 8.0), (0.0, 6.0), (4.0, 5.5)):
        mean = ema(mean, {"w": torch.tensor([value])}, 0.75)
        assert torch.equal(mean["w"], torch.tensor([expected]))


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9, 0.999, 1.0])
def test_six_updates_equal_those_of_torchs_averaged_model(decay):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    theirs, mean = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(decay)), {}
    for _ in range(6):
        with torch.no_grad():
            for param in net.parameters():
                param.add_(torch.randn_like(param))
        theirs.update_parameters(net)
        mean = ema(mean, {name: param.detach() for name, param in net.named_parameters()}, decay)
    assert same(mean, {name: param.detach() for name, param in theirs.module.named_parameters()})


@pytest.mark.parametrize("decay", [0.5, 0.99])
def test_six_updates_equal_those_of_optax(params, decay):
    theirs, mean = None, {}
    for one in course(params):
        arrays = {name: jnp.asarray(param.numpy()) for name, param in one.items()}
        theirs = arrays if theirs is None else optax.incremental_update(arrays, theirs, 1 - decay)
        mean = ema(mean, one, decay)
    for name, one in mean.items():
        torch.testing.assert_close(one, torch.tensor(np.asarray(theirs[name])), rtol=1e-5, atol=1e-6)


def test_the_mean_is_the_weighted_sum_of_all_that_came(params):
    decay, many, mean = 0.8, course(params, 5), {}
    for one in many:
        mean = ema(mean, {name: param.double() for name, param in one.items()}, decay)
    shares = [decay**4] + [(1 - decay) * decay ** (4 - number) for number in range(1, 5)]
    assert sum(shares) == pytest.approx(1, rel=1e-12)
    expected = {name: sum(s * one[name].double() for s, one in zip(shares, many, strict=True)) for name in params}
    torch.testing.assert_close(mean, expected, rtol=1e-12, atol=1e-12)


def test_decay_zero_is_the_newest_and_decay_one_the_first_exactly(params):
    first, newest = course(params)[:2]
    assert same(ema(first, newest, 0), newest)
    assert same(ema(first, newest, 1), first)


@pytest.mark.parametrize("decay", [0.3, 0.999])
def test_weights_that_stand_still_are_their_own_mean_and_a_mean_stays_between(params, decay):
    assert same(ema(params, params, decay), params)
    other = course(params)[3]
    for name, mean in ema(params, other, decay).items():
        low, high = torch.minimum(params[name], other[name]), torch.maximum(params[name], other[name])
        assert ((low <= mean) & (mean <= high)).all()


def test_its_gradient_is_that_of_finite_differences():
    mean, param = (torch.randn(3, dtype=torch.double, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(lambda a, b: ema({"w": a}, {"w": b}, 0.9)["w"], (mean, param))


def test_rule_ends_with_the_average_of_a_real_training_and_leaves_the_training_alone():
    state, plain = begun([EMA(0.5)]), begun([])
    theirs = AveragedModel(copy.deepcopy(plain.model), multi_avg_fn=get_ema_multi_avg_fn(0.5))
    for number in range(4):
        for one in (state, plain):
            step(one, batch(number % PER_EPOCH))
        theirs.update_parameters(plain.model)
    assert same(dict(state.params), dict(plain.params))
    expected = {name: param.detach() for name, param in theirs.module.named_parameters()}
    new = {name: param.detach() for name, param in finish(state).named_parameters()}
    assert same(new, expected)
    assert not same(new, {name: param.detach() for name, param in plain.params.items()})


def test_rule_changes_no_parameter_and_gives_new_memory(params):
    mean = course(params)[1]
    new, memory = EMA(0.5).project(params, mean, Now())
    assert new == {}
    assert same(memory, ema(mean, params, 0.5))


def test_the_zeros_of_a_pruning_survive_only_where_the_average_is_listed_after_it():
    zeros = []
    for recipe in ([MagnitudePrune(0.5), EMA(0.5)], [EMA(0.5), MagnitudePrune(0.5)]):
        state = begun(recipe)
        go_on(state, STEPS)
        net = finish(state)
        zeros.append(int((net.get_parameter("bert.encoder.layer.0.output.dense.weight") == 0).sum()))
    assert zeros[0] > 100 > zeros[1]


def test_no_tensors_have_no_mean():
    assert ema({}, {}, 0.5) == {}


def test_a_run_without_an_update_ends_as_it_began():
    state = begun([EMA(0.9)])
    before = {name: param.detach().clone() for name, param in state.params.items()}
    assert same({name: param.detach() for name, param in finish(state).named_parameters()}, before)


def test_a_decay_too_long_for_the_run_is_mentioned(mentioned):
    EMA(0.9).start(None, [], None, Now(steps=100))
    EMA(0.999).start(None, [], None, Now(steps=1))
    EMA(0.0).start(None, [], None, Now(steps=5))
    assert mentioned() == ""
    EMA(0.999).start(None, [], None, Now(steps=301))  # 0.999^300 = 0.74, ln ½/ln 0.999 = 693
    said = "EMA: decay 0.999 has a half-life of 693 updates; after 301 updates the weights after the first one still make up 74%"
    assert said in mentioned()
    EMA(0.5).start(None, [], None, Now(steps=3))
    assert "half-life of 1 updates; after 3 updates the weights after the first one still make up 25%" in mentioned()
    EMA(1.0).start(None, [], None, Now(steps=9))
    assert "half-life of inf updates; after 9 updates the weights after the first one still make up 100%" in mentioned()


def test_parameters_that_are_gone_at_the_end_are_mentioned(mentioned):
    net = EMA(0.5).finish(nn.Linear(2, 2), {"weight": torch.zeros(2, 2), "gone": torch.zeros(1)})
    assert torch.equal(net.weight, torch.zeros(2, 2))
    assert "EMA: 1 averaged parameters are no longer there; list EMA later" in mentioned()


def test_rule_tells_its_decay_and_warns_of_a_rule_that_it_overwrites():
    assert EMA(0.75).equation == "θ̄ ← 0.75·θ̄ + 0.25·θ,  θ* = θ̄"
    assert "with decay 0.75" in EMA(0.75).description
    rule = EMA(0.9)
    assert rule.cautions([]) == rule.cautions([rule]) == rule.cautions([Interpolate(0.5), rule]) == []
    assert rule.cautions([rule, Interpolate(0.5)]) == [
        "EMA loads its average last, which overwrites the result of Interpolate: list EMA after it."
    ]
    assert "overwrites the result of MagnitudePrune" in rule.cautions([rule, MagnitudePrune(0.5)])[0]
    state, other = begun([Interpolate(0.5), EMA(0.5)]), begun([EMA(0.5)])
    for one in (state, other):
        go_on(one, 3)
    origin = state.memory[0]
    mean = {name: param.detach().clone() for name, param in finish(other).named_parameters()}
    halfway = {name: torch.lerp(origin[name], one, 0.5) for name, one in mean.items()}
    assert same({name: param.detach() for name, param in finish(state).named_parameters()}, halfway)


MUTANTS = (
    ("torch.lerp(mean[name], param, 1 - decay)", "torch.lerp(mean[name], param, decay)"),
    ("torch.lerp(mean[name], param, 1 - decay)", "torch.lerp(mean[name], param, 1 - decay**2)"),
    ("else param.clone()", "else torch.zeros_like(param)"),
    ('load_average("EMA", model, memory)', "model"),
    ("return {}, ema(memory, params, self.decay)", "return memory, ema(memory, params, self.decay)"),
    ("self.decay ** (now.steps - 1)", "self.decay**now.steps"),
)
