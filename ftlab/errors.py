"""The one grammar of errors: ``<where>: <name> must <condition>. Got <value>. <What to do>.``"""

import logging
import math
from typing import Any

_log = logging.getLogger("ftlab")


class InputError(ValueError):
    """Invalid input, such as a file, a model or a folder; raised before any work starts."""


class ArgumentError(InputError):
    """An invalid argument, such as a negative learning rate or an unknown rule."""


class DivergenceError(ArithmeticError):
    """The loss or a weight is NaN or infinite. A model saved earlier is not overwritten."""


class InterruptionError(KeyboardInterrupt):
    """The user stopped the run. The message states what was saved."""


def format_error(where: str, name: str, must: str, got: str, do: str) -> str:
    """Format an error message as one line.

    >>> format_error("clip_norm", "max_norm", "be greater than 0", "-1.0", "Use inf to switch clipping off")
    'clip_norm: max_norm must be greater than 0. Got -1.0. Use inf to switch clipping off.'
    """
    line = f"{where}: {name} must {must}. Got {got}. {do}."
    return " ".join(line.split())


def input_error(where: str, name: str, must: str, got: str, do: str) -> InputError:
    """Return an :class:`InputError` with a formatted message."""
    return InputError(format_error(where, name, must, got, do))


def argument_error(where: str, name: str, must: str, got: str, do: str) -> ArgumentError:
    """Return an :class:`ArgumentError` with a formatted message."""
    return ArgumentError(format_error(where, name, must, got, do))


def check_number(
    where: str,
    name: str,
    value: Any,
    do: str,
    *,
    above: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    finite: bool = True,
) -> None:
    """Raise an :class:`ArgumentError` unless a value is a number within the given bounds.

    Args:
        where: The function or rule that checks the value.
        name: The argument's name.
        value: The value to check.
        do: What the user should do instead, without the final period.
        above: Exclusive lower bound.
        at_least: Inclusive lower bound.
        at_most: Inclusive upper bound.
        below: Exclusive upper bound.
        finite: Whether infinity is refused as well; NaN always is.

    >>> check_number("decay", "gamma", 0.9, "Try 0.9", above=0)
    """
    bounds = [
        f"{word} {bound:g}"
        for word, bound in (
            ("greater than", above),
            ("at least", at_least),
            ("at most", at_most),
            ("less than", below),
        )
        if bound is not None
    ]
    must = "be a number" + (" " + " and ".join(bounds) if bounds else "")
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if (
        not number
        or math.isnan(value)
        or (finite and math.isinf(value))
        or (above is not None and not value > above)
        or (at_least is not None and not value >= at_least)
        or (at_most is not None and not value <= at_most)
        or (below is not None and not value < below)
    ):
        raise argument_error(where, name, must, repr(value), do)


def check_int(where: str, name: str, value: Any, do: str, *, at_least: int = 0) -> None:
    """Raise an :class:`ArgumentError` unless a value is a whole number of at least ``at_least``.

    >>> check_int("finetune", "epochs", 3, "Try 3", at_least=1)
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
        raise argument_error(where, name, f"be a whole number of at least {at_least}", repr(value), do)


def check_choice(where: str, name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise an :class:`ArgumentError` unless a value is one of ``choices``.

    >>> check_choice("Decay", "per", "epoch", ("epoch", "step"))
    """
    if value not in choices:
        raise argument_error(
            where, name, f"be one of {', '.join(map(repr, choices))}", repr(value), "Choose one of them"
        )


def note(where: str, message: str) -> None:
    """Log something harmless that the user should know, at level WARNING of the logger ``ftlab``."""
    _log.warning("note: %s: %s", where, message)
