"""Answers as they are before they are sealed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Answer:
    """The right answer of an exercise that asks for a number or a word, and hints for wrong ones."""

    right: Any
    digits: int = 0
    """Significant digits that count; 0 for a word."""
    hint: str = ""
    """For a wrong answer that nobody foresaw."""
    wrong: Mapping[Any, str] = field(default_factory=dict)
    """A hint by a wrong answer that learners give."""


@dataclass(frozen=True)
class Function:
    """A function that is right, and wrong ones with a part of the hint that each must get."""

    right: Callable[..., Any]
    wrong: tuple[tuple[Callable[..., Any], str], ...]
