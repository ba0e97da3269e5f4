"""Warm-up, then a line or a cosine wave down: by hand, against transformers, in real steps, and their laws."""

import math
from fractions import Fraction

import pytest
import torch
from transformers import get_cosine_schedule_with_warmup, get_linear_schedule_with_warmup

from ftlab.experiments.tiny_run import STEPS, begun, go_on
from ftlab.formulas.warmup import WarmupCosine, WarmupLinear, warmup_cosine, warmup_linear
from ftlab.rule import Now

both = pytest.mark.parametrize("shape", [warmup_linear, warmup_cosine])
runs = pytest.mark.parametrize(("steps", "warm"), [(1, 0), (2, 1), (10, 0), (10, 3), (10, 9), (100, 10)])
rules = pytest.mark.parametrize("kind", [WarmupLinear, WarmupCosine])
TWINS = {warmup_linear: get_linear_schedule_with_warmup, warmup_cosine: get_cosine_schedule_with_warmup}


def curve(shape, steps, warm):
    return [shape(2.0, step, steps, warm) for step in range(steps)]


def twin(shape, steps, warm):
    """Return the schedule of transformers at step 0, 1, ..., steps."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    scheduler = TWINS[shape](optimizer, warm, steps)
    rates = []
    for _ in range(steps + 1):
        rates += scheduler.get_last_lr()
        optimizer.step()
        scheduler.step()
    return rates


def test_line_worked_by_hand():
    # 2 updates of warm-up: 1/3, 2/3 of the peak; then 4/4, 3/4, 2/4, 1/4 of it
    assert curve(warmup_linear, 6, 2) == pytest.approx([2 / 3, 4 / 3, 2.0, 1.5, 1.0, 0.5])


def test_cosine_wave_worked_by_hand():
    # 1 update of warm-up: 1/2 of the peak; then 1 + cos of 0°, 45°, 90°, 135°: 2, 1.707107, 1, 0.292893
    assert curve(warmup_cosine, 5, 1) == pytest.approx([1.0, 2.0, 1.707107, 1.0, 0.292893], abs=1e-6)


@both
@runs
def test_from_the_peak_on_rates_equal_those_of_transformers(shape, steps, warm):
    assert curve(shape, steps, warm)[warm:] == pytest.approx(twin(shape, steps, warm)[warm:steps], rel=1e-12)


@both
@runs
def test_the_warmup_is_that_of_transformers_one_longer_and_without_its_first_update(shape, steps, warm):
    theirs = twin(shape, steps + 1, warm + 1)
    assert theirs[0] == 0
    assert curve(shape, steps, warm)[: warm + 1] == pytest.approx(theirs[1 : warm + 2], rel=1e-12)


@both
@runs
def test_rate_rises_to_the_peak_in_equal_parts_then_only_falls_and_is_never_zero(shape, steps, warm):
    rates = curve(shape, steps, warm)
    assert rates[warm] == 2.0 == max(rates)
    rises = [after - before for before, after in zip([0.0, *rates], rates[: warm + 1], strict=False)]
    assert rises == pytest.approx([2.0 / (warm + 1)] * (warm + 1))
    assert all(after < before for before, after in zip(rates[warm:], rates[warm + 1 :], strict=False))
    assert min(rates) > 0


@both
def test_without_warmup_the_first_update_has_the_whole_rate(shape):
    assert shape(0.3, 0, 7, 0) == 0.3


@both
def test_rate_zero_stays_zero(shape):
    assert [shape(0, step, 5, 2) for step in range(5)] == [0] * 5


@pytest.mark.parametrize(("kind", "shape"), [(WarmupLinear, warmup_linear), (WarmupCosine, warmup_cosine)])
@pytest.mark.parametrize(
    ("share", "steps", "warm"), [(0.0, 20, 0), (0.1, 20, 2), (0.1, 21, 3), (0.1, 5, 1), (0.5, 20, 10), (1, 20, 19)]
)
def test_rule_warms_up_over_a_share_of_the_run_rounded_up(kind, shape, share, steps, warm):
    for step in range(steps):
        now = Now(step=step, steps=steps, steps_per_epoch=5)
        rates, memory = kind(share).schedule({"head": 2.0, "body": 0.5}, "memory", now)
        assert rates == {"head": shape(2.0, step, steps, warm), "body": shape(0.5, step, steps, warm)}
        assert memory == "memory"


@rules
def test_the_share_is_rounded_up_as_written_not_as_binary_fractions_have_it(kind):
    for hundredths in range(100):  # 0.07 · 100 is 7.000000000000001
        for steps in (30, 100, 1000):
            warm = min(math.ceil(Fraction(hundredths, 100) * steps), steps - 1)
            now = Now(step=warm, steps=steps)
            assert kind(hundredths / 100).schedule({"w": 1.0}, None, now)[0] == {"w": 1.0}


@pytest.mark.parametrize(("kind", "shape"), [(WarmupLinear, warmup_linear), (WarmupCosine, warmup_cosine)])
def test_in_real_steps_the_optimizer_has_the_rates_of_the_curve(kind, shape):
    state, applied = begun([kind(0.5)]), []
    for steps in range(1, STEPS + 1):
        go_on(state, steps)
        applied += {group["lr"] for group in state.optimizer.param_groups}
    assert applied == [shape(1e-2, step, STEPS, STEPS // 2) for step in range(STEPS)]


@rules
@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_rule_works_in_the_shortest_runs(kind, steps, share):
    for step in range(steps):
        assert 0 < kind(share).schedule({"w": 1.0}, None, Now(step=step, steps=steps))[0]["w"] <= 1


@rules
def test_rule_tells_its_share_and_has_no_cautions(kind):
    assert "over the first 25% of the updates" in kind(0.25).description
    assert "over the first 2.5% of the updates" in kind(0.025).description
    assert "lower the learning rate" in kind(0.0).description
    assert kind(0.25).cautions([]) == []
    assert kind(0.25).equation.startswith("α_t = α·")


def test_the_two_curves_differ_in_words_and_equation():
    assert "line" in WarmupLinear().description
    assert "cosine" in WarmupCosine().description
    assert "(T−t)/(T−w)" in WarmupLinear().equation
    assert "cos π(t−w)/(T−w)" in WarmupCosine().equation


MUTANTS = (
    ("min((step + 1) / (warmup_steps + 1), (steps", "min(step / max(warmup_steps, 1), (steps"),
    ("(steps - step) / (steps - warmup_steps))", "(steps - step) / steps)"),
    ("return lr * (step + 1) / (warmup_steps + 1)", "return lr * step / (warmup_steps + 1)"),
    ("return lr * (1 + math.cos(", "return lr * (1 - math.cos("),
    ("math.ceil(share * steps - 1e-9)", "math.floor(share * steps)"),
    ("math.ceil(share * steps - 1e-9)", "math.ceil(share * steps)"),
    ("steps - 1e-9), steps - 1)", "steps - 1e-9), steps)"),
)
