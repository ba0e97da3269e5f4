"""Make the students' notebooks: solutions become three dots, outputs are cleared, and every cell still runs.

``python -m notebooks.student`` writes them to ``student/``, ``python -m notebooks.student FOLDER`` elsewhere.
"""

import ast
import sys
from pathlib import Path
from typing import Any

import jupytext
import nbformat

from notebooks.execute import HERE, sources, tidy

SOLUTION = "solution"
"""The tag of a cell that solves an exercise and ends with its check."""


def blank(solution: str) -> str:
    """Return a solution's cell as a student gets it: names and signatures stay, what was worked out becomes dots.

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
        return ast.unparse(ast.Assign(statement.targets, ast.Constant(...), lineno=statement.lineno))
    if isinstance(statement, ast.FunctionDef):
        statement.body = [*(statement.body[:1] if ast.get_docstring(statement) else []), dots]
        return ast.unparse(statement)
    return ""


def student(notebook: Any) -> Any:
    """Return a notebook without solutions and without outputs."""
    for cell in notebook.cells:
        if SOLUTION in cell.metadata.get("tags", []):
            cell.source = blank(cell.source)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    }
    return tidy(notebook)


def main(folder: Path) -> None:
    """Write every notebook as a student gets it."""
    folder.mkdir(parents=True, exist_ok=True)
    for source in sources():
        notebook = student(jupytext.read(source))
        nbformat.validate(notebook)
        nbformat.write(notebook, folder / f"{source.stem}.ipynb")
        print(folder / f"{source.stem}.ipynb")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parent / "student")
