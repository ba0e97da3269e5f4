"""A formula is typeset once, in its function's docstring; whoever shows it takes it from there."""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ftlab.errors import argument_error


@dataclass(frozen=True)
class Formula:
    """What a formula's docstring says: it shows itself typeset in a notebook, and as text elsewhere."""

    name: str
    sentence: str
    mathematics: str
    """LaTeX, in one line."""
    symbols: tuple[tuple[str, str, str], ...]
    """Rows of symbol (LaTeX), code and meaning."""
    source: str
    departure: str

    def __repr__(self) -> str:
        rows = [f"  {symbol:<16} {code:<12} {meaning}".rstrip() for symbol, code, meaning in self.symbols]
        return "\n".join([f"{self.name}: {self.sentence}", f"  {self.mathematics}", *rows])

    def _repr_markdown_(self) -> str:
        rows = [f"| ${symbol}$ | {f'`{code}`' if code else ''} | {meaning} |" for symbol, code, meaning in self.symbols]
        table = "\n".join(["| symbol | code | meaning |", "| --- | --- | --- |", *rows])
        return f"**{self.name}**: {self.sentence}\n\n$$\n{self.mathematics}\n$$\n\n{table}\n\nSource: {_plain(self.source)}."


def formula(function: Callable[..., Any]) -> Formula:
    r"""Return the formula that a function computes, as its docstring has it.

    Args:
        function: One of ``ftlab.formulas``.

    Raises:
        ArgumentError: If its docstring has no formula.

    Example:
        >>> from ftlab.formulas.decay import decay
        >>> print(formula(decay).mathematics)
        \alpha_{new} = \alpha_{old}\cdot\gamma \quad\Rightarrow\quad \alpha_t = \alpha_0\,\gamma^t
    """
    text = inspect.getdoc(function) or ""
    blocks = [" ".join(one.split()) for one in re.findall(r"\.\. math::(.*?)\n\n", text, re.DOTALL)]
    name = getattr(function, "__name__", repr(function))
    if not blocks:
        raise argument_error("formula", "function", "be one of ftlab.formulas", name, "As in formula(decay)")
    rules = [line for line in text.splitlines() if re.fullmatch(r"=+( +=+)+", line)]
    rows = text.split(rules[0])[2].strip("\n").splitlines() if rules else []
    ends = [match.span() for match in re.finditer("=+", rules[0])] if rules else []
    cells = [[row[first:last].strip() for first, last in (*ends[:-1], (ends[-1][0], None))] for row in rows]
    source, departure = said_of(text)
    return Formula(
        name=name,
        sentence=text.splitlines()[0],
        mathematics=blocks[0] if len(blocks) == 1 else _below_each_other(blocks),
        symbols=tuple((_bare(symbol), code.strip("`"), _plain(meaning)) for symbol, code, meaning in cells),
        source=source,
        departure=departure,
    )


def said_of(docstring: str) -> tuple[str, str]:
    """Return what a docstring says of its source, and of its departure from it.

    >>> said_of("A thing.\\n\\nSource:\\n    A paper. Departure: none.\\n")
    ('A paper', 'none')
    """
    block = re.search(r"Source:\n(.*?)(?:\n\S|\Z)", docstring, re.DOTALL)
    source, _, departure = (" ".join(block.group(1).split()) if block else "").partition("Departure:")
    return source.strip(" ."), departure.strip(" .")


def _below_each_other(blocks: list[str]) -> str:
    return r"\begin{gathered} " + r" \\ ".join(blocks) + r" \end{gathered}"


def _bare(symbol: str) -> str:
    return re.sub(r":math:`(.*?)`", r"\1", symbol)


def _plain(meaning: str) -> str:
    return re.sub(r":math:`(.*?)`", r"$\1$", meaning.replace("``", "`"))
