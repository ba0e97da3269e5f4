"""Make the students' notebooks: exercises open, no solutions, no outputs, and every cell still runs.

``python -m notebooks.student`` writes them to ``student/``, ``python -m notebooks.student FOLDER`` elsewhere.
"""

import sys
from pathlib import Path
from typing import Any

import nbformat

from notebooks.pages import HERE, SOLUTION, page, sources, tags


def student(notebook: Any) -> Any:
    """Return a notebook without solutions and without outputs."""
    notebook.cells = [cell for cell in notebook.cells if SOLUTION not in tags(cell)]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook


def main(folder: Path) -> None:
    """Write every notebook as a student gets it."""
    folder.mkdir(parents=True, exist_ok=True)
    for source in sources():
        notebook = student(page(source))
        nbformat.validate(notebook)
        nbformat.write(notebook, folder / f"{source.stem}.ipynb")
        print(folder / f"{source.stem}.ipynb")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parent / "student")
