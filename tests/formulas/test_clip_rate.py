"""Learning-rate clipping: by hand, against numpy, in real steps, and its laws."""

import math

import numpy as np
import pytest
import torch

from ftlab.experiments.tiny_run import begun, go_on, trained, weights
from ftlab.formulas.clip_rate import ClipRate, clip_rate
from ftlab.formulas.decay import Decay
from ftlab.formulas.sign_prune import SignPrune
from ftlab.rule import Now


@pytest.mark.parametrize(
    ("lr", "expected"),
    [(0.0, 1e-3), (5e-4, 1e-3), (1e-3, 1e-3), (4e-3, 4e-3), (1e-2, 1e-2), (0.7, 1e-2)],  # bounds 0.001 and 0.01
)
def test_a_rate_outside_its_bounds_becomes_the_bound_worked_by_hand(lr, expected):
    assert clip_rate(lr, 1e-3, 1e-2) == expected


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (1e-4, 1e-2), (0.5, 0.5), (0.0, 0.0), (0.0, math.inf)])
def test_rates_equal_those_that_numpy_clips(low, high):
    rates = np.concatenate([[0.0, low, min(high, 1e9)], 10.0 ** np.random.default_rng(0).uniform(-8, 2, 200)])
    assert [clip_rate(float(lr), low, high) for lr in rates] == np.clip(rates, low, high).tolist()


def test_clipping_twice_is_clipping_once_and_keeps_the_order_of_rates():
    once = [clip_rate(lr / 100, 0.2, 0.7) for lr in range(101)]
    assert [clip_rate(lr, 0.2, 0.7) for lr in once] == once
    assert once == sorted(once)
    assert (min(once), max(once)) == (0.2, 0.7)


def test_rule_clips_the_rate_of_every_parameter_and_passes_its_memory_on():
    rates = {"head": 2.0, "body": 0.5, "words": 0.0}
    new, memory = ClipRate(0.25, 1.0).schedule(rates, "memory", Now())
    assert new == {"head": 1.0, "body": 0.5, "words": 0.25}
    assert rates == {"head": 2.0, "body": 0.5, "words": 0.0}
    assert memory == "memory"


def test_in_real_steps_the_rate_that_is_applied_is_the_clipped_one():
    state = begun([Decay(0.5, per="step"), ClipRate(2e-3, 6e-3)])
    applied = []
    for steps in range(1, 6):
        go_on(state, steps)
        applied.append({group["lr"] for group in state.optimizer.param_groups})
    # 0.01 halved at each step: 0.01, 0.005, 0.0025, 0.00125, 0.000625
    assert applied == [{6e-3}, {5e-3}, {2.5e-3}, {2e-3}, {2e-3}]


def test_between_equal_bounds_a_run_is_one_with_that_constant_rate():
    both = [weights(trained(recipe, 3)) for recipe in ([Decay(0.3, per="step"), ClipRate(1e-2, 1e-2)], [])]
    assert all(torch.equal(both[0][name], both[1][name]) for name in both[1])


def test_rule_warns_of_schedules_that_act_after_it_and_of_rates_that_are_zero():
    rule, decay = ClipRate(0.0, 1e-4), Decay(0.9, per="epoch")
    assert rule.cautions([decay, rule, SignPrune(0.0)]) == []
    said = ["Decay acts after ClipRate, so the learning rate may leave the bounds again."]
    assert rule.cautions([rule, decay]) == said
    assert rule.cautions([rule, decay, rule]) == []
    assert ClipRate(1e-6, 1.0).cautions([]) == [
        "A learning rate of 0, by which a rule freezes a parameter, becomes 1e-06."
    ]


def test_rule_tells_its_bounds():
    assert ClipRate(1e-6, 1e-4).equation == "α ← min(max(α, 1e-06), 0.0001)"
    assert ClipRate(1e-6, 1e-4).description == "keep every learning rate between 1e-06 and 0.0001"
    assert ClipRate(1e-6, math.inf).description == "keep every learning rate at 1e-06 or above"


MUTANTS = (
    ("return min(max(lr, low), high)", "return max(lr, low)"),
    ("return min(max(lr, low), high)", "return min(lr, high)"),
    ("if low > high:", "if low >= high:"),
    ("if self.low > 0:", "if self.low >= 0:"),
    ("recipe[index + 1 :]", "recipe"),
    ("max((index for index", "min((index for index"),
)
