"""Seal the answers of all chapters into the package: ``python -m tests.exercises.seal``."""

import json
from importlib import import_module
from pathlib import Path

from ftlab.exercises.sealed import seal, written
from tests.exercises.plain import Answer, Function

HERE = Path(__file__).parent
FILE = HERE.parents[1] / "ftlab/exercises/answers.json"
CHAPTERS = sorted(path.stem for path in HERE.glob("answers_*.py"))


def answers() -> dict[str, Answer | Function]:
    """Return the answers of all chapters by the exercise's number."""
    found: dict[str, Answer | Function] = {}
    for stem in CHAPTERS:
        chapter = import_module(f"tests.exercises.{stem}").ANSWERS
        assert not found.keys() & chapter.keys(), "two chapters have an exercise of one number"
        found |= chapter
    return dict(sorted(found.items()))


def sealed(number: str, one: Answer) -> dict[str, object]:
    """Return what the package keeps of an answer."""

    def close(value: object) -> str:
        return seal(number, written(value, one.digits))

    wrong = {close(value): hint for value, hint in one.wrong.items()}
    assert close(one.right) not in wrong, f"{number}: a wrong answer is written like the right one"
    return {"right": close(one.right), "digits": one.digits, "hint": one.hint, "wrong": wrong}


def content() -> str:
    """Return the file of sealed answers as it should be."""
    entries = {number: sealed(number, one) for number, one in answers().items() if isinstance(one, Answer)}
    return json.dumps(entries, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(content(), encoding="utf-8")
    print(f"{FILE.name}: {len(json.loads(content()))} answers sealed")
