"""Make the notebooks from their sources: every ``NN_stem.py`` is executed and kept with its outputs as ``NN_stem.ipynb``.

``python -m notebooks.execute`` makes all of them, ``python -m notebooks.execute 00_quickstart`` one. The source is
never written to; an edit made in the ``.ipynb`` is lost here, and a test says so before. How long each took is kept in
``benchmarks/results/pages.json``.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from benchmarks.record import RESULTS
from ftlab.files import write_text
from notebooks.pages import HERE, page, sources, tidy

SURROUNDINGS = {
    "OMP_NUM_THREADS": "1",
    "TQDM_DISABLE": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONHASHSEED": "0",
}
"""What the kernel has in its environment, here and under nbval: no progress bars in what is kept, and one thread,
since two notebooks are run side by side on two cores."""


def execute(source: Path, timeout: int = 900) -> Any:
    """Run a source from top to bottom and return it as a notebook with its outputs, free of what changes by chance."""
    notebook = page(source)
    where = {"metadata": {"path": HERE}}
    NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        resources=where,
        coalesce_streams=True,
    ).execute()
    return tidy(notebook)


def main(wanted: list[str]) -> None:
    """Execute the notebooks named, or all, and write each beside its source."""
    os.environ |= SURROUNDINGS
    known = {source.stem: source for source in sources()}
    for stem in wanted or known:
        if stem not in known:
            sys.exit(
                f"notebooks: stem must be one of {', '.join(known)}. Got {stem!r}. Leave it out for all."
            )
        started = time.monotonic()
        notebook = execute(known[stem])
        nbformat.validate(notebook)
        nbformat.write(notebook, known[stem].with_suffix(".ipynb"))
        keep_time(stem, time.monotonic() - started)
        print(f"notebooks/{stem}.ipynb")


def keep_time(stem: str, seconds: float) -> None:
    """Keep how long a page ran, with one thread."""
    file = RESULTS / "pages.json"
    kept = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    load = round(os.getloadavg()[0], 2)
    kept[stem] = {"seconds": round(seconds), "load": load}
    write_text(file, json.dumps(dict(sorted(kept.items())), indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
