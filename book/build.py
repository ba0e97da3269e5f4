"""Build the book: ``python -m book.build`` collects its pages in ``book/_build/source`` and builds ``book/_build/html``.

The chapters are the executed notebooks. This module generates the pages that come from docstrings: the API reference and
the references.
"""

import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

import ftlab
from ftlab.display.formula_card import formula
from ftlab.recipes.catalogue import functions, rules
from notebooks.pages import sources

HERE = Path(__file__).parent
BUILT = HERE / "_build"
SOURCE, HTML = BUILT / "source", BUILT / "html"


def main() -> None:
    """Collect the pages and build the book; a warning is an error."""
    shutil.rmtree(BUILT, ignore_errors=True)
    collect(SOURCE)
    command = [Path(sys.executable).with_name("jupyter-book"), "build", SOURCE, "--path-output", BUILT]
    code = subprocess.run(
        [*command, "-W", "-n", "--keep-going"], env=os.environ | {"PYTHONPATH": str(HERE.parent)}
    ).returncode
    if code:
        sys.exit(code)
    (BUILT / "_build/html").rename(HTML)
    print(f"{HTML.relative_to(HERE.parent)}/index.html")


def collect(folder: Path) -> None:
    """Write the sources of all pages to one folder."""
    shutil.copytree(HERE / "_static", folder / "_static")
    for page in HERE.glob("*.md"):
        shutil.copy(page, folder)
    shutil.copy(HERE / "_toc.yml", folder)
    settings = with_buttons(yaml.safe_load((HERE / "_config.yml").read_text(encoding="utf-8")))
    (folder / "_config.yml").write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
    (folder / "notebooks").mkdir()
    for source in sources():
        shutil.copy(source.with_suffix(".ipynb"), folder / "notebooks")
    for name, page in (("api", api), ("references", references)):
        (folder / f"{name}.md").write_text(page(), encoding="utf-8")


def with_buttons(settings: dict[str, Any]) -> dict[str, Any]:
    """Add the buttons for Colab and Binder if the repository has an address.

    >>> with_buttons({"repository": {"url": ""}})
    {}
    >>> with_buttons({"repository": {"url": "https://github.com/you/ftlab"}})["launch_buttons"]["colab_url"]
    'https://colab.research.google.com'
    """
    if not settings["repository"]["url"]:
        return {name: value for name, value in settings.items() if name != "repository"}
    buttons = {"colab_url": "https://colab.research.google.com", "binderhub_url": "https://mybinder.org"}
    return settings | {"launch_buttons": buttons | {"notebook_interface": "jupyterlab"}}


def references() -> str:
    """Return the page of references: the source and departure from each formula's docstring."""
    lines = [
        "# References",
        "",
        "The source of each formula, and where the code departs from it, from the docstrings.",
        "",
    ]
    lines += ["| formula | source | departure |", "| --- | --- | --- |"]
    for name, function in functions().items():
        card = formula(function)
        cells = (f"{{func}}`{name} <{function.__module__}.{name}>`", linked(card.source), marked(card.departure))
        lines.append(f"| {' | '.join(cell.replace('|', '∣') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def linked(source: str) -> str:
    """Turn arXiv numbers into links.

    >>> linked("Hu 2022, arXiv 2106.09685")
    'Hu 2022, [arXiv 2106.09685](https://arxiv.org/abs/2106.09685)'
    """
    return re.sub(r"arXiv (\d{4}\.\d{4,5})", r"[arXiv \1](https://arxiv.org/abs/\1)", marked(source))


def marked(text: str) -> str:
    """Return a docstring's text as Markdown."""
    text = re.sub(r":(?:func|class):`~?([\w.]+)`", lambda match: f"`{match[1].rpartition('.')[2]}`", text)
    return re.sub(r":math:`(.*?)`", r"$\1$", text.replace("``", "`"))


def api() -> str:
    """Return the API reference: the public names, then every formula."""
    lines = ["# API reference", "", "```{eval-rst}", ".. currentmodule:: ftlab", "```", ""]
    for heading, names in GROUPS.items():
        lines += [f"## {heading}", "", "```{eval-rst}"]
        for name in names.split():
            kind = "autoclass" if inspect.isclass(getattr(ftlab, name)) else "autofunction"
            lines += [f".. {kind}:: ftlab.{name}", ""]
        lines += ["```", ""]
    lines += ["## Formulas", "", "```{eval-rst}"]
    for name, function in functions().items():
        lines += [f".. autofunction:: {function.__module__}.{name}", ""]
    return "\n".join([*lines, "```", ""])


GROUPS = {
    "The six steps": "load_data load_pairs load_model finetune evaluate predict embed check_behaviour check_similarity zero_shot",
    "The loop, by hand": "begin step finish find_lr SAM",
    "Recipes": "explain parse compare trial soup greedy_soup",
    "Losses": " ".join(name for name in ftlab.__all__ if getattr(ftlab, name).__module__.startswith("ftlab.losses.")),
    "Rules": " ".join(name for name in ftlab.__all__ if name in rules()),
    "Kinds of rules": "Prepare Penalty GradientRule Schedule Project Finish",
    "In the notebooks": "explore slider formula doctor",
    "Errors": "InputError ArgumentError DivergenceError InterruptionError",
}
"""The public names in the order in which a reader needs them, without ``check``, which each chapter explains."""

if __name__ == "__main__":
    main()
