"""Sealed answers: the package can check an answer without containing it.

It stores a slow hash of each right answer, and hashes of common wrong answers with a hint for each.
"""

import hashlib
import json
import math
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from numbers import Real
from typing import Any

COST = 2**13
"""The cost parameter n of scrypt: some hundredths of a second per hash, which makes guessing slow."""


@dataclass(frozen=True)
class Sealed:
    """An exercise whose answer is a number or a word."""

    right: str
    """The hash of the right answer."""
    digits: int = 0
    """Significant digits that count; 0 for a word."""
    hint: str = ""
    """The hint for an unforeseen wrong answer."""
    wrong: dict[str, str] = field(default_factory=dict)
    """Hints by the hash of a common wrong answer."""

    def judge(self, number: str, answer: Any) -> str:
        """Return a hint, or an empty string if the answer is right."""
        try:
            digest = seal(number, written(answer, self.digits))
        except (TypeError, ValueError) as error:
            return str(error)
        return "" if digest == self.right else self.wrong.get(digest, self.hint)


def written(answer: Any, digits: int) -> str:
    """Return an answer in the canonical form that is hashed.

    >>> written(0.10536, 3), written(" Sign step ", 0)
    ('1.05e-01', 'sign step')
    """
    if not digits:
        if not isinstance(answer, str):
            raise TypeError(f"The answer must be a word in quotes. Got {answer!r}.")
        return " ".join(answer.lower().split())
    if hasattr(answer, "item"):
        answer = answer.item()
    if isinstance(answer, bool) or not isinstance(answer, Real) or not math.isfinite(answer):
        raise TypeError(f"The answer must be a number, to {digits} significant digits. Got {answer!r}.")
    return f"{float(answer) + 0.0:.{digits - 1}e}"


def seal(number: str, text: str) -> str:
    """Return the hash of an answer to one exercise."""
    return hashlib.scrypt(text.encode(), salt=f"ftlab {number}".encode(), n=COST, r=8, p=1, dklen=16).hex()


@cache
def sealed_answers() -> dict[str, Sealed]:
    """Return the sealed exercises by number."""
    text = resources.files("ftlab.exercises").joinpath("answers.json").read_text(encoding="utf-8")
    return {number: Sealed(**entry) for number, entry in json.loads(text).items()}
