"""Tables, as aligned text and as HTML."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any


def as_text(rows: Iterable[Sequence[Any]], columns: Sequence[str] = ()) -> str:
    """Return rows as aligned text, with two spaces between the columns.

    Args:
        rows: Cells by row, as many in each row; a header is an ordinary first row.
        columns: The alignment of each column, ``"<"`` or ``">"``, and a fixed width where one follows, as in ``">8"``.
            Without a width, a column is as wide as its longest cell. Left out, all columns are aligned to the left.

    Example:
        >>> print(as_text([("metric", "value"), ("F1", "0.912")]))
        metric  value
        F1      0.912
    """
    cells = [[str(cell) for cell in row] for row in rows]
    specs = list(columns) or ["<"] * max(map(len, cells), default=0)
    for index, spec in enumerate(specs):
        if spec in ("<", ">"):
            specs[index] += str(max((len(row[index]) for row in cells), default=0))
    return "\n".join("  ".join(map(format, row, specs)).rstrip() for row in cells)


def as_html(header: Sequence[Any], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table as HTML; text in cells is escaped.

    Example:
        >>> as_html(["a"], [["<b>"]])
        '<table><thead><tr><th>a</th></tr></thead><tbody><tr><td>&lt;b&gt;</td></tr></tbody></table>'
    """
    return (
        f"<table><thead>{_row('th', header)}</thead><tbody>{''.join(_row('td', row) for row in rows)}</tbody></table>"
    )


def _row(tag: str, cells: Sequence[Any]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"
