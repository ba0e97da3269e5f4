"""Check answers to exercises, save them to a file, and mark the files that learners hand in."""

import inspect
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import cache
from html import escape
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from ftlab.errors import argument_error, input_error
from ftlab.exercises import functions
from ftlab.exercises.probe import HintError
from ftlab.exercises.sealed import sealed_answers
from ftlab.files import write_text

Task = Callable[[Callable[..., Any]], None]
"""A checker of a learner's function; it raises a :class:`~ftlab.exercises.probe.HintError` if the function is wrong."""


@dataclass(frozen=True)
class Verdict:
    """The result of checking an answer."""

    number: str
    right: bool
    hint: str = ""

    def __repr__(self) -> str:
        return f"{self.number}: right." if self.right else f"{self.number}: not yet. {self.hint}"

    def _repr_html_(self) -> str:
        return f"<p>{'✓' if self.right else '✗'} {escape(repr(self))}</p>"


@dataclass
class Record:
    """The recorded answer to one exercise."""

    right: bool
    tries: int
    answer: str


class Check:
    """A checker that records the answers.

    >>> Check().exercise("01.1", ...)
    01.1: not yet. Put your answer in place of the three dots.
    """

    def __init__(self) -> None:
        self.kept: dict[str, Record] = {}

    def exercise(self, number: str, answer: Any) -> Verdict:
        """Check and record an answer; a wrong one gets a hint, never the answer.

        Args:
            number: The number of the exercise, such as ``"03.2"``.
            answer: A number, a word in quotes, or a function, as the exercise asks. A function that raises an error is
                a wrong answer, and the error is the hint.

        Raises:
            ArgumentError: If there is no such exercise.
        """
        verdict = self.solution(number, answer)
        before = self.kept.get(number, Record(right=False, tries=0, answer=""))
        if answer is not ... and not before.right:
            self.kept[number] = Record(verdict.right, before.tries + 1, as_text(answer))
        return verdict

    def solution(self, number: str, answer: Any) -> Verdict:
        """Check an answer without recording it; for the solutions on the course's own pages.

        >>> checker = Check()
        >>> checker.solution("01.1", ...).right, checker.kept
        (False, {})
        """
        hint = judge(number, answer)
        return Verdict(number, not hint, hint)

    def keep(self, file: str | Path, name: str) -> Path:
        """Write the recorded answers to a file to hand in.

        Args:
            file: The path of the file; an existing file is replaced.
            name: The learner's name.
        """
        path = Path(file)
        content = {"name": name, "exercises": {number: asdict(record) for number, record in sorted(self.kept.items())}}
        write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
        return path

    def marks(self, files: Iterable[str | Path]) -> Any:
        """Return a table of the files that learners handed in: a row for each file, a column for each exercise.

        Numbers and words are checked again. Functions are not run: the file holds their source and the earlier result.
        """
        import pandas as pd

        contents = [read(Path(file)) for file in files]
        rows = [
            {number: _check_again(number, record) for number, record in content["exercises"].items()}
            for content in contents
        ]
        return pd.DataFrame(rows, index=[content["name"] for content in contents]).fillna(False).sort_index(axis=1)


def numbers() -> list[str]:
    """Return the numbers of all exercises.

    >>> "01.1" in numbers()
    True
    """
    return sorted({*sealed_answers(), *tasks()})


@cache
def tasks() -> dict[str, Task]:
    """Return the checkers of functions by exercise number."""
    chapters = [import_module(f"{functions.__name__}.{module.name}") for module in iter_modules(functions.__path__)]
    return {number: task for chapter in chapters for number, task in chapter.TASKS.items()}


def judge(number: str, answer: Any) -> str:
    """Return a hint, or an empty string if the answer is right."""
    if number not in numbers():
        do = f"Choose one of {', '.join(numbers())}"
        raise argument_error("check", "number", "be that of an exercise", repr(number), do)
    if answer is ...:
        return "Put your answer in place of the three dots."
    if number in sealed_answers():
        return sealed_answers()[number].judge(number, answer)
    if not callable(answer):
        return f"The answer must be a function: write its name without brackets. Got {type(answer).__name__}."
    try:
        tasks()[number](answer)
    except HintError as hint:
        return str(hint)
    except Exception as error:  # whatever the learner's function raises
        return f"Your function raised {type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return ""


def as_text(answer: Any) -> str:
    """Return an answer as it is recorded: JSON, or the source of a function."""
    if callable(answer):
        try:
            return inspect.getsource(answer)
        except (OSError, TypeError):
            return repr(answer)
    return json.dumps(answer.item() if hasattr(answer, "item") else answer, ensure_ascii=False, default=repr)


def read(file: Path) -> dict[str, Any]:
    """Return the content of a file that was handed in."""
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if not {"name", "exercises"} <= content.keys():
            raise ValueError("it lacks a name or exercises")
        return content
    except (OSError, ValueError, AttributeError) as error:
        do = "Write it with ftlab.check.keep"
        raise input_error(
            "check", "file", "hold answers written by ftlab.check.keep", f"{file}: {error}", do
        ) from error


def _check_again(number: str, record: dict[str, Any]) -> bool:
    if number in sealed_answers() and record["right"]:
        return not sealed_answers()[number].judge(number, json.loads(record["answer"]))
    return bool(record["right"])


check = Check()
"""The learner's answers in this session."""
