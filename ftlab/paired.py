"""What a paired comparison over seeds can say: the mean difference, its interval, and what it could have seen."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ftlab.errors import misused


@dataclass(frozen=True)
class Paired:
    """Differences of pairs that share everything but the one thing compared."""

    differences: tuple[float, ...]
    mean: float
    low: float
    high: float
    """The 95 % interval of the mean, by Student's t."""
    detectable: float
    """The smallest true mean difference that so many pairs, as scattered as these, show with a chance of 80 %."""

    @property
    def verdict(self) -> str:
        """``"better"``, ``"worse"``, or ``"undecided"`` where the interval holds 0."""
        return "better" if self.low > 0 else "worse" if self.high < 0 else "undecided"


def compare(differences: Sequence[float]) -> Paired:
    r"""Compare two arms by the differences of their pairs.

    .. math:: \bar d \pm t_{0.975,\,n-1}\,\frac{s}{\sqrt n}

    Args:
        differences: One number a pair, with minus without; at least 2.

    Raises:
        Misused: If there are fewer than 2 pairs, or one is not a number.

    Example:
        >>> found = compare([0.01, 0.02, 0.03])
        >>> round(found.mean, 4), round(found.low, 4), round(found.high, 4), found.verdict
        (0.02, -0.0048, 0.0448, 'undecided')
    """
    import numpy as np
    from scipy import stats

    values = np.asarray(differences, dtype=float)
    count = len(values)
    if count < 2 or not np.isfinite(values).all():
        got = f"{count} of them" if count < 2 else "one that is not finite"
        raise misused("compare", "differences", "be at least 2 finite numbers", got, "Run more seeds")
    mean, spread = float(values.mean()), float(values.std(ddof=1))
    half = float(stats.t.ppf(0.975, count - 1)) * spread / math.sqrt(count)
    return Paired(tuple(values.tolist()), mean, mean - half, mean + half, spread * detectable_effect(count))


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
