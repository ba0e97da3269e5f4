"""Each formula has mutants, and those of the formulas that changed since the last hunt are killed here."""

import subprocess
import sys

import pytest

from tests.mutants import ROOT, STEMS, changed, fault, mutants


@pytest.mark.parametrize("stem", STEMS)
def test_a_formula_has_at_least_four_mutants_and_each_is_a_small_wrong_edit(stem):
    edits = mutants(stem)
    assert len(edits) >= 4
    assert len(set(edits)) == len(edits)
    assert [one for one in (fault(stem, *edit) for edit in edits) if one] == []


HUNTED = 8
"""How many changed formulas are tried here, for time's sake; ``make mutants`` tries all and records them."""


def test_no_more_formulas_have_changed_than_are_tried_here():
    assert len(changed()) <= HUNTED, "run: make mutants"


@pytest.mark.parametrize("stem", changed()[:HUNTED] or ["none changed"])
def test_the_mutants_of_a_changed_formula_are_killed(stem):
    if stem in STEMS:  # in a process of its own, where no formula is loaded yet
        done = subprocess.run([sys.executable, "-m", "tests.mutants", stem], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr[-2000:]


def test_a_mutant_that_changes_nothing_is_said_to_survive():
    code = "from tests.mutants import ended, hunters; print(hunters().apply(ended, ('soup', 'def ', 'def '))[0])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "0", done.stderr[-2000:]
