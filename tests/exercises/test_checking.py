"""The checkers tell right from wrong: the right answers, and the wrong ones that learners usually give."""

import json

import pytest
import torch

from ftlab.errors import ArgumentError, InputError
from ftlab.exercises.checking import Check, numbers, tasks
from ftlab.exercises.probe import HintError, expect, near, run
from ftlab.exercises.sealed import sealed_answers, written
from notebooks.execute import sources
from tests.exercises.plain import Answer, Function
from tests.exercises.seal import FILE, answers, content

PLAIN = {number: one for number, one in answers().items() if isinstance(one, Answer)}
FUNCTIONS = {number: one for number, one in answers().items() if isinstance(one, Function)}


def test_every_exercise_has_its_answers_here_and_its_checker_there():
    assert list(answers()) == numbers()
    assert FUNCTIONS.keys() == tasks().keys()
    assert PLAIN.keys() == sealed_answers().keys()


@pytest.mark.parametrize("stem", [source.stem for source in sources()])
def test_every_chapter_has_at_least_three_and_one_of_them_asks_for_a_function(stem):
    own = [number for number in numbers() if number.startswith(f"{stem[:2]}.")]
    assert len(own) >= (3 if stem < "08" else 1)
    assert any(number in FUNCTIONS for number in own) or stem < "01" or stem > "08"


def test_the_sealed_file_is_that_of_these_answers():
    assert FILE.read_text(encoding="utf-8") == content(), "run: python -m tests.exercises.seal"


@pytest.mark.parametrize("number", PLAIN)
def test_a_right_answer_is_right_and_the_usual_wrong_ones_get_their_hint(number):
    one, check = PLAIN[number], Check()
    assert check.exercise(number, one.right).right
    assert one.wrong, "which mistakes do learners make?"
    for value, hint in one.wrong.items():
        verdict = Check().exercise(number, value)
        assert (verdict.right, verdict.hint) == (False, hint)
    other = "something else" if not one.digits else one.right * 1.37 + 17.3
    assert Check().exercise(number, other).hint == one.hint != ""


@pytest.mark.parametrize("number", PLAIN)
def test_no_hint_gives_the_answer_away(number):
    one = PLAIN[number]
    told = [one.hint, *one.wrong.values()]
    plain = f"{one.right:.{one.digits}g}" if one.digits else one.right.lower()
    for hint in told:
        assert plain not in hint.lower().split(), hint
    assert written(one.right, one.digits) not in FILE.read_text(encoding="utf-8")


@pytest.mark.parametrize("number", FUNCTIONS)
def test_a_right_function_is_right_and_the_usual_wrong_ones_get_their_hint(number):
    one = FUNCTIONS[number]
    verdict = Check().exercise(number, one.right)
    assert verdict.right, verdict.hint
    assert len(one.wrong) >= 3
    for function, part in one.wrong:
        verdict = Check().exercise(number, function)
        assert not verdict.right, function
        assert part in verdict.hint, verdict.hint


@pytest.mark.parametrize("number", FUNCTIONS)
def test_a_function_that_does_nothing_fails_or_changes_its_inputs_is_no_right_answer(number):
    def nothing(*inputs, **more): ...

    def fails(*inputs, **more):
        raise KeyError("w")

    assert "return" in Check().exercise(number, nothing).hint
    assert Check().exercise(number, fails).hint == "Your function raised KeyError: 'w'"
    assert "must be a function" in Check().exercise(number, 3.0).hint


def test_three_dots_are_no_try():
    check = Check()
    assert repr(check.exercise("01.1", ...)) == "01.1: not yet. Put your answer in place of the three dots."
    assert check.kept == {}


def test_an_exercise_that_is_not_there_is_refused():
    with pytest.raises(ArgumentError, match=r"check: number must be that of an exercise. Got '9.9'. Choose one of 0"):
        Check().exercise("9.9", 1)


def test_the_probe_notices_what_a_function_does():
    given = {"w": torch.ones(2)}
    assert near(run(lambda one: {"w": one["w"] * 2}, given), {"w": torch.full((2,), 2.0)})
    with pytest.raises(HintError, match="returns nothing"):
        run(lambda one: None, given)
    with pytest.raises(HintError, match="modifies its inputs"):
        run(lambda one: {"w": one["w"].mul_(2)}, given)
    assert torch.equal(given["w"], torch.ones(2))
    with pytest.raises(HintError, match="^look$"):
        expect(False, "look")
    assert not near(torch.ones(2), torch.ones(3))
    assert not near("1", 1.0)
    assert not near({"w": 1.0}, {"v": 1.0})
    assert not near([1.0], [1.0, 2.0])
    assert near([1.0, 2], (1.0, 2.0))


def test_answers_are_kept_handed_in_and_marked(tmp_path):
    number, one = next(iter(PLAIN.items()))
    check = Check()
    check.exercise(number, next(iter(one.wrong)))
    check.exercise(number, one.right)
    check.exercise(number, next(iter(one.wrong)))  # what was right stays right
    task = next(iter(FUNCTIONS))
    check.exercise(task, FUNCTIONS[task].right)
    file = check.keep(tmp_path / "ada.json", "Ada")
    kept = json.loads(file.read_text())["exercises"]
    assert kept[number]["tries"] == 2
    assert "def " in kept[task]["answer"]
    other = Check()
    other.exercise(number, next(iter(one.wrong)))
    table = check.marks([file, other.keep(tmp_path / "bob.json", "Bob")])
    assert table.loc["Ada"].tolist() == [True, True]
    assert table.loc["Bob"].tolist() == [False, False]


def test_a_file_that_was_written_by_hand_is_marked_anew(tmp_path):
    number, one = next(iter(PLAIN.items()))
    check = Check()
    check.exercise(number, one.right)
    file = check.keep(tmp_path / "eve.json", "Eve")
    content = json.loads(file.read_text())
    content["exercises"][number]["answer"] = json.dumps(next(iter(one.wrong)))
    file.write_text(json.dumps(content))
    assert check.marks([file]).loc["Eve"].tolist() == [False]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": "x"}'])
def test_another_file_is_refused(tmp_path, text):
    file = tmp_path / "answers.json"
    file.write_text(text)
    with pytest.raises(InputError, match="check: file must hold answers written by ftlab.check.keep"):
        Check().marks([file])
