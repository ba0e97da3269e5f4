"""The one grammar of errors: ``<where>: <name> must <condition>. Got <value>. <What to do>.``"""

import logging
import math
from typing import Any

_log = logging.getLogger("ftlab")


class InputError(ValueError):
    """Invalid input, refused before any work starts: a file, a model, a folder."""


class ArgumentError(InputError):
    """An invalid argument: a negative learning rate, an unknown rule."""


class DivergenceError(ArithmeticError):
    """The loss or a weight is no longer a finite number. Nothing was saved over a good model."""


class InterruptionError(KeyboardInterrupt):
    """The run was stopped by hand. The message says what was left on disk."""


def format_error(where: str, name: str, must: str, got: str, do: str) -> str:
    """Return one line in the grammar of errors.

    >>> format_error("clip_norm", "max_norm", "be greater than 0", "-1.0", "Use inf to switch clipping off")
    'clip_norm: max_norm must be greater than 0. Got -1.0. Use inf to switch clipping off.'
    """
    line = f"{where}: {name} must {must}. Got {got}. {do}."
    return " ".join(line.split())


def input_error(where: str, name: str, must: str, got: str, do: str) -> InputError:
    """Build the error for invalid input."""
    return InputError(format_error(where, name, must, got, do))


def argument_error(where: str, name: str, must: str, got: str, do: str) -> ArgumentError:
    """Build the error for an invalid argument."""
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
    """Refuse a value that is not a number inside its range.

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
    """Refuse a value that is not a whole number of at least ``at_least``.

    >>> check_int("finetune", "epochs", 3, "Try 3", at_least=1)
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
        raise argument_error(where, name, f"be a whole number of at least {at_least}", repr(value), do)


def check_choice(where: str, name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Refuse a value that is not one of ``choices``.

    >>> check_choice("Decay", "per", "epoch", ("epoch", "step"))
    """
    if value not in choices:
        raise argument_error(
            where, name, f"be one of {', '.join(map(repr, choices))}", repr(value), "Choose one of them"
        )


def note(where: str, what: str) -> None:
    """Say something harmless that the reader should know; it goes to the logger ``ftlab``."""
    _log.warning("note: %s: %s", where, what)
