"""What the book makes of the package: solutions, references, reference pages. The built book is tested in a browser."""

import re

import jupytext

import ftlab
from book.build import GROUPS, api, public, references, solutions, without_solutions
from ftlab import formulas
from notebooks.execute import sources


def test_every_exercise_has_its_solution_folded_under_it():
    text = solutions()
    asked = [
        name
        for source in sources()
        for name in re.findall(r"^# ### (Exercise .*)", source.read_text("utf-8"), re.MULTILINE)
    ]
    assert re.findall(r"^### (.*)", text, re.MULTILINE) == asked
    for part in re.split(r"^### Exercise ", text, flags=re.MULTILINE)[1:]:
        task, _, solved = part.partition(":::{dropdown} Solution")
        assert f'check.exercise("{part[:4]}"' in solved
        assert "check.exercise" not in task


def test_no_chapter_of_the_book_gives_its_solutions_away():
    for source in sources():
        solved = jupytext.read(source).cells
        for cell, shown in zip(solved, without_solutions(jupytext.read(source)).cells, strict=True):
            if "solution" in cell.metadata.get("tags", []):
                assert "..." in shown.source
                assert len(shown.source) < len(cell.source)
            else:
                assert shown.source == cell.source


def test_the_reference_holds_every_public_name():
    named = " ".join(GROUPS.values()).split()
    assert len(named) == len(set(named))
    assert {*named, "check"} >= {name for name in ftlab.__all__ if name not in ("formulas", "__version__")}
    assert all(f"ftlab.{name}" in api() for name in named)


def test_every_formula_has_its_reference():
    text = references()
    assert [name for name, _ in public(formulas) if f"<ftlab.formulas.{name}>" not in text] == []
    assert text.count("https://arxiv.org/abs/") > 20
