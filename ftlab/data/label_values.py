"""What labels may be: names, numbers, lists of names, or columns of 0 and 1; and which rows to name in an error."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ftlab.errors import argument_error, input_error

Column = str | Sequence[str] | None
"""The name of the column with the labels, or of several columns of 0 and 1, one for each label."""


def check_columns(label: Any, kind: str | None) -> None:
    """Check the names of several columns of labels, and that the task may have several labels a row."""
    several = isinstance(label, list | tuple) and len(set(label)) == len(label) > 1
    if not several or not all(isinstance(name, str) for name in label) or kind not in (None, "multilabel"):
        do = "Write label='verdict', or label=['toxic', 'insult'] for columns of 0 and 1"
        got = f"{label!r}" if kind in (None, "multilabel") else f"{label!r} for {kind}"
        raise argument_error("load_data", "label", "be a column, or a list of columns for a multilabel task", got, do)


def labels_of_columns(columns: Mapping[str, Sequence[Any]], source: str) -> list[list[str]]:
    """Return the labels of each row: the names of the columns that hold 1.

    >>> labels_of_columns({"toxic": ["1", "0"], "insult": ["1", "1"]}, "a.csv")
    [['toxic', 'insult'], ['insult']]
    """
    for name, values in columns.items():
        wrong = {row: value for row, value in enumerate(values) if as_number(value) not in (0, 1)}
        if wrong:
            do = "With several columns, 1 says that a label applies and 0 that it does not"
            raise input_error("load_data", f"{name} of {source}", "be 0 or 1 in every row", format_wrong(wrong), do)
    rows = zip(*columns.values(), strict=True)
    return [[name for name, one in zip(columns, row, strict=True) if as_number(one)] for row in rows]


def check_lists(labels: list[Any], source: str) -> None:
    """Raise if labels are rows of 0 and 1, one number for each label, or lists that were written as text."""
    lists = [label for label in labels if isinstance(label, list)]
    sizes = {len(row) for row in lists}
    numbers = all(not isinstance(one, str) and as_number(one) in (0, 1) for row in lists for one in row)
    if lists and len(sizes) == 1 and max(sizes) > 1 and numbers:
        do = "List the labels that apply, or give a column for each label and name them all: label=['toxic', 'insult']"
        raise input_error("load_data", f"label of {source}", "be the labels of a row", f"{lists[0]!r} in row 1", do)
    written = {row: label for row, label in enumerate(labels) if isinstance(label, str) and _is_written_list(label)}
    if written:
        do = "Join several labels with |, as in insult|threat"
        raise input_error("load_data", f"label of {source}", "not be a list written as text", format_wrong(written), do)


def _is_written_list(label: str) -> bool:
    """Return whether a text is a Python list of strings, as pandas writes one into a cell."""
    return bool(re.fullmatch(r"""\[\s*(['"]).*\1\s*\]""", label.strip(), re.DOTALL))


def as_number(label: Any) -> float | None:
    """Return a label as a number; None if it is none.

    >>> as_number("0.5"), as_number("good")
    (0.5, None)
    """
    try:
        return float(label)
    except (TypeError, ValueError, OverflowError):
        return None


def format_rows(numbers: list[int]) -> str:
    """Name the first three of these rows, counted from 1.

    >>> format_rows([0, 4, 6, 9])
    'rows 1, 5, 7 (and 1 more)'
    >>> format_rows([3])
    'row 4'
    """
    more = f" (and {len(numbers) - 3} more)" if len(numbers) > 3 else ""
    return f"row{'s' if len(numbers) > 1 else ''} {', '.join(str(number + 1) for number in numbers[:3])}{more}"


def format_wrong(wrong: dict[int, Any]) -> str:
    """Show the first wrong value, and name the rows.

    >>> format_wrong({2: "", 5: ""})
    "'' in rows 3, 6"
    """
    return f"{next(iter(wrong.values()))!r} in {format_rows(list(wrong))}"
