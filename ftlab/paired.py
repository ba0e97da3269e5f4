"""What a paired comparison over seeds can say: the mean difference, its interval, and what it could have seen."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ftlab.errors import misused


@dataclass(frozen=True)
class Paired:
    r"""Differences of pairs that share everything but the one thing compared.

    .. math:: \bar d \pm t_{0.975,\,n-1}\,\frac{s}{\sqrt n}

    >>> found = Paired.of([0.01, 0.02, 0.03])
    >>> round(found.mean, 4), round(found.low, 4), round(found.high, 4), found.verdict
    (0.02, -0.0048, 0.0448, 'undecided')
    """

    differences: tuple[float, ...]
    mean: float
    low: float
    high: float
    """The 95 % interval of the mean, by Student's t."""
    p: float
    """How often pairs without any difference would lie as far apart; 1 where all are equal."""
    detectable: float
    """The smallest true mean difference that so many pairs, as scattered as these, show with a chance of 80 %."""

    @classmethod
    def of(cls, differences: Sequence[float]) -> "Paired":
        """Measure differences, one number a pair, with minus without; at least 2, all finite."""
        import numpy as np
        from scipy import stats

        values = np.asarray(differences, dtype=float)
        count = len(values)
        if count < 2 or not np.isfinite(values).all():
            got = f"{count} of them" if count < 2 else "one that is not finite"
            raise misused("compare", "differences", "be at least 2 finite numbers", got, "Run more seeds")
        mean, error = float(values.mean()), float(values.std(ddof=1)) / math.sqrt(count)
        half = float(stats.t.ppf(0.975, count - 1)) * error
        p = 2 * float(stats.t.sf(abs(mean) / error, count - 1)) if error else float(mean == 0)
        detectable = error * math.sqrt(count) * detectable_effect(count)
        return cls(tuple(values.tolist()), mean, mean - half, mean + half, p, detectable)

    @property
    def verdict(self) -> str:
        """``"better"``, ``"worse"``, or ``"undecided"`` where the interval holds 0."""
        return "better" if self.low > 0 else "worse" if self.high < 0 else "undecided"


def holm(probabilities: Sequence[float]) -> list[float]:
    """Adjust the p-values of several comparisons made at once, after Holm 1979.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(probabilities)), key=probabilities.__getitem__)
    adjusted, worst = [0.0] * len(order), 0.0
    for rank, place in enumerate(order):
        worst = max(worst, min(1.0, (len(order) - rank) * probabilities[place]))
        adjusted[place] = worst
    return adjusted


def detectable_effect(pairs: int, power: float = 0.8, level: float = 0.05) -> float:
    """Return the smallest mean difference, in standard deviations, that a paired t-test shows with a given power.

    >>> [round(detectable_effect(pairs), 2) for pairs in (5, 10, 20)]
    [1.68, 1.0, 0.66]
    """
    from scipy import optimize, stats

    freedom = pairs - 1
    bound = stats.t.ppf(1 - level / 2, freedom)

    def missing(effect: float) -> float:
        shift = effect * math.sqrt(pairs)
        return float(stats.nct.sf(bound, freedom, shift)) - power  # the other tail adds nothing that can be seen

    return float(optimize.brentq(missing, 0.0, (2 * bound + 3) / math.sqrt(pairs)))
