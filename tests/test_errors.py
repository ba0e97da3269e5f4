"""The one grammar of errors, and the checks that speak it."""

import math

import pytest

from ftlab.errors import (
    ArgumentError,
    InputError,
    argument_error,
    check_choice,
    check_int,
    check_number,
    input_error,
    note,
)


def test_an_error_is_one_line_whatever_its_parts():
    error = argument_error("decay", "gamma", "be\n a number", "'a\nb'", "Try 0.9")
    assert str(error) == "decay: gamma must be a number. Got 'a b'. Try 0.9."
    assert type(error) is ArgumentError
    assert type(input_error("load_data", "file", "exist", "'a.csv'", "Check the name")) is InputError


@pytest.mark.parametrize(
    ("bounds", "good", "bad", "must"),
    [
        ({}, (-5, 0, 2.5), (), "be a number. Got"),
        ({"above": 0}, (1e-300, 3), (0, -1), "be a number greater than 0. Got"),
        ({"at_least": 0}, (0, 0.0, 7), (-1e-300,), "be a number at least 0. Got"),
        ({"at_least": 0, "at_most": 1}, (0, 1, 0.5), (1.0001, -1), "be a number at least 0 and at most 1. Got"),
        ({"at_least": 0, "below": 1}, (0, 0.999), (1, 2), "be a number at least 0 and less than 1. Got"),
        ({"above": 0.25, "at_most": 10}, (10,), (0.25,), "be a number greater than 0.25 and at most 10. Got"),
    ],
)
def test_a_number_must_lie_inside_its_bounds(bounds, good, bad, must):
    for value in good:
        check_number("here", "x", value, "Try 1", **bounds)
    for value in (*bad, math.nan, math.inf, -math.inf, "1", None, True, [1]):
        with pytest.raises(ArgumentError, match=f"^here: x must {must} .*. Try 1.$"):
            check_number("here", "x", value, "Try 1", **bounds)


def test_infinity_may_be_allowed_and_nan_never():
    check_number("here", "x", math.inf, "Try 1", above=0, finite=False)
    for value in (math.nan, -math.inf):
        with pytest.raises(ArgumentError, match="x must be a number greater than 0. Got"):
            check_number("here", "x", value, "Try 1", above=0, finite=False)


def test_a_whole_number_must_be_an_int_of_at_least_its_bound():
    check_int("here", "n", 0, "Try 1")
    check_int("here", "n", 3, "Try 3", at_least=3)
    for value, least in ((-1, 0), (2, 3), (1.0, 0), ("1", 0), (True, 0), (None, 0)):
        with pytest.raises(
            ArgumentError, match=f"^here: n must be a whole number of at least {least}. Got .*. Try 3.$"
        ):
            check_int("here", "n", value, "Try 3", at_least=least)


def test_a_choice_must_be_one_of_those_named():
    check_choice("here", "per", "step", ("epoch", "step"))
    for value in ("batch", "", None):
        with pytest.raises(
            ArgumentError, match="^here: per must be one of 'epoch', 'step'. Got .*. Choose one of them.$"
        ):
            check_choice("here", "per", value, ("epoch", "step"))


def test_a_note_goes_to_the_logger(mentioned):
    note("load_data", "2 rows were left out")
    assert "note: load_data: 2 rows were left out" in mentioned()
