"""What the book makes of the package: references and reference pages. The built book is tested in a browser."""

import ftlab
from book.build import GROUPS, api, references
from ftlab.recipes.catalogue import functions


def test_the_reference_holds_every_public_name():
    named = " ".join(GROUPS.values()).split()
    assert len(named) == len(set(named))
    assert {*named, "check"} >= {name for name in ftlab.__all__ if name not in ("formulas", "__version__")}
    assert all(f"ftlab.{name}" in api() for name in named)


def test_every_formula_has_its_reference():
    text = references()
    assert [name for name, one in functions().items() if f"<{one.__module__}.{name}>" not in text] == []
    assert text.count("https://arxiv.org/abs/") > 20
