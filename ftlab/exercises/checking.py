"""Check an answer, keep what was answered, and read what was handed in."""

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
"""A checker of a learner's function: it raises a :class:`~ftlab.exercises.probe.HintError` unless all is right."""


@dataclass(frozen=True)
class Verdict:
    """What became of an answer."""

    number: str
    right: bool
    hint: str = ""

    def __repr__(self) -> str:
        return f"{self.number}: right." if self.right else f"{self.number}: not yet. {self.hint}"

    def _repr_html_(self) -> str:
        return f"<p>{'✓' if self.right else '✗'} {escape(repr(self))}</p>"


@dataclass
class Kept:
    """What is kept of one exercise."""

    right: bool
    tries: int
    answer: str


class Check:
    """Checks answers and remembers them.

    >>> Check().exercise("01.1", ...)
    01.1: not yet. Put your answer in place of the three dots.
    """

    def __init__(self) -> None:
        self.kept: dict[str, Kept] = {}

    def exercise(self, number: str, answer: Any) -> Verdict:
        """Say whether an answer is right; if it is not, give a hint and never the answer.

        Args:
            number: As it stands in the chapter: ``"03.2"``.
            answer: A number, a word in quotes, or a function, whatever the exercise asks for. A learner's function
                that fails is a wrong answer; its error is the hint.

        Raises:
            ArgumentError: If there is no such exercise.
        """
        verdict = self.solution(number, answer)
        before = self.kept.get(number, Kept(right=False, tries=0, answer=""))
        if answer is not ... and not before.right:
            self.kept[number] = Kept(verdict.right, before.tries + 1, as_text(answer))
        return verdict

    def solution(self, number: str, answer: Any) -> Verdict:
        """Check an answer as :meth:`exercise` does, but do not keep it: it is the page's own.

        >>> checker = Check()
        >>> checker.solution("01.1", ...).right, checker.kept
        (False, {})
        """
        hint = judge(number, answer)
        return Verdict(number, not hint, hint)

    def keep(self, file: str | Path, name: str) -> Path:
        """Write what was answered so far to a file that can be handed in.

        Args:
            file: Where; an older one is replaced.
            name: Whose answers they are.
        """
        path = Path(file)
        content = {"name": name, "exercises": {number: asdict(one) for number, one in sorted(self.kept.items())}}
        write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
        return path

    def marks(self, files: Iterable[str | Path]) -> Any:
        """Return a table of what learners handed in: a row for each, a column for each exercise.

        Numbers and words are checked again; of a function the file says what it did, with its source to be read.
        """
        import pandas as pd

        handed = [read(Path(file)) for file in files]
        rows = [{number: _again(number, one) for number, one in every["exercises"].items()} for every in handed]
        return pd.DataFrame(rows, index=[every["name"] for every in handed]).fillna(False).sort_index(axis=1)


def numbers() -> list[str]:
    """Return the numbers of all exercises.

    >>> "01.1" in numbers()
    True
    """
    return sorted({*sealed_answers(), *tasks()})


@cache
def tasks() -> dict[str, Task]:
    """Return the checkers of functions by the exercise's number."""
    chapters = [import_module(f"{functions.__name__}.{one.name}") for one in iter_modules(functions.__path__)]
    return {number: task for chapter in chapters for number, task in chapter.TASKS.items()}


def judge(number: str, answer: Any) -> str:
    """Return a hint, or nothing where the answer is right."""
    if number not in numbers():
        raise argument_error(
            "check", "number", "be that of an exercise", repr(number), f"Choose one of {', '.join(numbers())}"
        )
    if answer is ...:
        return "Put your answer in place of the three dots."
    if number in sealed_answers():
        return sealed_answers()[number].judge(number, answer)
    if not callable(answer):
        return f"The answer must be a function: give its name without brackets. Got {type(answer).__name__}."
    try:
        tasks()[number](answer)
    except HintError as hint:
        return str(hint)
    except Exception as error:  # whatever a learner's function may raise
        return f"Your function raised {type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return ""


def as_text(answer: Any) -> str:
    """Return an answer as it is kept: a function by its source."""
    if callable(answer):
        try:
            return inspect.getsource(answer)
        except (OSError, TypeError):
            return repr(answer)
    return json.dumps(answer.item() if hasattr(answer, "item") else answer, ensure_ascii=False, default=repr)


def read(file: Path) -> dict[str, Any]:
    """Return what a file says that was handed in."""
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if not {"name", "exercises"} <= content.keys():
            raise ValueError("it has no name or no exercises")
        return content
    except (OSError, ValueError, AttributeError) as error:
        do = "Make it with ftlab.check.keep"
        raise input_error("check", "file", "be answers that were kept", f"{file}: {error}", do) from error


def _again(number: str, kept: dict[str, Any]) -> bool:
    if number in sealed_answers() and kept["right"]:
        return not sealed_answers()[number].judge(number, json.loads(kept["answer"]))
    return bool(kept["right"])


check = Check()
"""What a learner has answered so far, in this session."""
