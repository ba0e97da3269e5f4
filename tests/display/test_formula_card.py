"""Every formula shows itself: typeset mathematics, symbols, source and departure, taken from its docstring."""

import inspect
import re

import pytest

from ftlab.display.formula_card import formula, source_and_departure
from ftlab.errors import ArgumentError
from ftlab.recipes.catalogue import functions

FUNCTIONS = list(functions().values())


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda one: one.__name__)
def test_a_formula_is_shown_whole(function):
    found = formula(function)
    assert found.mathematics.count("{") == found.mathematics.count("}")
    assert re.search(r"=|\\leftarrow|\\le", found.mathematics)
    blocks = inspect.getdoc(function).split(".. math::")[1:]
    assert all(" ".join(one.split("\n\n")[0].split()) in found.mathematics for one in blocks)
    assert found.symbols
    assert all(symbol and meaning for symbol, _, meaning in found.symbols)
    codes = {code for _, code, _ in found.symbols if code}
    assert codes & {*inspect.signature(function).parameters}
    assert found.source
    assert found.departure
    shown = found._repr_markdown_()
    assert "$$" in shown
    assert ":math:" not in shown
    assert "``" not in shown
    rows = [line for line in shown.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {4}
    assert repr(found).startswith(f"{function.__name__}: ")


def test_what_has_no_formula_is_refused():
    with pytest.raises(ArgumentError, match="formula: function must be one of ftlab.formulas. Got len"):
        formula(len)


def test_source_and_departure_may_stand_alone():
    assert source_and_departure("Nothing.") == ("", "")
    assert source_and_departure("x\n\nSource:\n    A\n    b.\n\nExample:\n    y") == ("A b", "")
