"""Students' notebooks hold no solution and no output, and every exercise in them still runs."""

import ast
import subprocess
import sys

import jupytext
import nbformat
import pytest

from notebooks.pages import HERE, SOLUTION, blank, page, sources
from notebooks.student import main, student

STEMS = [source.stem for source in sources()]


def solved(stem):
    """Return the cells of a source that solve an exercise."""
    cells = jupytext.read(HERE / f"{stem}.py").cells
    return [cell.source for cell in cells if SOLUTION in cell.metadata.get("tags", [])]


def verdict(stem, source):
    """Run a cell that answers an exercise, with what the page imports; return what the check says."""
    code = "\n".join(cell.source for cell in jupytext.read(HERE / f"{stem}.py").cells if cell.cell_type == "code")
    imports = [one for one in ast.parse(code).body if isinstance(one, ast.Import | ast.ImportFrom)]
    names = {}
    exec(compile(ast.Module(imports, []), stem, "exec"), names)
    *answer, check = ast.parse(source).body
    exec(compile(ast.Module(answer, []), stem, "exec"), names)
    return eval(compile(ast.Expression(check.value), stem, "eval"), names)


@pytest.mark.parametrize("stem", STEMS)
def test_every_page_has_exercises_and_each_solution_is_right(stem):
    verdicts = [verdict(stem, source) for source in solved(stem)]
    assert verdicts
    assert all(one.right for one in verdicts), verdicts


@pytest.mark.parametrize("stem", STEMS)
def test_without_its_solution_an_exercise_asks_for_an_answer(stem):
    for source in solved(stem):
        hint = verdict(stem, blank(source)).hint
        assert "three dots" in hint or "returns nothing" in hint or "raised" in hint, hint


@pytest.mark.parametrize("stem", STEMS)
def test_a_students_notebook_is_valid_and_holds_neither_outputs_nor_solutions(stem):
    notebook = student(page(HERE / f"{stem}.py"))
    nbformat.validate(notebook)
    text = nbformat.writes(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    for source in solved(stem):
        assert not any(source.replace("check.exercise", "check.solution") in cell.source for cell in code)
        assert blank(source) in [cell.source for cell in code]
        assert "..." in blank(source)
    assert "ftlab.check.exercise" in text


def test_they_are_written_to_a_folder(tmp_path):
    main(tmp_path / "student")
    assert sorted(path.stem for path in (tmp_path / "student").iterdir()) == STEMS


def test_what_is_blanked():
    assert (
        blank("import math\nx = math.pi  # why\nfor i in []:\n    pass\ncheck(x)") == "import math\nx = ...\ncheck(x)"
    )
    text = blank('def f(a, *, b=1):\n    """Say."""\n    return a\n\ncheck("1", f)')
    assert text == 'def f(a, *, b=1):\n    """Say."""\n    ...\ncheck("1", f)'


def test_the_package_alone_cannot_tell_the_answers():
    code = "import ftlab.exercises, pathlib; print(pathlib.Path(ftlab.exercises.__file__).parent)"
    folder = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip()
    assert folder.endswith("exercises")
    from tests.exercises.plain import Answer
    from tests.exercises.seal import answers

    sealed = (HERE.parent / "ftlab/exercises/answers.json").read_text(encoding="utf-8")
    for number, one in answers().items():
        if isinstance(one, Answer):
            assert f'"{one.right}"' not in sealed, number
