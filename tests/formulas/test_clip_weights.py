"""Weight clipping around zero and around the pretrained weights: by hand, against numpy and scipy, and its laws."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import nn

from ftlab.data.labels import Task
from ftlab.errors import ArgumentError
from ftlab.experiments.tiny_run import batch, begun, go_on, model, trained, weights
from ftlab.formulas.clip_norm import ClipNorm
from ftlab.formulas.clip_weights import ClipWeights, clip_weights
from ftlab.formulas.sign_prune import SignPrune
from ftlab.models.load import Pretrained
from ftlab.parameters import roles
from ftlab.rule import Now
from ftlab.training.loop import begin, step


@pytest.fixture
def tensors():
    draw = torch.Generator().manual_seed(0)
    shapes = {"weight": (4, 3), "bias": (3,), "scale": ()}
    params = {name: torch.randn(shape, generator=draw) for name, shape in shapes.items()}
    return params, {name: torch.randn(shape, generator=draw) for name, shape in shapes.items()}


def test_around_zero_worked_by_hand():
    # a bound of 2: -5 and 3 went too far, -2 and 2 stand on it, the others lie within
    new = clip_weights({"w": torch.tensor([-5.0, -2.0, -0.5, 0.0, 2.0, 3.0])}, 2.0)
    assert torch.equal(new["w"], torch.tensor([-2.0, -2.0, -0.5, 0.0, 2.0, 2.0]))


def test_around_the_origin_worked_by_hand():
    # at most 0.5 from 1, 1, -3, 0: 0.5 and 1.5, then -3.5 and -2.5, then -0.5 and 0.5
    params = {"w": torch.tensor([2.0, 0.75, -9.0, 0.25])}
    new = clip_weights(params, 0.5, {"w": torch.tensor([1.0, 1.0, -3.0, 0.0])})
    assert torch.equal(new["w"], torch.tensor([1.5, 0.75, -3.5, 0.25]))


@pytest.mark.parametrize("bound", [1e-3, 0.3, 1.0, 50.0])
def test_both_forms_equal_the_definition_in_numpy(tensors, bound):
    params, origin = ({name: one.double() for name, one in some.items()} for some in tensors)
    for name in params:
        theta, start = params[name].numpy(), origin[name].numpy()
        assert np.array_equal(clip_weights(params, bound)[name].numpy(), np.clip(theta, -bound, bound))
        expected = start + np.clip(theta - start, -bound, bound)
        np.testing.assert_allclose(clip_weights(params, bound, origin)[name].numpy(), expected, rtol=0, atol=1e-15)


def test_it_is_the_nearest_point_of_the_cube():
    draw = torch.Generator().manual_seed(1)
    theta, origin = torch.randn(2, 6, generator=draw, dtype=torch.double)
    walls = [(float(one) - 0.4, float(one) + 0.4) for one in origin]
    found = minimize(lambda at: ((at - theta.numpy()) ** 2).sum(), origin.numpy(), bounds=walls, tol=1e-14)
    np.testing.assert_allclose(clip_weights({"w": theta}, 0.4, {"w": origin})["w"], found.x, rtol=0, atol=1e-6)


@pytest.mark.parametrize("bound", [0.01, 0.5])
def test_no_entry_is_farther_than_the_bound_and_a_second_time_changes_nothing(tensors, bound):
    params, origin = tensors
    for start in (None, origin):
        new = clip_weights(params, bound, start)
        again = clip_weights(new, bound, start)
        for name in params:
            away = (new[name] - (start[name] if start else 0)).abs().max()
            assert away <= bound + 1e-6
            assert torch.equal(again[name], new[name])


def test_an_entry_within_the_bound_stays_bit_for_bit():
    draw = torch.Generator().manual_seed(2)
    origin = {"w": torch.randn(10_000, generator=draw)}
    params = {"w": torch.randn(10_000, generator=draw)}
    assert torch.equal(clip_weights(params, 10.0, origin)["w"], params["w"])
    assert not torch.equal(origin["w"] + (params["w"] - origin["w"]), params["w"])  # the other way of writing rounds


def test_nan_stays_nan_so_that_the_loss_can_report_it():
    bad = {"w": torch.tensor([math.nan, 5.0])}
    for origin in (None, {"w": torch.zeros(2)}):
        new = clip_weights(bad, 1.0, origin)["w"]
        assert new[0].isnan()
        assert new[1] == 1


def test_a_name_without_origin_is_free_and_keeps_its_place(tensors):
    params, origin = tensors
    del origin["bias"]
    new = clip_weights(params, 1e-3, origin)
    assert list(new) == ["weight", "bias", "scale"]
    assert torch.equal(new["bias"], params["bias"])
    assert not torch.equal(new["scale"], params["scale"])


def test_around_zero_no_gain_is_cut_where_the_authors_code_cuts_it():
    net = nn.Sequential(nn.Linear(384, 4), nn.LayerNorm(4))
    with torch.no_grad():
        net[0].weight.fill_(1.0)
    params = {name: param.detach() for name, param in net.named_parameters()}
    bound, theirs = math.inf, {}
    for name, param in params.items():  # a parameter of one dimension takes the bound of the weight before it
        bound = 1 / math.sqrt(param.shape[1]) if param.ndim > 1 else bound
        theirs[name] = param.clamp(-bound, bound)
    assert theirs["1.weight"].max() < 0.052
    rule = ClipWeights(bound, "zero")
    now = Now(params=params)
    new, _ = rule.project(params, rule.start(net, None, None, now), now)
    assert list(new) == ["0.weight"]
    assert torch.equal(new["0.weight"], theirs["0.weight"])


def test_in_real_steps_every_loaded_entry_stays_near_and_some_reach_the_bound():
    loaded = dict(model().named_parameters())
    near = trained([ClipWeights(1e-3)], 4).params
    free = trained([], 4).params
    away = {name: (near[name] - loaded[name]).abs().max() for name in near}
    assert max(away.values()) <= 1e-3 + 1e-7
    assert min(away[name] for name in near if (free[name] - loaded[name]).abs().max() > 2e-3) > 1e-3 - 1e-7


def test_in_a_real_step_it_is_the_pure_function_of_the_update():
    loaded, free = begun([]).params, trained([], 1).params
    origin = {name: param.detach() for name, param in loaded.items()}
    expected = clip_weights({name: param.detach() for name, param in free.items()}, 2e-3, origin)
    found = trained([ClipWeights(2e-3)], 1).params
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert any(not torch.equal(found[name], free[name]) for name in expected)


def test_in_real_steps_around_zero_weights_are_bound_and_gains_and_biases_are_not():
    state = trained([ClipWeights(0.005, "zero")], 2)
    role = roles(state.model)
    assert all(param.abs().max() <= 0.005 for param in state.params.values() if param.ndim > 1)
    assert all(param.min() > 0.9 for name, param in state.params.items() if role[name] == "gain")
    assert state.params["classifier.bias"].abs().min() > 0.005


def test_a_new_head_is_free_around_the_origin():
    net = model()
    head = {"classifier.weight", "classifier.bias"}
    given = Pretrained(net, None, "tiny", Task("classification", ("a", "b"), "text"), frozenset(head))
    before = {name: param.detach().clone() for name, param in net.named_parameters()}
    state = begin(given, [batch(0)], [ClipWeights(1e-4)], lr=1e-2)
    step(state, batch(0))
    away = {name: (param - before[name]).abs().max() for name, param in state.params.items()}
    assert all(away[name] > 5e-3 for name in head)
    assert all(far <= 1e-4 + 1e-7 for name, far in away.items() if name not in head)


def test_a_pattern_chooses_and_one_that_leaves_nothing_to_clip_is_refused():
    state = begun([ClipWeights(1e-4, pattern="*.layer.0.*")])
    before = weights(state)
    go_on(state, 2)
    far = {name: (param - before[name]).abs().max() > 2e-4 for name, param in state.params.items()}
    assert not any(far[name] for name in far if ".layer.0." in name)
    assert any(far[name] for name in far if ".layer.1." in name)
    with pytest.raises(ArgumentError, match="match a parameter of two dimensions. Got only classifier.bias"):
        begun([ClipWeights(0.1, "zero", "classifier.bias")])
    with pytest.raises(ArgumentError, match="pattern 'heads' must match a parameter"):
        begun([ClipWeights(0.1, "zero", "heads")])
    with pytest.raises(ArgumentError, match="match a loaded parameter. Got only head"):
        ClipWeights(0.1).start(nn.Identity(), None, None, Now(params={"head": torch.ones(2)}))


def test_rule_warns_of_what_it_cuts_and_of_rules_that_act_after_it():
    rule, sign = ClipWeights(0.1), SignPrune(0.5)
    assert rule.cautions([sign, rule, ClipNorm(1.0)]) == []
    after = "SignPrune acts after ClipWeights, so weights may exceed the bound again."
    assert rule.cautions([rule, sign]) == [after]
    assert "first update clips the pretrained weights" in ClipWeights(0.1, "zero").cautions([])[0]


def test_rule_tells_its_bound_and_its_centre():
    assert ClipWeights(0.1).equation == "θ ← θ₀ + clamp(θ − θ₀, ±0.1)"
    assert ClipWeights(0.1, "zero").equation == "θ ← clamp(θ, ±0.1)"
    assert ClipWeights(0.1).description == "keep every entry of every loaded parameter within 0.1 of its loaded value"
    assert "every weight of two dimensions or more within 0.1 of zero" in ClipWeights(0.1, "zero").description
    assert "the loaded parameters a.*, b within" in ClipWeights(0.1, pattern=("a.*", "b")).description
    assert "the weights a.* within" in ClipWeights(0.1, "zero", "a.*").description


MUTANTS = (
    ("param.clamp(-bound, bound)", "param.clamp(max=bound)"),
    ("param.clamp(origin[name] - bound, origin[name] + bound)", "param.clamp(-bound, bound)"),
    (
        "param.clamp(origin[name] - bound, origin[name] + bound)",
        "origin[name] + (param - origin[name]).clamp(-bound, bound)",
    ),
    ("new[name] = param.clone()", "new[name] = param"),
    ("now.params[name].ndim > 1", "now.params[name].ndim > 0"),
    ('now.origin if self.around == "origin" else None), memory', "now.origin), memory"),
)
