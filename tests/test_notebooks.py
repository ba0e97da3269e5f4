"""The notebooks are what their sources say, were run from top to bottom, and are really compared by nbval."""

import json
import re
import subprocess
import symtable
import sys
from pathlib import Path

import nbformat
import pytest

from notebooks.pages import EXERCISE, SOLUTION, page, sources, tidy

ROOT = Path(__file__).parent.parent
STEMS = [source.stem for source in sources()]
CHAPTERS = [stem for stem in STEMS if "01" <= stem[:2] <= "07"]
HEADINGS = [
    "Why", "The formula", "By hand", "Against torch", "Explore", "On the real model", "Where it hurts", "Also called",
    "Is your own rule better?", "Exercises", "Key points",
]  # fmt: skip
IGNORED, SKIPPED = "nbval-ignore-output", "nbval-skip"
PRINTED = ("print(f'Epoch {epoch+1}/", "model = BertForS", "train_dataset = Text", "val_dataset = Text")
"""Lines of the article's listing, which stand as they were printed."""


def pair(stem):
    folder = ROOT / "notebooks"
    return page(folder / f"{stem}.py"), nbformat.read(folder / f"{stem}.ipynb", as_version=4)


def what_counts(notebook):
    return [(cell.cell_type, cell.source, tuple(cell.metadata.get("tags", ()))) for cell in notebook.cells]


def code_cells(stem):
    return [cell for cell in pair(stem)[1].cells if cell.cell_type == "code"]


def displayed(stem):
    return [one for cell in code_cells(stem) for one in cell.outputs if "data" in one]


def claims(stem):
    (line,) = re.findall(r"^\*\*Formulas:\*\* (.*)", pair(stem)[1].cells[0].source, re.MULTILINE)
    return re.findall(r"`(\w+)`", line)


def tags(cell):
    return cell.metadata.get("tags", [])


def nbval(path):
    return subprocess.run(
        [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-q", "-p", "no:cacheprovider", path.name],
        capture_output=True, text=True, cwd=path.parent,
    )  # fmt: skip


def test_there_are_notebooks_and_each_has_its_source():
    assert STEMS
    assert sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb")) == STEMS


@pytest.mark.parametrize("stem", STEMS)
def test_a_notebook_is_what_its_source_says(stem):
    source, notebook = pair(stem)
    assert what_counts(source) == what_counts(notebook), "run: make notebooks"


def test_a_changed_source_is_noticed():
    source, notebook = pair(STEMS[0])
    source.cells[-2].source += "\nprint(1)"
    assert what_counts(source) != what_counts(notebook)


@pytest.mark.parametrize("stem", STEMS)
def test_every_cell_was_run_in_order_and_none_failed(stem):
    cells = code_cells(stem)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [one for one in outputs if one.output_type == "error" or one.get("name") == "stderr"]
    assert sum(bool(cell.outputs) for cell in cells) >= len(cells) / 2


@pytest.mark.parametrize("stem", STEMS)
def test_what_is_not_compared_asserts_its_own_claim(stem):
    for cell in code_cells(stem):
        if IGNORED in tags(cell):
            following = code_cells(stem)[cell.execution_count : cell.execution_count + 1]
            assert any("assert" in one.source for one in (cell, *following)), cell.source


@pytest.mark.parametrize("stem", STEMS)
def test_only_the_cell_for_colab_is_skipped(stem):
    cells = code_cells(stem)
    assert SKIPPED in tags(cells[0])
    assert "google.colab" in cells[0].source
    assert not any(SKIPPED in tags(cell) for cell in cells[1:])


@pytest.mark.parametrize("stem", STEMS)
def test_a_learner_meets_open_exercises_with_the_solution_folded_below(stem):
    cells = code_cells(stem)
    solved = [index for index, cell in enumerate(cells) if SOLUTION in tags(cell)]
    assert solved
    for index in solved:
        task, solution = cells[index - 1], cells[index]
        assert EXERCISE in tags(task)
        assert "..." in task.source
        assert not task.metadata.get("jupyter")
        assert "not yet" in str(task.outputs)
        assert solution.metadata["jupyter"]["source_hidden"]
        assert solution.source.startswith("# @title Solution")
        assert ": right." in str(solution.outputs)


@pytest.mark.parametrize("stem", STEMS)
def test_lines_of_code_are_no_wider_than_the_book_shows(stem):
    long = [line for cell in code_cells(stem) for line in cell.source.splitlines() if len(line) > 88]
    assert [line for line in long if not line.lstrip().startswith(PRINTED)] == []


@pytest.mark.parametrize("stem", STEMS)
def test_no_cell_ends_in_a_semicolon_and_no_output_names_a_machine(stem):
    for cell in code_cells(stem):
        assert not cell.source.rstrip().endswith(";")
        assert not re.search(r"/(work|root|home|tmp|Users)/\w", str(cell.outputs)), cell.source


@pytest.mark.parametrize("stem", STEMS)
def test_every_figure_says_in_words_what_it_shows(stem):
    for cell in code_cells(stem):
        for output in cell.outputs:
            data = output.get("data", {})
            for image in re.findall(r"<img[^>]*>", data.get("text/html", "")):
                assert len(re.search(r'alt="([^"]*)"', image).group(1)) > 30
            assert "image/png" not in data or data.get("text/html") or len(data["text/plain"]) > 30


@pytest.mark.parametrize("stem", STEMS)
def test_the_page_opens_with_its_goals_and_minutes_and_ends_with_key_points(stem):
    notebook = pair(stem)[1]
    opening = notebook.cells[0].source
    assert opening.startswith("# ")
    assert "you can" in opening
    assert re.search(r"\d+ minutes", opening)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    for heading in ("## Exercises", "## Key points"):
        assert heading in text


@pytest.mark.parametrize("stem", [stem for stem in STEMS if stem[0] == "0"])
def test_the_book_promises_the_minutes_that_the_page_does(stem):
    (minutes,) = re.findall(r"(\d+) minutes to read", pair(stem)[1].cells[0].source)
    assert f"(notebooks/{stem}.ipynb) | {minutes} minutes |" in (ROOT / "book/index.md").read_text(encoding="utf-8")


def test_the_index_tells_how_long_all_pages_ran():
    kept = json.loads((ROOT / "benchmarks/results/pages.json").read_text(encoding="utf-8"))
    assert kept.keys() == set(STEMS)
    said = re.search(
        r"Running all eleven pages took (\d+) minutes", (ROOT / "book/index.md").read_text(encoding="utf-8")
    )
    assert int(said[1]) == round(sum(one["seconds"] for one in kept.values()) / 60)


@pytest.mark.parametrize("stem", STEMS)
def test_a_page_ran_in_about_the_minutes_that_it_promises(stem):
    kept = json.loads((ROOT / "benchmarks/results/pages.json").read_text(encoding="utf-8"))
    promised = re.search(r"about (\d+) minutes? to run", pair(stem)[1].cells[0].source)
    assert promised, "the first cell says how long the page runs"
    assert kept[stem]["seconds"] < 60 * (int(promised[1]) + 0.75)


@pytest.mark.parametrize("stem", STEMS)
def test_a_notebook_is_tidy(stem):
    notebook = pair(stem)[1]
    again = tidy(nbformat.from_dict(notebook.copy()))
    assert [cell.id for cell in again.cells] == [cell.id for cell in notebook.cells]
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}


