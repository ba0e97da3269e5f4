"""Make a notebook of its source: the cell for Colab first, and every exercise open above its folded solution.

A source (``NN_stem.py``) holds only the solution of an exercise. What a reader opens has two cells in its place: one with
``...`` where the answer goes, and the solution, folded. Both are executed.
"""

import ast
import hashlib
from pathlib import Path
from typing import Any

import jupytext
from nbformat.v4 import new_code_cell

HERE = Path(__file__).parent
EXERCISE, SOLUTION = "exercise", "solution"
"""The tags of an exercise's open cell and of the cell that solves it, which ends with its check."""
FOLDED = ("hide-input", "hide-cell")
"""Tags of cells whose code is folded: in the book, in JupyterLab and on Colab."""
WIDGET = "application/vnd.jupyter.widget-view+json"


def sources() -> list[Path]:
    """Return the notebooks' sources, in the order of the course."""
    return sorted(HERE.glob("[0-9][0-9]_*.py"))


def page(source: Path) -> Any:
    """Return a source as the notebook that a reader opens, not yet executed."""
    notebook = jupytext.read(source)
    opening, *cells = notebook.cells
    colab = new_code_cell(
        (HERE / "colab.py").read_text(encoding="utf-8").rstrip(),
        metadata=tagged("nbval-skip", "hide-cell"),
    )
    notebook.cells = [opening, colab]
    for cell in cells:
        if SOLUTION in tags(cell):
            notebook.cells.append(
                new_code_cell(blank(cell.source), metadata=tagged(EXERCISE))
            )
            solved = cell.source.replace(
                "ftlab.check.exercise(", "ftlab.check.solution("
            )  # not kept as the reader's
            cell.source = f"# @title Solution\n{solved}"
            cell.metadata = tagged(SOLUTION, "hide-cell")
        notebook.cells.append(cell)
    notebook.metadata = {
        "kernelspec": {
            "display_name": "Python 3 (ipykernel)",
            "language": "python",
            "name": "python3",
        },
        "language_info": {"name": "python"},
    }
    return tidy(notebook)


def tags(cell: Any) -> list[str]:
    """Return the tags of a cell."""
    return list(cell.metadata.get("tags", ()))


def tagged(*names: str) -> dict[str, Any]:
    """Return the metadata of a cell with these tags."""
    return {"tags": list(names)}


def blank(solution: str) -> str:
    """Return a solution as it is set: names and signatures stay, what was worked out becomes dots.

    >>> print(blank("import math\\nanswer = -math.log(0.5)\\nftlab.check.exercise('01.1', answer)"))
    import math
    answer = ...
    ftlab.check.exercise('01.1', answer)
    >>> print(blank("def double(one):\\n    return 2 * one\\n\\nftlab.check.exercise('01.2', double)"))
    def double(one):
        ...
    ftlab.check.exercise('01.2', double)
    """
    *statements, check = ast.parse(solution).body
    kept = [text for one in statements if (text := _blank(one))]
    return "\n".join([*kept, ast.get_source_segment(solution, check) or ""])


def _blank(statement: ast.stmt) -> str:
    dots = ast.Expr(ast.Constant(...))
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return ast.unparse(statement)
    if isinstance(statement, ast.Assign):
        return ast.unparse(
            ast.Assign(statement.targets, ast.Constant(...), lineno=statement.lineno)
        )
    if isinstance(statement, ast.FunctionDef):
        statement.body = [
            *(statement.body[:1] if ast.get_docstring(statement) else []),
            dots,
        ]
        return ast.unparse(statement)
    return ""


def tidy(notebook: Any) -> Any:
    """Give each cell an id made of its source, fold what is tagged so, and drop what changes from run to run."""
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = {"name": "python"}
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        name = hashlib.sha256(cell.source.encode()).hexdigest()[:8]
        seen[name] = seen.get(name, 0) + 1
        cell.id = name if seen[name] == 1 else f"{name}-{seen[name]}"
        for output in cell.get("outputs", ()):
            output.get("data", {}).pop(WIDGET, None)
        cell.metadata = tagged(*tags(cell)) if tags(cell) else {}
        if set(FOLDED) & set(tags(cell)):
            cell.metadata |= {"jupyter": {"source_hidden": True}, "cellView": "form"}
    return notebook
