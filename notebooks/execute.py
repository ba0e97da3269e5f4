"""Make the notebooks from their sources: every ``NN_stem.py`` is executed and kept with its outputs as ``NN_stem.ipynb``.

``python -m notebooks.execute`` makes all of them, ``python -m notebooks.execute 00_quickstart`` one. The source is
never written to; an edit made in the ``.ipynb`` is lost here, and a test says so before.
"""

import hashlib
import os
import sys
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbclient import NotebookClient

from ftlab.explorer import WIDGET

HERE = Path(__file__).parent
SURROUNDINGS = {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONHASHSEED": "0"}
"""What the kernel has in its environment, here and under nbval: no progress bars in what is kept, and one thread,
since two notebooks are run side by side on two cores."""


def sources() -> list[Path]:
    """Return the notebooks' sources, in the order of the course."""
    return sorted(HERE.glob("[0-9][0-9]_*.py"))


def execute(source: Path, timeout: int = 600) -> Any:
    """Run a source from top to bottom and return it as a notebook with its outputs, free of what changes by chance."""
    notebook = jupytext.read(source)
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    where = {"metadata": {"path": HERE}}
    NotebookClient(notebook, timeout=timeout, kernel_name="python3", resources=where, coalesce_streams=True).execute()
    return tidy(notebook)


def tidy(notebook: Any) -> Any:
    """Give each cell an id made of its source; drop times, versions, and views of widgets that live in a kernel only."""
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
        cell.metadata = {"tags": cell.metadata["tags"]} if cell.metadata.get("tags") else {}
    return notebook


def main(wanted: list[str]) -> None:
    """Execute the notebooks named, or all, and write each beside its source."""
    os.environ |= SURROUNDINGS
    known = {source.stem: source for source in sources()}
    for stem in wanted or known:
        if stem not in known:
            sys.exit(f"notebooks: stem must be one of {', '.join(known)}. Got {stem!r}. Leave it out for all.")
        notebook = execute(known[stem])
        nbformat.validate(notebook)
        nbformat.write(notebook, known[stem].with_suffix(".ipynb"))
        print(f"notebooks/{stem}.ipynb")


if __name__ == "__main__":
    main(sys.argv[1:])
