"""Cubic sparsity: by hand, against the share that a paper keeps, and its laws."""

import math

import numpy as np
import pytest

from ftlab.errors import ArgumentError
from ftlab.formulas.cubic_sparsity import check_ramp, cubic_sparsity


def test_sparsity_grows_by_the_cubic_worked_by_hand():
    # begin 20 and end 60 of 100: at 30 a quarter is done, (3/4)³ = 27/64 is left, so 0.64·(1 − 27/64) = 0.37
    shares = [cubic_sparsity(step, 100, 0.64, 0.2, 0.6) for step in (0, 20, 30, 40, 60, 100)]
    assert shares == pytest.approx([0, 0, 0.37, 0.64 * 7 / 8, 0.64, 0.64], abs=1e-15)
    assert shares[-1] == shares[-2] == 0.64


def test_sparsity_stays_within_its_range_however_begin_and_end_are_rounded():
    chance = np.random.default_rng(0)
    for begin, end in np.sort(chance.random((300, 2)), axis=1):
        steps = int(chance.integers(1, 400))
        shares = [cubic_sparsity(step, steps, 0.9, float(begin), float(end)) for step in range(steps + 1)]
        assert shares == sorted(shares)
        assert (shares[0], shares[-1]) == (0.0, 0.9)
    begin = 3 * 0.1  # a little more than 0.3
    assert cubic_sparsity(3, 10, 0.9, begin, 0.7) == cubic_sparsity(3, 10, 0.9, 0.3, 0.7) == 0


def test_schedule_equals_the_kept_share_of_sanh_and_others():
    # they write what is kept: v_f + (v_i − v_f)(1 − (t − t_i)/(T − t_f − t_i))³, with v_i = 1
    for step in range(201):
        ended, began = step >= 140, step <= 20
        left = 0.0 if ended else 1.0 if began else (1 - (step - 20) / 120) ** 3
        assert 1 - cubic_sparsity(step, 200, 0.85, 0.1, 0.7) == pytest.approx(0.15 + 0.85 * left, abs=1e-12)


@pytest.mark.parametrize(("begin", "end"), [(0.0, 1.0), (0.1, 0.7), (0.5, 0.5), (1.0, 1.0), (0.0, 0.0)])
def test_sparsity_never_falls_and_ends_at_the_final_one(begin, end):
    shares = [cubic_sparsity(step, 37, 0.9, begin, end) for step in range(38)]
    assert shares == sorted(shares)
    assert shares[-1] == 0.9
    assert all(0 <= share <= 0.9 for share in shares)
    assert all(share == 0 for step, share in enumerate(shares) if step < begin * 37)
    assert all(share == 0.9 for step, share in enumerate(shares) if step >= end * 37)


def test_a_final_sparsity_of_0_stays_0_and_it_is_linear_in_the_final_one():
    for step in range(11):
        assert cubic_sparsity(step, 10, 0.0, 0.1, 0.7) == 0
        twice = 2 * cubic_sparsity(step, 10, 0.4, 0.1, 0.7)
        assert cubic_sparsity(step, 10, 0.8, 0.1, 0.7) == pytest.approx(twice, abs=1e-15)


@pytest.mark.parametrize(
    ("begin", "end", "said"),
    [
        (-0.1, 0.5, "begin must"),
        (math.nan, 0.5, "begin must"),
        ("0.1", 0.5, "begin must"),
        (0.6, 0.5, "end must be a number at least 0.6"),
        (0, 2, "end must"),
    ],
)
def test_a_begin_or_an_end_outside_of_the_run_is_refused(begin, end, said):
    with pytest.raises(ArgumentError, match=f"^cubic_sparsity: {said}"):
        cubic_sparsity(1, 10, 0.5, begin, end)
    with pytest.raises(ArgumentError, match=f"^Rule: {said}"):
        check_ramp("Rule", begin, end)


@pytest.mark.parametrize(
    ("step", "steps", "final", "said"),
    [
        (-1, 10, 0.5, "step"),
        (1.5, 10, 0.5, "step"),
        (1, 0, 0.5, "steps"),
        (1, 10, 1.5, "final"),
        (1, 10, None, "final"),
    ],
)
def test_other_numbers_outside_of_their_range_are_refused(step, steps, final, said):
    with pytest.raises(ArgumentError, match=f"^cubic_sparsity: {said} must"):
        cubic_sparsity(step, steps, final, 0.1, 0.7)


MUTANTS = (
    ("(1 - progress) ** 3)", "(1 - progress) ** 2)"),
    ("(1 - progress) ** 3)", "progress**3)"),
    ("if step >= end * steps:", "if step > end * steps + 1:"),
    ("return final * (1", "return (1"),
    ("        return 0.0\n", "        return -0.1 * final\n"),
    ("((end - begin) * steps)", "(end * steps)"),
    ("at_least=begin, at_most=1)", "at_least=0, at_most=1)"),
)
