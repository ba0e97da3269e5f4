"""Formula cards: a formula with its symbols and source, read from the docstring of its function."""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ftlab.errors import argument_error


@dataclass(frozen=True)
class Formula:
    """A formula as its docstring describes it; typeset in a notebook, text elsewhere."""

    name: str
    sentence: str
    mathematics: str
    """LaTeX, on one line."""
    symbols: tuple[tuple[str, str, str], ...]
    """Rows of symbol (LaTeX), name in the code, and meaning."""
    source: str
    departure: str

    def __repr__(self) -> str:
        rows = [f"  {symbol:<16} {code:<12} {meaning}".rstrip() for symbol, code, meaning in self.symbols]
        return "\n".join([f"{self.name}: {self.sentence}", f"  {self.mathematics}", *rows])

    def _repr_markdown_(self) -> str:
        rows = [f"| ${symbol}$ | {f'`{code}`' if code else ''} | {meaning} |" for symbol, code, meaning in self.symbols]
        table = "\n".join(["| symbol | code | meaning |", "| --- | --- | --- |", *rows])
        return f"**{self.name}**: {self.sentence}\n\n$$\n{self.mathematics}\n$$\n\n{table}\n\nSource: {_markdown(self.source)}."


def formula(function: Callable[..., Any]) -> Formula:
    r"""Return the formula that a function computes, read from its docstring.

    Args:
        function: A function of ``ftlab.formulas``.

    Raises:
        ArgumentError: If its docstring has no formula.

    Example:
        >>> from ftlab.formulas.decay import decay
        >>> print(formula(decay).mathematics)
        \alpha_{new} = \alpha_{old}\cdot\gamma \quad\Rightarrow\quad \alpha_t = \alpha_0\,\gamma^t
    """
    text = inspect.getdoc(function) or ""
    blocks = [" ".join(block.split()) for block in re.findall(r"\.\. math::(.*?)\n\n", text, re.DOTALL)]
    name = getattr(function, "__name__", repr(function))
    if not blocks:
        raise argument_error("formula", "function", "be one of ftlab.formulas", name, "Write formula(decay)")
    borders = [line for line in text.splitlines() if re.fullmatch(r"=+( +=+)+", line)]  # of the table of symbols
    rows = text.split(borders[0])[2].strip("\n").splitlines() if borders else []
    spans = [match.span() for match in re.finditer("=+", borders[0])] if borders else []
    cells = [[row[first:last].strip() for first, last in (*spans[:-1], (spans[-1][0], None))] for row in rows]
    source, departure = source_and_departure(text)
    return Formula(
        name=name,
        sentence=text.splitlines()[0],
        mathematics=blocks[0] if len(blocks) == 1 else _gather(blocks),
        symbols=tuple((_latex(symbol), code.strip("`"), _markdown(meaning)) for symbol, code, meaning in cells),
        source=source,
        departure=departure,
    )


def source_and_departure(docstring: str) -> tuple[str, str]:
    """Return the source that a docstring names, and the departure from it.

    >>> source_and_departure("A thing.\\n\\nSource:\\n    A paper. Departure: none.\\n")
    ('A paper', 'none')
    """
    block = re.search(r"Source:\n(.*?)(?:\n\S|\Z)", docstring, re.DOTALL)
    source, _, departure = (" ".join(block.group(1).split()) if block else "").partition("Departure:")
    return source.strip(" ."), departure.strip(" .")


def _gather(blocks: list[str]) -> str:
    """Return several formulas as one block of LaTeX, one below the other."""
    return r"\begin{gathered} " + r" \\ ".join(blocks) + r" \end{gathered}"


def _latex(symbol: str) -> str:
    return re.sub(r":math:`(.*?)`", r"\1", symbol)


def _markdown(text: str) -> str:
    return re.sub(r":math:`(.*?)`", r"$\1$", text.replace("``", "`"))
