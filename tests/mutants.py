"""Are the tests good? Each formula's test file ends in small wrong edits of the formula; every one must be noticed.

So do the test files of a few modules beside the formulas. A formula's tests are its test file and its rows of the
table in ``tests/formulas/laws.py``.

``python -m tests.mutants`` tries them all, ``python -m tests.mutants sign_prune`` those of one formula. What was killed
is recorded in ``mutants.json`` with the hash of formula and tests, so that only what a change touched is tried again.
"""

import ast
import hashlib
import json
import multiprocessing
import os
import sys
import tempfile
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_loader
from pathlib import Path
from types import CodeType
from typing import Any

ROOT = Path(__file__).parent.parent
LAWS = ROOT / "tests/formulas/laws.py"
RECORD = Path(__file__).with_suffix(".json")
BESIDE = {"optimizers": "training", "lr_range": "experiments"}
STEMS = sorted([*(path.stem for path in (ROOT / "ftlab/formulas").glob("[!_]*.py")), *BESIDE])


def formula(stem: str) -> Path:
    """Return the file of a formula, or of a module beside the formulas."""
    return ROOT / "ftlab" / BESIDE.get(stem, "formulas") / f"{stem}.py"


def tests(stem: str) -> Path:
    """Return the file with its tests."""
    return ROOT / "tests" / BESIDE.get(stem, "formulas") / f"test_{stem}.py"


def mutants(stem: str) -> list[tuple[str, str]]:
    """Return a formula's wrong edits: the text as it stands, and what is put in its place."""
    for node in ast.parse(tests(stem).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "MUTANTS":
            return list(ast.literal_eval(node.value))
    return []


@cache
def laws() -> dict[str, str]:
    """Return the source text of each formula's rows in the table of laws."""
    text = LAWS.read_text(encoding="utf-8")
    for node in ast.parse(text).body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "LAWS" and isinstance(node.value, ast.Dict):
            rows = zip(node.value.keys, node.value.values, strict=True)
            return {ast.literal_eval(key): ast.get_source_segment(text, row) or "" for key, row in rows if key}
    raise LookupError(f"{LAWS} has no table LAWS")


def fingerprint(stem: str) -> str:
    """Return the hash of a formula, its test file and its laws."""
    parts = formula(stem).read_bytes(), tests(stem).read_bytes(), laws().get(stem, "").encode()
    return hashlib.sha256(b"".join(parts)).hexdigest()


def recorded() -> dict[str, dict[str, object]]:
    """Return what was killed before."""
    return json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}


def changed() -> list[str]:
    """Return the formulas whose file or tests are not those of the record."""
    known = recorded()
    return [stem for stem in STEMS if known.get(stem, {}).get("sha256") != fingerprint(stem)]


def fault(stem: str, old: str, new: str) -> str:
    """Say why an edit is no mutant, or nothing."""
    text = formula(stem).read_text(encoding="utf-8")
    if text.count(old) != 1:
        return f"{old!r} must stand once in {stem}.py. Got {text.count(old)} times."
    try:
        compile(text.replace(old, new), stem, "exec")
    except SyntaxError as error:
        return f"{new!r} must be Python. Got {error}."
    return ""


class Mutated(SourceFileLoader):
    """Loads one module from a text instead of its file."""

    def __init__(self, name: str, path: str, text: str) -> None:
        super().__init__(name, path)
        self.text = text

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.text, self.path, "exec", dont_inherit=True)


class Finder(MetaPathFinder):
    """Finds the mutated module in place of the true one."""

    def __init__(self, loader: Mutated) -> None:
        self.loader = loader

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        return spec_from_loader(fullname, self.loader) if fullname == self.loader.name else None


def ended(stem: str, old: str, new: str) -> tuple[int, str]:
    """Run a formula's tests, then its laws, on a wrong edit of it; return pytest's exit code and what it printed.

    To be called in a process of its own, which has the edit in place of the formula ever after.
    """
    import pytest

    file = formula(stem)
    text = file.read_text(encoding="utf-8").replace(old, new)
    assert "ftlab.formulas" not in sys.modules, "the true formula is loaded already"
    name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
    sys.meta_path.insert(0, Finder(Mutated(name, str(file), text)))
    os.chdir(ROOT)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # nbval and what it imports take longer than the tests
    options = ["-x", "-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    options += ["-o", "addopts=--import-mode=importlib"]
    with tempfile.TemporaryFile("w+") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
        code = int(pytest.main([*options, str(tests(stem))]))
        if code == 0 and stem in laws():
            code = int(pytest.main([*options, str(LAWS.with_name("test_laws.py")), "-k", f"[{stem}-"]))
        said.seek(0)
        return code, said.read()[-2000:]


def hunters() -> Any:
    """Return a pool whose processes begin with the heavy libraries loaded, and are used for one mutant each."""
    os.environ["OMP_NUM_THREADS"] = "1"  # threads of the parent would not be there in its children
    import peft  # noqa: F401
    import scipy.stats  # noqa: F401
    import sklearn.metrics  # noqa: F401

    import tests.tiny  # noqa: F401  (torch, transformers, datasets)

    return multiprocessing.get_context("fork").Pool(len(os.sched_getaffinity(0)), maxtasksperchild=1)


def hunt(stem: str) -> list[str]:
    """Try a formula's mutants; return those that survive, and record the formula if none does."""
    edits = mutants(stem)
    faults = [one for one in (fault(stem, *edit) for edit in edits) if one]
    if faults:
        return faults
    with hunters() as pool:
        codes = pool.starmap(ended, [(stem, *edit) for edit in edits], chunksize=1)
    for edit, (code, said) in zip(edits, codes, strict=True):
        if code > 1:
            raise RuntimeError(f"{stem}: {edit}: the tests did not run:\n{said}")
    left = [f"{old!r} -> {new!r} survives" for (old, new), (code, _) in zip(edits, codes, strict=True) if not code]
    if not left:
        record = recorded() | {stem: {"sha256": fingerprint(stem), "killed": len(edits)}}
        RECORD.write_text(json.dumps(dict(sorted(record.items())), indent=2) + "\n", encoding="utf-8")
    return left


def main(wanted: list[str]) -> int:
    """Hunt the mutants of the formulas named, or of all."""
    left = 0
    for stem in wanted or STEMS:
        alive = hunt(stem)
        left += len(alive)
        print(f"{stem}: {len(mutants(stem))} mutants, {len(alive)} survive", *alive, sep="\n   ", flush=True)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
