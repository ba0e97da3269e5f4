"""RecAdam: by hand, against scipy and the authors' update in numpy, its laws, and its place in real steps."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from scipy.special import expit
from torch import nn

from ftlab.experiments.tiny_run import batch, begun, go_on, model as small_bert
from ftlab.formulas.decay import Decay
from ftlab.formulas.rec_adam import RecAdam, annealing, rec_adam
from ftlab.formulas.warmup import WarmupLinear
from ftlab.models.load import Pretrained
from ftlab.rule import Now
from ftlab.training.loop import begin, step


@pytest.fixture
def ends():
    generator = torch.Generator().manual_seed(0)
    shapes = {"weight": (4, 3), "bias": (3,), "scale": ()}
    return tuple({name: torch.randn(one, generator=generator) for name, one in shapes.items()} for _ in range(2))


def test_the_annealing_and_the_pull_worked_by_hand():
    # k = ln 3, t0 = 5: λ(4) = 1 / (1 + 3) = 1/4, λ(5) = 1/2, λ(6) = 1 / (1 + 1/3) = 3/4
    assert [annealing(t, math.log(3), 5) for t in (4, 5, 6)] == pytest.approx([0.25, 0.5, 0.75], rel=1e-12)
    # 0.5 * (1 - 0.75) * 2 = 1/4 of the way from 8 to 4, that is 7
    new = rec_adam({"w": torch.tensor([8.0])}, {"w": torch.tensor([4.0])}, {"w": 0.5}, 2.0, 0.75)
    assert torch.equal(new["w"], torch.tensor([7.0]))


@pytest.mark.parametrize(("steepness", "midpoint"), [(0.05, 100), (0.5, 7), (1, 250)])
def test_the_annealing_equals_scipys_logistic_function_and_rises(steepness, midpoint):
    steps = range(1, 400)
    found = [annealing(t, steepness, midpoint) for t in steps]
    expected = np.maximum(expit(steepness * (np.array(steps) - midpoint)), 1e-30)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert all(a <= b for a, b in itertools.pairwise(found))


def test_the_annealing_stays_within_its_bounds_where_the_exponential_would_overflow():
    assert annealing(1, 1.0, 10_000) == 1e-30
    assert annealing(10_000, 1.0, 1) == 1.0
    assert [annealing(t, math.inf, 5) for t in (4, 5, 6)] == [1e-30, 0.5, 1.0]


def test_four_steps_equal_the_authors_update_in_numpy():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=torch.double))

        def forward(self, inputs):
            return inputs @ self.weight

    data = {"inputs": torch.eye(2, dtype=torch.double), "labels": torch.tensor([0, 1])}

    def loss(net, part):
        return (net(part["inputs"]) - 4).square().mean()

    def adam(groups):
        return torch.optim.AdamW([group | {"weight_decay": 0.0} for group in groups], eps=1e-30)

    rule, lr, pull = RecAdam(50.0, 1.0, 2), 0.01, 50.0
    net = Net()
    state = begin(net, [data], [rule], epochs=4, lr=lr, loss=loss, optimizer=adam)
    loaded = net.weight.detach().numpy().copy()
    weight, first, second = loaded.copy(), 0.0, 0.0
    for t in range(1, 5):
        step(state, data)
        grad = (weight - 4) / 2
        first, second = 0.9 * first + 0.1 * grad, 0.999 * second + 0.001 * grad**2
        size = lr * math.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        share = 1 / (1 + math.exp(-1.0 * (t - 2)))
        weight = weight - size * share * first / np.sqrt(second)
        weight = weight - lr * (1 - share) * pull * (weight - loaded)
        np.testing.assert_allclose(net.weight.detach().numpy(), weight, rtol=1e-9)


def test_beyond_a_rate_times_pull_of_two_the_papers_update_explodes_and_ours_ends_at_the_origin(ends):
    params, origin = ends
    theirs, ours, rates = params["bias"], {"bias": params["bias"]}, dict.fromkeys(params, 1e-3)
    for _ in range(50):  # 1e-3 * 5000 = 5: the distance grows four times at each step
        theirs = theirs - 1e-3 * 5000 * (theirs - origin["bias"])
        ours = rec_adam(ours, origin, rates, 5000.0, 0.0)
    assert (theirs - origin["bias"]).norm() > 1e28
    assert torch.equal(ours["bias"], origin["bias"])


@pytest.mark.parametrize("lr", [2e-5, 1e-4, 2e-4])
def test_up_to_one_it_is_the_papers_pull(ends, lr):
    params, origin = ends
    new = rec_adam(params, origin, dict.fromkeys(params, lr), 5000.0, 0.3)
    expected = {name: params[name] - lr * 0.7 * 5000 * (params[name] - origin[name]) for name in params}
    torch.testing.assert_close(new, expected, rtol=1e-5, atol=1e-6)


def test_nothing_is_pulled_without_pull_at_the_end_of_the_annealing_or_without_origin(ends):
    params, origin = ends
    rates = dict.fromkeys(params, 0.1)
    assert rec_adam(params, origin, rates, 0.0, 0.5) == rec_adam(params, origin, rates, 5.0, 1.0) == {}
    del origin["bias"]
    assert list(rec_adam(params, origin, rates, 5.0, 0.5)) == ["weight", "scale"]
    assert list(rec_adam(params, origin, rates | {"scale": 0.0}, 5.0, 0.5)) == ["weight"]


def test_its_gradient_is_that_of_finite_differences():
    here, there = (torch.randn(3, dtype=torch.double, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(lambda a, b: rec_adam({"w": a}, {"w": b}, {"w": 0.1}, 3.0, 0.4)["w"], (here, there))


def test_rule_pulls_with_the_rate_before_its_own_scaling_and_after_other_schedules():
    rule = RecAdam(10.0, 0.5, 3)
    now = Now(step=1, steps=9)  # t = 2: λ = 1 / (1 + e^0.5)
    share = 1 / (1 + math.exp(0.5))
    params, origin = {"w": torch.tensor([1.0]), "head": torch.tensor([1.0])}, {"w": torch.tensor([0.0])}
    rates, _ = rule.schedule({"w": 0.04, "head": 0.04}, False, dataclasses.replace(now, origin=origin))
    assert rates == {"w": pytest.approx(0.04 * share, rel=1e-12), "head": 0.04}
    halved = {name: lr / 2 for name, lr in rates.items()}
    new, memory = rule.project(params, False, Now(step=1, steps=9, rates=halved, origin=origin))
    torch.testing.assert_close(new, {"w": torch.tensor([1 - 0.02 * (1 - share) * 10])}, rtol=1e-6, atol=0)
    assert memory is False


def test_the_weights_stay_home_before_the_midpoint_and_leave_after_it():
    def distances(rule):
        state = begun([rule])
        loaded = {name: param.detach().clone() for name, param in state.params.items()}
        for number in range(1, 7):
            go_on(state, number)
            yield sum((state.params[name].detach() - loaded[name]).square().sum() for name in loaded).sqrt().item()

    near = list(distances(RecAdam(100.0, 50.0, 3)))  # 1e-2 * 100 = 1: until update 2 wholly held
    assert max(near[:2]) < 1e-6
    assert near[5] > 0.5 * list(distances(RecAdam(100.0, math.inf, 0)))[2]


def test_a_new_head_is_trained_at_the_whole_rate_as_in_the_authors_code():
    fresh = frozenset({"classifier.weight", "classifier.bias"})
    loaded = dict(small_bert().named_parameters())
    states = [
        begin(Pretrained(small_bert(), None, "small", None, fresh), [batch(0)] * 3, recipe, lr=1e-2)
        for recipe in ([RecAdam(100.0, 1.0, 1)], [])
    ]
    for state in states:
        step(state, batch(0))  # t = 1 is the midpoint: λ = 1/2, Adam moves by 0.005, half of it goes back
    recalled, plain = ({n: (state.params[n] - loaded[n]).detach() for n in loaded} for state in states)
    assert all(torch.equal(recalled[name], plain[name]) for name in fresh)
    assert recalled["bert.pooler.dense.weight"].abs().max().item() == pytest.approx(0.0025, rel=0.02)


def test_a_pull_beyond_its_end_and_a_midpoint_beyond_the_run_are_mentioned(mentioned):
    RecAdam(1.0, 1.0, 2).start(None, [], None, Now(steps=100))
    params = {"w": torch.ones(1)}
    RecAdam(5000.0).project(params, None, Now(rates={"w": 1e-15}, origin=params))
    assert mentioned() == ""
    RecAdam().start(None, [], None, Now(steps=100))
    assert "RecAdam: at the last of 100 updates λ is only 3.1e-07: lower the midpoint" in mentioned()
    for lr, said in (
        (3e-4, "1.5: above 1 the pull stops at θ₀.\n"),
        (1e-3, "5: above 1 the pull stops at θ₀; the p"),
    ):
        rates, _ = RecAdam().schedule({"w": lr}, False, Now(origin=params))
        _, memory = RecAdam().project(params, False, Now(rates=rates, origin=params))
        assert memory is True
        assert f"RecAdam: learning rate times pull is {said}" in mentioned()
    assert mentioned().count("the paper's update diverges from 2 on") == 1


def test_a_pull_that_grows_too_strong_after_the_warm_up_is_mentioned_once(mentioned):
    state = begun([RecAdam(300.0, 0.1, 50), WarmupLinear(0.5)])  # 1e-2 · 300 = 3 at the peak, 0.75 at first
    go_on(state, 1)
    assert "rate times pull" not in mentioned()
    go_on(state, 6)
    assert mentioned().count("rate times pull is 1.5: above 1") == 1


@pytest.mark.parametrize(("factor", "law"), [(1.9, "shrinks"), (2.0, "stays"), (2.1, "grows")])
def test_a_rate_times_pull_of_two_is_where_the_papers_own_pull_stops_to_converge(factor, law):
    theirs, ours = 1.0, {"w": torch.ones(1)}
    for _ in range(50):
        theirs -= factor * theirs
        ours = rec_adam(ours, {"w": torch.zeros(1)}, {"w": factor}, 1.0, 0.0)
    assert {"shrinks": abs(theirs) < 0.01, "stays": abs(theirs) == 1, "grows": abs(theirs) > 100}[law]
    assert ours["w"] == 0


def test_rule_tells_its_numbers_and_warns_where_it_stands_as_the_only_schedule():
    rule = RecAdam(100.0, 0.5, 20)
    assert rule.equation == "α ← λ·α,  θ ← θ − α(1−λ)·100·(θ−θ₀),  λ = 1/(1+exp(−0.5(t−20)))"
    assert "with strength 100, and release them around update 20" in rule.description
    assert rule.cautions([rule, WarmupLinear()]) == rule.cautions([Decay(0.9, "epoch"), rule]) == []
    assert "add WarmupLinear()" in rule.cautions([rule])[0]


MUTANTS = (
    ("steepness * (midpoint - step)", "steepness * (step - midpoint)"),
    ("rates[name] * (1 - share) * pull)", "rates[name] * share * pull)"),
    ("min(1.0, rates[name]", "min(2.0, rates[name]"),
    ("torch.lerp(params[name], origin[name], pulled)", "torch.lerp(origin[name], params[name], pulled)"),
    ("name: lr / share for", "name: lr for"),
    ("lr * share if name in now.origin else lr for", "lr * share for"),
    ("if beyond and not memory:", "if beyond and now.step == 0:"),
    ("memory or beyond", "memory"),
    ("annealing(now.step + 1, self", "annealing(now.step + 2, self"),
)
