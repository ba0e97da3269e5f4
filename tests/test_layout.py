"""The structure that the design promises: one stem a formula, imports one way, small files, true docstrings."""

import ast
import inspect
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import ftlab
from ftlab import formulas
from ftlab.recipes.parse import rules

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "ftlab"
STEMS = sorted(path.stem for path in (PACKAGE / "formulas").glob("[!_]*.py"))
FUNCTIONS = sorted(name for name, one in vars(formulas).items() if inspect.isfunction(one))
MODULES = {
    f"ftlab.{path.relative_to(PACKAGE).with_suffix('').as_posix().replace('/', '.')}": path
    for path in PACKAGE.rglob("*.py")
}


def imports(path: Path) -> set[str]:
    """Return the modules that a file imports when it is loaded, those inside functions left out."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or ""} | {f"{node.module}.{one.name}" for one in node.names}
    return found


@pytest.mark.parametrize("stem", STEMS)
def test_each_formula_has_its_test(stem):
    assert (ROOT / "tests/formulas" / f"test_{stem}.py").exists()


@pytest.mark.parametrize("stem", STEMS)
def test_formulas_import_only_what_lies_below_them(stem):
    ours = {one for one in imports(PACKAGE / "formulas" / f"{stem}.py") if one.startswith("ftlab")}
    allowed = ("ftlab.errors", "ftlab.parameters", "ftlab.rule", "ftlab.formulas._fisher")
    assert all(one.startswith(allowed) for one in ours)


def test_what_lies_below_never_imports_formulas_and_the_loop_names_none():
    for stem in ("errors", "parameters", "rule", "training", "checkpoint", "optimizers"):
        assert not any(one.startswith("ftlab.formulas") for one in imports(PACKAGE / f"{stem}.py")), stem
    names = {
        node.id
        for node in ast.walk(ast.parse(MODULES["ftlab.training.loop"].read_text()))
        if isinstance(node, ast.Name)
    }
    assert not names & {*rules(), *FUNCTIONS}


def test_plots_are_imported_by_nothing_at_load_time():
    for path in MODULES.values():
        assert not any(one.startswith(("ftlab.display.plots", "matplotlib", "ipywidgets")) for one in imports(path)), (
            path
        )


def test_heavy_libraries_wait_until_they_are_used():
    code = "import sys, ftlab.cli; print([n for n in ('torch', 'transformers', 'datasets', 'sklearn', 'pandas') if n in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stdout.strip() == "[]"
    for path in MODULES.values():
        assert not any(
            one.startswith(("transformers", "datasets", "sklearn", "pandas", "peft")) for one in imports(path)
        ), path


def test_files_can_be_read_at_one_sitting():
    for path in MODULES.values():
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len(lines) <= 300, path
        for node in ast.walk(ast.parse("\n".join(lines))):
            if isinstance(node, ast.FunctionDef):
                docstring = ast.get_docstring(node) or ""
                length = node.end_lineno - node.lineno - len(docstring.splitlines())
                assert length <= 68, f"{path}: {node.name} has {length} lines"


def test_no_module_bears_the_name_of_a_public_function_or_of_nothing_in_particular():
    stems = {path.stem for path in PACKAGE.glob("*.py")}
    assert not stems & {*ftlab.__all__, "utils", "helpers", "common", "base", "manager", "handler"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_formulas_docstring_says_everything(name):
    text = inspect.getdoc(getattr(formulas, name)) or ""
    first = text.splitlines()[0]
    assert first.endswith(".")
    assert not re.search(r"[αβγθλ\\]", first)  # one plain sentence, no symbol in it
    for part in (".. math::", "symbol", "Args:", "Returns:", "Raises:", "Source:", "Departure:", "Example:", ">>> "):
        assert part in text, f"{name} lacks {part}"
    arguments = text[text.index("Args:") : text.index("Returns:")]
    for argument in inspect.signature(getattr(formulas, name)).parameters:
        assert f"{argument}:" in arguments, f"{name} does not explain {argument}"


def test_the_signatures_are_those_of_the_design():
    expected = {
        "cross_entropy": "(logits, labels, *, weight=None, smoothing=0.0)",
        "gradient_descent": "(params, grads, rate)",
        "reinit": "(params, scale, generator)",
        "decay": "(rate, gamma, steps)",
        "sign_prune": "(params, grads, strength)",
        "clip_norm": "(grads, max_norm)",
    }
    for name, signature in expected.items():
        found = inspect.signature(getattr(formulas, name))
        bare = found.replace(
            parameters=[one.replace(annotation=inspect.Parameter.empty) for one in found.parameters.values()],
            return_annotation=inspect.Signature.empty,
        )
        assert str(bare) == signature
    names = list(inspect.signature(ftlab.finetune).parameters)
    promised = (
        "model data epochs lr batch_size max_length seed recipe loss optimizer step engine save_every resume output"
    )
    assert [name for name in names if name in promised.split()] == promised.split()


def test_every_public_name_is_there_and_documented():
    for name in ftlab.__all__:
        assert inspect.getdoc(getattr(ftlab, name)), name


def test_nothing_opens_a_pickle_or_runs_a_models_code():
    for path in MODULES.values():
        text = path.read_text(encoding="utf-8")
        for word in (
            "torch.load(",
            "torch.save(",
            "import pickle",
            "joblib",
            "eval(",
            "exec(",
            "trust_remote_code=True",
        ):
            assert not re.search(rf"(?<![._\w]){re.escape(word)}", text), f"{path}: {word}"


def test_versions_agree_and_the_constraints_pin_every_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["dynamic"] == ["version"]  # it stands in ftlab/__init__.py alone
    pins = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    wanted = {
        re.split(r"[>=<\[]", one)[0] for one in project["dependencies"] + project["optional-dependencies"]["test"]
    }
    assert wanted - pins == {"ftlab"}


def test_the_text_speaks_of_the_project_alone():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    for name in tracked or [os.fspath(path.relative_to(ROOT)) for path in MODULES.values()]:
        path = ROOT / name
        if path.suffix in {".py", ".md", ".toml", ".txt", ".yml", ".json", ".cfg", ".ipynb"} and path != Path(__file__):
            assert not re.search(r"/work/|/root/|/home/\w", path.read_text(encoding="utf-8")), name
