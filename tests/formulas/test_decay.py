"""Decay, formula (4): by hand, against torch, in real steps, and its laws."""

import math

import pytest
import torch

from ftlab.experiments.tiny_run import PER_EPOCH, STEPS, begun, go_on
from ftlab.formulas.decay import Decay, decay
from ftlab.formulas.sign_prune import SignPrune
from ftlab.rule import Now


@pytest.mark.parametrize(
    ("lr", "gamma", "steps", "expected"),
    [
        (8.0, 0.5, 3, 1.0),  # 8 -> 4 -> 2 -> 1
        (1.0, 0.9, 3, 0.729),  # three epochs leave 73 %
        (1.0, 0.9, 100, 2.656e-5),  # a hundred updates leave 0.003 %
        (1.0, 3.0, 2, 9.0),  # above 1 it grows
    ],
)
def test_rate_shrinks_by_the_factor_at_each_step_worked_by_hand(lr, gamma, steps, expected):
    assert decay(lr, gamma, steps) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("gamma", [0.5, 0.97, 1.0, 1.1])
def test_rates_equal_those_of_torch_exponential_lr(gamma):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma)
    for step in range(20):
        assert decay(0.3, gamma, step) == pytest.approx(scheduler.get_last_lr()[0], rel=1e-12)
        optimizer.step()
        scheduler.step()


def test_steps_in_two_parts_are_the_steps_in_one():
    assert decay(decay(0.3, 0.9, 4), 0.9, 7) == pytest.approx(decay(0.3, 0.9, 11), rel=1e-12)


@pytest.mark.parametrize("gamma", [0.3, 0.9, 0.99])
def test_log_half_over_log_gamma_steps_halve_the_rate(gamma):
    halving = math.log(1 / 2) / math.log(gamma)
    assert decay(1.0, gamma, math.floor(halving)) >= 0.5 >= decay(1.0, gamma, math.ceil(halving))


def test_rule_refuses_to_guess_what_a_step_is():
    with pytest.raises(TypeError, match="per"):
        Decay(0.9)


@pytest.mark.parametrize(("per", "powers"), [("step", [0, 1, 2, 3, 4, 5, 6, 7]), ("epoch", [0, 0, 0, 1, 1, 1, 2, 2])])
def test_rule_counts_updates_or_epochs_that_have_ended(per, powers):
    for step, power in enumerate(powers):
        now = Now(step=step, steps=9, steps_per_epoch=3)
        rates, memory = Decay(0.5, per=per).schedule({"head": 1.0, "body": 0.25}, "memory", now)
        assert rates == {"head": 0.5**power, "body": 0.25 * 0.5**power}
        assert memory == "memory"


@pytest.mark.parametrize(("per", "every"), [("step", 1), ("epoch", PER_EPOCH)])
def test_in_real_steps_the_rates_are_those_of_torch_stepped_after_each_update_or_epoch(per, every):
    state, optimizer = begun([Decay(0.7, per=per)]), torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-2)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.7)
    for number in range(1, STEPS + 1):
        go_on(state, number)
        applied = {group["lr"] for group in state.optimizer.param_groups}
        assert list(applied) == pytest.approx(scheduler.get_last_lr(), rel=1e-12)
        optimizer.step()
        if number % every == 0:
            scheduler.step()


def test_rule_leaves_the_rates_that_came_in_unchanged():
    rates = {"w": 1.0}
    assert Decay(0.5, per="step").schedule(rates, None, Now(step=1, steps=2))[0] is not rates
    assert rates == {"w": 1.0}


@pytest.mark.parametrize(
    ("rule", "caution"),
    [
        (Decay(0.9, per="step"), ["γ = 0.9 per step leaves 3e-05 of the rate after 100 updates."]),
        (Decay(1.1, per="epoch"), ["γ above 1 makes the learning rate grow."]),
        (Decay(1.1, per="step"), ["γ above 1 makes the learning rate grow."]),
        (Decay(0.95, per="step"), []),
        (Decay(0.1, per="epoch"), []),
        (Decay(1.0, per="epoch"), []),
    ],
)
def test_rule_warns_of_a_rate_that_vanishes_or_grows(rule, caution):
    assert rule.cautions([SignPrune(1e-5)]) == caution


def test_rule_tells_its_factor_and_what_it_counts():
    assert Decay(0.9, per="epoch").equation == "α_e = α·0.9^e"
    assert Decay(0.9, per="step").equation == "α_t = α·0.9^t"
    assert Decay(0.9, per="step").description == "multiply the learning rate by 0.9 after every step"


MUTANTS = (
    ("return lr * gamma**steps", "return lr * gamma * steps"),
    ("return lr * gamma**steps", "return lr * gamma ** (steps + 1)"),
    ('now.step if self.per == "step"', 'now.step if self.per == "epoch"'),
    ("now.step // now.steps_per_epoch", "now.step / now.steps_per_epoch"),
)
