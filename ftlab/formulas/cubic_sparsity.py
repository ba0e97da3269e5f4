"""Cubic sparsity: the share of zeros that a gradual pruning has reached after each update."""

from typing import Any

from ftlab.errors import check_int, check_number


def cubic_sparsity(step: int, steps: int, final: float, begin: float, end: float) -> float:
    r"""Return the sparsity after a number of updates: it rises fast at first and slowly towards the end.

    .. math:: s_t = s_f\left(1 - \left(1 - \frac{t - t_0}{t_1 - t_0}\right)^3\right), \qquad t_0 \le t \le t_1

    ===========  =========  ==================================================
    symbol       code       meaning
    ===========  =========  ==================================================
    :math:`t`    ``step``   updates made so far
    :math:`s_f`  ``final``  the sparsity at the end
    :math:`t_0`  ``begin``  the update before which it is 0, as a share of all
    :math:`t_1`  ``end``    the update at which it is final, as a share of all
    ===========  =========  ==================================================

    Args:
        step: At least 0.
        steps: Updates of the whole run, at least 1.
        final: From 0 to 1.
        begin: From 0 to 1. Before it the sparsity is 0.
        end: From ``begin`` to 1. From there on the sparsity is ``final``.

    Returns:
        The sparsity, from 0 to ``final``. It never falls.

    Raises:
        ArgumentError: If a number is outside its range.

    Source:
        Zhu and Gupta 2017, "To prune, or not to prune", arXiv 1710.01878.
        Departure: the initial sparsity is 0.

    Example:
        >>> [cubic_sparsity(step, 10, 0.5, 0.0, 1.0) for step in (0, 5, 10)]
        [0.0, 0.4375, 0.5]
    """
    check_int("cubic_sparsity", "step", step, "Count the updates from 0")
    check_int("cubic_sparsity", "steps", steps, "Give the updates of the whole run", at_least=1)
    check_number("cubic_sparsity", "final", final, "0.5 is a first try", at_least=0, at_most=1)
    check_ramp("cubic_sparsity", begin, end)
    if step >= end * steps:
        return final
    if step <= begin * steps:
        return 0.0
    progress = (step - begin * steps) / ((end - begin) * steps)
    return final * (1 - (1 - progress) ** 3)


def check_ramp(where: str, begin: Any, end: Any) -> None:
    """Refuse a begin or an end that is not a share of the run, and an end before the begin.

    >>> check_ramp("MagnitudePrune", 0.1, 0.7)
    """
    check_number(where, "begin", begin, "0.1 is a first try", at_least=0, at_most=1)
    check_number(where, "end", end, "0.7 leaves time to recover", at_least=begin, at_most=1)
