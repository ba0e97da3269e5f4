"""Interpolation with the loaded weights: by hand, against numpy, its ends, and its place at the end of a run."""

import numpy as np
import pytest
import torch
from torch import nn

from ftlab.errors import ArgumentError
from ftlab.experiments.tiny_run import batch, begun, freeze, go_on, model as small_bert
from ftlab.formulas.child_tuning import ChildTuningD
from ftlab.formulas.clip_norm import ClipNorm
from ftlab.formulas.gradual_unfreezing import GradualUnfreezing
from ftlab.formulas.head_first import HeadFirst
from ftlab.formulas.interpolate import Interpolate, interpolate
from ftlab.models.load import Pretrained
from ftlab.rule import Now
from ftlab.training.loop import begin, finish, step


@pytest.fixture
def ends():
    generator = torch.Generator().manual_seed(0)
    shapes = {"weight": (4, 3), "bias": (3,), "scale": ()}
    return tuple({name: torch.randn(one, generator=generator) for name, one in shapes.items()} for _ in range(2))


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_quarter_of_the_way_worked_by_hand():
    # 0.75 * 8 + 0.25 * 0 = 6 and 0.75 * (-2) + 0.25 * 6 = 0
    new = interpolate({"w": torch.tensor([8.0, -2.0])}, {"w": torch.tensor([0.0, 6.0])}, 0.25)
    assert torch.equal(new["w"], torch.tensor([6.0, 0.0]))


@pytest.mark.parametrize("alpha", [0, 0.1, 0.5, 0.7, 1])
def test_it_equals_numpys_linear_interpolation(ends, alpha):
    origin, params = ends
    for name, new in interpolate(origin, params, alpha).items():
        pairs = zip(np.ravel(origin[name].numpy()), np.ravel(params[name].numpy()), strict=True)
        expected = [np.interp(alpha, [0.0, 1.0], [float(a), float(b)]) for a, b in pairs]
        torch.testing.assert_close(new.flatten().double(), torch.tensor(expected).double(), rtol=1e-6, atol=1e-6)


def test_both_ends_are_exact(ends):
    origin, params = ends
    params["weight"] *= 1e-9
    assert same(interpolate(origin, params, 0), origin)
    assert same(interpolate(origin, params, 1), params)


@pytest.mark.parametrize("alpha", [0.1, 0.3, 0.9])
def test_between_equal_ends_nothing_moves_and_exchanged_ends_mirror_the_way(ends, alpha):
    origin, params = ends
    assert same(interpolate(origin, origin, alpha), origin)
    there, back = interpolate(origin, params, alpha), interpolate(params, origin, 1 - alpha)
    torch.testing.assert_close(there, back, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.0, 0.25, 1.0])
def test_the_distance_from_the_origin_is_alpha_of_the_whole(ends, alpha):
    origin, params = ends
    new = interpolate(origin, params, alpha)
    length, whole = (sum((one[n] - origin[n]).double().square().sum() for n in origin).sqrt() for one in (new, params))
    assert length.item() == pytest.approx(alpha * whole.item(), rel=1e-6)


def test_a_name_without_origin_stays_and_keeps_its_place(ends):
    origin, params = ends
    del origin["bias"]
    new = interpolate(origin, params, 0)
    assert list(new) == ["weight", "bias", "scale"]
    assert torch.equal(new["bias"], params["bias"])
    assert new["bias"].data_ptr() != params["bias"].data_ptr()


def test_its_gradient_is_that_of_finite_differences():
    start, end = (torch.randn(3, dtype=torch.double, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(lambda a, b: interpolate({"w": a}, {"w": b}, 0.3)["w"], (start, end))


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_rule_puts_the_point_between_loaded_and_trained_weights_into_the_model(alpha):
    loaded = {name: param.detach().clone() for name, param in small_bert().named_parameters()}
    state = begun([Interpolate(alpha)])
    go_on(state, 3)
    trained = {name: param.detach().clone() for name, param in state.params.items()}
    new = {name: param.detach() for name, param in finish(state).named_parameters()}
    assert same(new, interpolate(loaded, trained, alpha))
    assert not same(new, trained)
    assert same(new, loaded) == (alpha == 0)


def test_rule_leaves_the_training_itself_alone():
    plain, ruled = begun([]), begun([Interpolate(0.5)])
    for state in (plain, ruled):
        go_on(state, 3)
    assert same(dict(plain.params), dict(ruled.params))


def test_a_new_head_stays_as_trained_and_the_body_goes_back():
    fresh = frozenset({"classifier.weight", "classifier.bias"})
    net = small_bert()
    loaded = {name: param.detach().clone() for name, param in net.named_parameters()}
    state = begin(Pretrained(net, None, "small", None, fresh), [batch(0)], [Interpolate(0.0)], lr=1e-2)
    step(state, batch(0))
    head = state.params["classifier.weight"].detach().clone()
    new = dict(finish(state).named_parameters())
    assert torch.equal(new["classifier.weight"], head)
    assert not torch.equal(head, loaded["classifier.weight"])
    assert all(torch.equal(new[name], loaded[name]) for name in loaded if name not in fresh)


def test_what_is_frozen_is_not_remembered():
    state = begun([Interpolate(0.5)], change=freeze)
    assert set(state.memory[0]) == set(state.params)
    assert "bert.embeddings.word_embeddings.weight" not in state.memory[0]


def test_parameters_that_are_gone_at_the_end_are_mentioned(mentioned):
    net = nn.Linear(2, 2)
    memory = {"weight": torch.zeros(2, 2), "gone": torch.zeros(1)}
    Interpolate(0.0).finish(net, memory)
    assert torch.equal(net.weight, torch.zeros(2, 2))
    assert "Interpolate: 1 parameters are no longer there and keep their trained values" in mentioned()


def test_a_run_that_trains_nothing_that_was_loaded_is_refused():
    with pytest.raises(ArgumentError, match="Interpolate: model must train loaded parameters. Got none"):
        Interpolate(0.5).start(nn.Linear(1, 1), [], None, Now(params={"a": torch.ones(1)}, origin={"b": torch.ones(1)}))


def test_rule_tells_the_point_and_warns_of_a_new_head():
    assert Interpolate(0.25).equation == "θ* = 0.75·θ₀ + 0.25·θ_T"
    assert "25% of the way" in Interpolate(0.25).description
    assert "A new head has no θ₀" in Interpolate().cautions([Interpolate()])[0]
    for rule in (HeadFirst(0.3), GradualUnfreezing()):
        assert Interpolate().cautions([rule, Interpolate()]) == Interpolate(1.0).cautions([]) == []
    assert Interpolate().cautions([ChildTuningD(), ClipNorm(), Interpolate()]) != []


MUTANTS = (
    ("torch.lerp(origin[name], param, alpha)", "torch.lerp(param, origin[name], alpha)"),
    ("torch.lerp(origin[name], param, alpha)", "origin[name] + alpha * (param - origin[name])"),
    ("else param.clone()", "else param"),
    ("for name in now.params if name in now.origin}", "for name in now.origin}"),
    ("params[name].copy_(tensor)", "pass"),
    ("and rule.freezes and", "and"),
    (" and not isinstance(rule, Project)\n", "\n"),
)
