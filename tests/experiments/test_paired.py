"""Paired comparisons: against scipy's own t-test, and the power against simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from ftlab.errors import ArgumentError
from ftlab.experiments.paired import Paired, holm, minimum_detectable_effect


@pytest.mark.parametrize("count", [2, 3, 10, 40])
def test_mean_and_interval_are_those_of_scipys_t_test(count):
    differences = np.random.default_rng(count).normal(0.01, 0.02, count)
    found = Paired.of(differences)
    interval = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-12)
    assert found.mean == pytest.approx(differences.mean(), rel=1e-12)
    assert found.p == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, rel=1e-9)
    assert found.differences == tuple(differences)


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [([0.02, 0.03, 0.025], "better"), ([-0.02, -0.03, -0.025], "worse"), ([0.02, -0.03, 0.01], "undecided")],
)
def test_the_verdict_is_read_off_the_interval(differences, verdict):
    assert Paired.of(differences).verdict == verdict


def test_equal_pairs_have_no_width():
    found = Paired.of([0.0, 0.0, 0.0])
    assert (found.mean, found.low, found.high, found.mde()) == (0, 0, 0, 0)
    assert found.verdict == "undecided"
    assert found.p == 1


@pytest.mark.parametrize(("count", "verdict"), [(2, "undecided"), (5, "undecided"), (6, "better"), (10, "better")])
def test_pairs_that_all_differ_alike_are_judged_by_their_signs_and_not_by_a_spread_of_nothing(count, verdict):
    differences = [(0.12 - 0.1, 0.52 - 0.5)[number % 2] for number in range(count)]  # alike, but for rounding
    assert differences[0] != differences[1]
    found = Paired.of(differences)
    signs = stats.permutation_test((differences,), np.mean, permutation_type="samples")
    assert found.p == pytest.approx(signs.pvalue) == 2.0 ** (1 - count)
    assert (found.spread, found.verdict) == (0, verdict)
    assert found.low == found.high == pytest.approx(0.02)
    assert Paired.of([-one for one in differences]).verdict == verdict.replace("better", "worse")


def test_what_many_comparisons_can_see_is_greater():
    found = Paired.of([0.01, 0.02, 0.03, 0.0, -0.01])
    assert found.mde() == found.mde(0.05) == pytest.approx(found.spread * minimum_detectable_effect(5))
    assert found.mde(0.01) == pytest.approx(found.spread * minimum_detectable_effect(5, alpha=0.01))
    assert found.mde(0.01) > 1.4 * found.mde()


def test_holm_by_hand():
    # sorted 0.01, 0.02, 0.3: times 3, 2, 1 and never less than the one before: 0.03, 0.04, 0.3
    assert holm([0.3, 0.01, 0.02]) == pytest.approx([0.3, 0.03, 0.04])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize("pairs", [3, 5, 10])
def test_a_difference_of_the_detectable_size_is_found_four_times_in_five(pairs):
    """40,000 simulated experiments: the share found lies within four standard errors (0.8 %) of 80 %."""
    effect = minimum_detectable_effect(pairs)
    draws = np.random.default_rng(0).normal(effect, 1, (40_000, pairs))
    found = (stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05).mean()
    assert abs(found - 0.8) < 0.008


def test_more_pairs_see_smaller_differences():
    seen = [minimum_detectable_effect(pairs) for pairs in range(2, 50)]
    assert seen == sorted(seen, reverse=True)
    assert minimum_detectable_effect(1000) == pytest.approx((1.96 + 0.8416) / math.sqrt(1000), rel=0.01)


@pytest.mark.parametrize("differences", [[], [0.1], [0.1, math.nan], [0.1, math.inf]])
def test_too_few_pairs_or_odd_numbers_are_refused(differences):
    with pytest.raises(ArgumentError, match="compare: differences must be at least 2 finite numbers"):
        Paired.of(differences)