@pytest.mark.parametrize("stem", CHAPTERS)
def test_a_chapter_has_the_form_of_a_chapter(stem):
    text = "\n".join(cell.source for cell in pair(stem)[1].cells if cell.cell_type == "markdown")
    assert re.findall(r"^## (.*)", text, re.MULTILINE) == HEADINGS
    assert any("$$" in one["data"].get("text/markdown", "") for one in displayed(stem))


def test_a_formula_belongs_to_one_chapter_which_shows_it():
    claimed = [name for stem in CHAPTERS for name in claims(stem)]
    assert sorted(claimed) == sorted(path.stem for path in (ROOT / "ftlab/formulas").glob("[!_]*.py"))
    for stem in CHAPTERS:
        shown = "\n".join([*(cell.source for cell in pair(stem)[1].cells[1:]), *map(str, displayed(stem))])
        assert [name for name in claims(stem) if name not in shown] == [], stem
        assert stem[3:] in claims(stem) or stem[:2] in ("06", "07")


@pytest.mark.parametrize("stem", CHAPTERS)
def test_an_explorers_goal_is_not_reached_yet_and_can_be(stem):
    pages = [html for one in displayed(stem) if "ftlab-explorer" in (html := one["data"].get("text/html", ""))]
    assert pages
    for html in pages:
        data = json.loads(re.search(r'<script type="application/json">(.*?)</script>', html).group(1))
        words = {index: said for index, (_, said) in data["frames"].items()}
        assert all(len(said) > 30 for said in words.values())
        assert "<b>Goal:</b>" in html
        assert "<b>Run this cell</b> to move the sliders." in html
        assert "Goal reached" not in words[",".join(map(str, data["start"]))]
        assert any("Goal reached" in said for said in words.values())


def needs(source):
    """Return, for each function at the top of a cell, the global names that it and what is in it read."""

    def within(table):
        return {name for part in table.get_children() for name in within(part)} | {
            one.get_name() for one in table.get_symbols() if one.is_global() and one.is_referenced()
        }

    tables = symtable.symtable(source, "cell", "exec").get_children()
    return {table.get_name(): within(table) for table in tables if table.get_type() == "function"}


def assigned(source):
    """Return the names that a cell gives to something."""
    return {one.get_name() for one in symtable.symtable(source, "cell", "exec").get_symbols() if one.is_assigned()}


@pytest.mark.parametrize("stem", CHAPTERS)
def test_no_later_cell_takes_a_name_that_an_explorer_needs(stem):
    """Else its sliders would end in an error once the whole page was run."""
    cells = [cell.source for cell in code_cells(stem)]
    for index, source in enumerate(cells):
        if not re.search(r"^explore\(", source, re.MULTILINE):
            continue
        known = {name: read for one in cells[: index + 1] for name, read in needs(one).items()}
        needed = set(re.findall(r"^explore\(\s*(\w+)", source, re.MULTILINE))
        while (more := needed | {name for one in needed for name in known.get(one, ())}) != needed:
            needed = more
        assert len(needed) > 1
        later = set().union(*map(assigned, cells[index + 1 :]))
        assert needed & later == set()


def test_nbval_notices_a_wrong_number(tmp_path):
    """A copy with two quick cells of the first notebook passes; with one digit of an output changed it fails."""
    notebook = pair("00_quickstart")[1]
    quick = [cell for cell in notebook.cells if cell.source.startswith(("import pandas", "print(ftlab.explain"))]
    assert len(quick) == 2
    copy = nbformat.v4.new_notebook(cells=quick, metadata=notebook.metadata)
    path = tmp_path / "copy.ipynb"
    nbformat.write(copy, path)
    assert nbval(path).returncode == 0
    (output,) = quick[1].outputs
    assert "first 10%" in output.text
    output.text = output.text.replace("first 10%", "first 20%")
    nbformat.write(copy, path)
    failed = nbval(path)
    assert failed.returncode == 1
    assert "first 20%" in failed.stdout
