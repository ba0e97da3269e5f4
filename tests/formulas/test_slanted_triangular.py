"""The slanted triangle: by hand, against numpy and the paper's formula in fractions, in real steps, and its laws."""

import math
from fractions import Fraction

import numpy as np
import pytest

from ftlab.experiments.tiny_run import begun, go_on
from ftlab.formulas.slanted_triangular import SlantedTriangular, slanted_triangular
from ftlab.rule import Now


def curve(steps, cut, ratio=32.0, lr=1.0):
    return [slanted_triangular(lr, step, steps, cut, ratio) for step in range(steps)]


def paper(steps, cut, ratio):
    """Return equation (3) of the paper as it is printed, without any rounding."""
    peak, rates = math.floor(steps * cut), []
    for step in range(steps):
        share = Fraction(step, peak) if step < peak else 1 - (step - peak) / (peak * (1 / cut - 1))
        rates.append((1 + share * (ratio - 1)) / ratio)
    return rates


def test_triangle_worked_by_hand():
    # 10 updates, a fifth of them rising: p = 0, 1/2, then 8/8, 7/8, ..., 1/8; the ratio 5 makes it (1 + 4p)/5
    expected = [0.2, 0.6, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3]
    assert curve(10, 0.2, 5) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("ratio", [1, 2, 32])
@pytest.mark.parametrize(
    ("steps", "cut"), [(10, Fraction(1, 10)), (100, Fraction(1, 10)), (100, Fraction(29, 100)), (7, Fraction(3, 7))]
)
def test_rates_equal_the_papers_where_the_peak_falls_on_a_whole_update(steps, cut, ratio):
    expected = [float(lr) for lr in paper(steps, cut, ratio)]
    assert curve(steps, float(cut), ratio) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("cut", [0.0, 0.1, 0.29, 0.5, 0.77])
@pytest.mark.parametrize("steps", [1, 3, 10, 47, 100])
def test_rates_are_those_that_numpy_draws_through_foot_peak_and_foot(steps, cut):
    corners = [0, math.floor(round(steps * cut, 6)), steps]
    expected = np.interp(range(steps), corners, [2 / 5, 2, 2 / 5])
    if corners[1] == 0:  # the foot on the left falls away
        expected = np.interp(range(steps), corners[1:], [2, 2 / 5])
    assert curve(steps, cut, 5, 2.0) == pytest.approx(expected.tolist(), rel=1e-12)


@pytest.mark.parametrize("steps", [15, 19, 27, 39])
def test_where_it_does_not_the_papers_rate_becomes_negative_and_ours_does_not(steps):
    assert min(paper(steps, Fraction(1, 10), 32)) < 0
    assert min(curve(steps, 0.1)) >= 1 / 32
    assert curve(steps, 0.1)[steps // 10] == 1


def test_a_run_too_short_to_rise_begins_at_the_peak_where_the_paper_divides_by_zero():
    with pytest.raises(ZeroDivisionError):
        paper(5, Fraction(1, 10), 32)
    assert curve(5, 0.1)[0] == 1
    assert curve(1, 0.1) == [1]


@pytest.mark.parametrize("steps", [1, 2, 9, 10, 33, 100])
@pytest.mark.parametrize("cut", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_it_rises_to_the_peak_in_equal_parts_then_falls_in_equal_parts_between_the_two_rates(steps, cut):
    rates, peak = curve(steps, cut, 4.0, 2.0), math.floor(round(steps * cut, 6))
    assert all(0.5 <= lr <= 2.0 for lr in rates)
    if peak < steps:
        assert rates[peak] == 2.0
    rises = [rates[step + 1] - rates[step] for step in range(min(peak, steps - 1))]
    assert rises == pytest.approx([1.5 / peak for _ in rises])
    falls = [rates[step] - rates[step + 1] for step in range(peak, steps - 1)]
    assert falls == pytest.approx([1.5 / (steps - peak) for _ in falls])
    if peak > 0:
        assert rates[0] == 0.5


def test_rule_gives_every_parameter_the_rate_of_the_update():
    rule = SlantedTriangular(0.25, 8)
    for step in range(12):
        rates, memory = rule.schedule({"head": 2.0, "body": 0.5}, "memory", Now(step=step, steps=12, steps_per_epoch=3))
        assert rates == {"head": curve(12, 0.25, 8, 2.0)[step], "body": curve(12, 0.25, 8, 0.5)[step]}
        assert memory == "memory"


def test_in_real_steps_the_optimizer_has_the_rates_of_the_triangle():
    state, applied = begun([SlantedTriangular(0.5, 4)]), []
    for steps in range(1, 7):
        go_on(state, steps)
        applied += {group["lr"] for group in state.optimizer.param_groups}
    assert applied == curve(6, 0.5, 4, 1e-2)
    # six updates, the first three rising by a quarter of the rate: 1/4, 2/4, 3/4, then 1, 3/4, 1/2
    assert applied == pytest.approx([0.0025, 0.005, 0.0075, 0.01, 0.0075, 0.005])


def test_rule_tells_its_triangle_and_has_no_cautions():
    rule = SlantedTriangular(0.25, 8)
    assert rule.equation == "α_t = α·(1 + p·(8 − 1))/8,  p = t/w, then 1 − (t−w)/(T−w)"
    assert "from 1/8 of its peak to the peak over the first 25% of the updates" in rule.description
    assert "first 2.5% of" in SlantedTriangular(0.025).description
    assert SlantedTriangular(0.0, 8).description == "lower the learning rate linearly to 1/8 of its peak"
    assert rule.cautions([]) == []


MUTANTS = (
    ("(steps - peak)\n", "(peak * (1 / cut - 1))\n"),
    ("steps * cut + 1e-9", "steps * cut"),
    ("if step < peak else", "if step <= peak else"),
    ("share * (ratio - 1)) / ratio", "share * ratio) / ratio"),
    ("(1 + share * (ratio - 1))", "(1 + (1 - share) * (ratio - 1))"),
)
