"""Paired comparisons over seeds: the mean difference, its interval, and the minimum detectable effect."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ftlab.errors import argument_error


@dataclass(frozen=True)
class Paired:
    r"""The differences within pairs of runs that share everything but the one thing compared.

    .. math:: \bar d \pm t_{0.975,\,n-1}\,\frac{s}{\sqrt n}

    The interval is that of the paired t-test, for the mean over many more pairs. If the pairs are runs with different
    seeds, it covers variation between seeds only, not between training sets or test sets.

    >>> paired = Paired.of([0.01, 0.02, 0.03])
    >>> round(paired.mean, 4), round(paired.low, 4), round(paired.high, 4), paired.verdict
    (0.02, -0.0048, 0.0448, 'undecided')
    """

    differences: tuple[float, ...]
    mean: float
    low: float
    high: float
    """The 95 % interval of the mean; if all differences are equal, its width is 0."""
    p: float
    """The two-sided p-value of the paired t-test. If all differences are equal, the sign test's, 2^(1−n)."""
    spread: float
    """The standard deviation of the differences."""

    @classmethod
    def of(cls, differences: Sequence[float]) -> "Paired":
        """Summarise differences, one finite number per pair, at least 2."""
        import numpy as np
        from scipy import stats

        values = np.asarray(differences, dtype=float)
        count = len(values)
        if count < 2 or not np.isfinite(values).all():
            got = f"{count} of them" if count < 2 else "one that is not finite"
            raise argument_error("compare", "differences", "be at least 2 finite numbers", got, "Run more seeds")
        differences, mean = tuple(values.tolist()), float(values.mean())
        if np.ptp(values) <= 1e-9 * abs(values).max():  # all equal, up to rounding
            return cls(differences, mean, mean, mean, 1.0 if mean == 0 else 2.0 ** (1 - count), 0.0)
        test = stats.ttest_1samp(values, 0.0)
        low, high = test.confidence_interval(0.95)
        return cls(differences, mean, float(low), float(high), float(test.pvalue), float(values.std(ddof=1)))

    @property
    def verdict(self) -> str:
        """``"better"`` or ``"worse"`` if p is below 0.05, ``"undecided"`` otherwise."""
        if self.p >= 0.05:
            return "undecided"
        return "better" if self.mean > 0 else "worse"

    def mde(self, alpha: float = 0.05) -> float:
        """Return the minimum detectable effect: the smallest true mean difference detected with a power of 80 %.

        It is for this number of pairs with this standard deviation, and a two-sided test at the level ``alpha``.
        """
        return self.spread * minimum_detectable_effect(len(self.differences), alpha=alpha)


def holm(probabilities: Sequence[float]) -> list[float]:
    """Adjust the p-values of several comparisons for multiple testing (Holm 1979).

    Of m p-values, the smallest is multiplied by m, the next by m − 1, and so on; each is at least the one before it and
    at most 1.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(probabilities)), key=probabilities.__getitem__)
    adjusted, worst = [0.0] * len(order), 0.0
    for rank, index in enumerate(order):
        worst = max(worst, min(1.0, (len(order) - rank) * probabilities[index]))
        adjusted[index] = worst
    return adjusted


def minimum_detectable_effect(pairs: int, power: float = 0.8, alpha: float = 0.05) -> float:
    """Return the smallest mean difference, in standard deviations, that a paired t-test detects with a given power.

    >>> [round(minimum_detectable_effect(pairs), 2) for pairs in (5, 10, 20)]
    [1.68, 1.0, 0.66]
    """
    from scipy import optimize, stats

    degrees = pairs - 1
    critical = stats.t.ppf(1 - alpha / 2, degrees)

    def excess_power(effect: float) -> float:
        noncentrality = effect * math.sqrt(pairs)
        return float(stats.nct.sf(critical, degrees, noncentrality)) - power  # the other tail is negligible

    return float(optimize.brentq(excess_power, 0.0, (2 * critical + 3) / math.sqrt(pairs)))
