"""What a paired comparison over seeds can say: the mean difference, its interval, and what it could have seen."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ftlab.errors import argument_error


@dataclass(frozen=True)
class Paired:
    r"""Differences of pairs that share everything but the one thing compared.

    .. math:: \bar d \pm t_{0.975,\,n-1}\,\frac{s}{\sqrt n}

    The interval is Student's, that of the paired t-test: it says where the mean of many more pairs would lie. Where the
    pairs are runs with different seeds, that is a sentence about seeds, not about other rows to train or to measure on.

    >>> found = Paired.of([0.01, 0.02, 0.03])
    >>> round(found.mean, 4), round(found.low, 4), round(found.high, 4), found.verdict
    (0.02, -0.0048, 0.0448, 'undecided')
    """

    differences: tuple[float, ...]
    mean: float
    low: float
    high: float
    """The 95 % interval of the mean; where all pairs differ alike it has no width."""
    p: float
    """The two-sided p-value of the paired t-test. If all differences are equal, the sign test's, 2^(1−n)."""
    spread: float
    """The standard deviation of the differences."""

    @classmethod
    def of(cls, differences: Sequence[float]) -> "Paired":
        """Measure differences, one number a pair, with minus without; at least 2, all finite."""
        import numpy as np
        from scipy import stats

        values = np.asarray(differences, dtype=float)
        count = len(values)
        if count < 2 or not np.isfinite(values).all():
            got = f"{count} of them" if count < 2 else "one that is not finite"
            raise argument_error("compare", "differences", "be at least 2 finite numbers", got, "Run more seeds")
        given, mean = tuple(values.tolist()), float(values.mean())
        if np.ptp(values) <= 1e-9 * abs(values).max():  # all alike, but for how fractions are rounded
            return cls(given, mean, mean, mean, 1.0 if mean == 0 else 2.0 ** (1 - count), 0.0)
        test = stats.ttest_1samp(values, 0.0)
        low, high = test.confidence_interval(0.95)
        return cls(given, mean, float(low), float(high), float(test.pvalue), float(values.std(ddof=1)))

    @property
    def verdict(self) -> str:
        """``"better"`` or ``"worse"`` where p is below 0.05 and the interval leaves 0 out; else ``"undecided"``."""
        if self.p >= 0.05:
            return "undecided"
        return "better" if self.mean > 0 else "worse"

    def mde(self, alpha: float = 0.05) -> float:
        """Return the minimum detectable effect: the smallest true mean difference found with a power of 80 %.

        It assumes this number of pairs with this spread, and a two-sided test at the level ``alpha``.
        """
        return self.spread * minimum_detectable_effect(len(self.differences), alpha=alpha)


def holm(probabilities: Sequence[float]) -> list[float]:
    """Adjust the p-values of several comparisons made at once, after Holm 1979.

    The smallest is multiplied by their number, the next by one less, and so on; none may fall below the one before it.

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
    """Return the smallest mean difference, in standard deviations, that a paired t-test finds with a given power.

    >>> [round(minimum_detectable_effect(pairs), 2) for pairs in (5, 10, 20)]
    [1.68, 1.0, 0.66]
    """
    from scipy import optimize, stats

    freedom = pairs - 1
    bound = stats.t.ppf(1 - alpha / 2, freedom)

    def missing(effect: float) -> float:
        shift = effect * math.sqrt(pairs)
        return float(stats.nct.sf(bound, freedom, shift)) - power  # the other tail adds nothing that can be seen

    return float(optimize.brentq(missing, 0.0, (2 * bound + 3) / math.sqrt(pairs)))
