"""Are the tests good? Each formula's test file ends in small wrong edits of the formula; every one must be noticed.

So do the test files of a few modules beside the formulas.

``python -m tests.mutants`` tries them all, ``python -m tests.mutants sign_prune`` those of one formula. What was killed
is recorded in ``mutants.json`` with the hash of formula and tests, so that only what a change touched is tried again.
"""

import ast
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parent.parent
RECORD = Path(__file__).with_suffix(".json")
BESIDE = ("optimizers", "range_test")
STEMS = sorted([*(path.stem for path in (ROOT / "ftlab/formulas").glob("[!_]*.py")), *BESIDE])


def formula(stem: str) -> Path:
    """Return the file of a formula, or of a module beside the formulas."""
    return ROOT / "ftlab" / ("" if stem in BESIDE else "formulas") / f"{stem}.py"


def tests(stem: str) -> Path:
    """Return the file with its tests."""
    return ROOT / "tests" / ("" if stem in BESIDE else "formulas") / f"test_{stem}.py"


def mutants(stem: str) -> list[tuple[str, str]]:
    """Return a formula's wrong edits: the text as it stands, and what is put in its place."""
    for node in ast.parse(tests(stem).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "MUTANTS":
            return list(ast.literal_eval(node.value))
    return []


def fingerprint(stem: str) -> str:
    """Return the hash of a formula and its tests."""
    return hashlib.sha256(formula(stem).read_bytes() + tests(stem).read_bytes()).hexdigest()


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


def survives(stem: str, old: str, new: str) -> bool:
    """Return whether the tests pass although the formula is wrong."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name in ("ftlab", "tests"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "reviews"))
        shutil.copy(ROOT / "pyproject.toml", folder)
        file = folder / formula(stem).relative_to(ROOT)
        file.write_text(file.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", tests(stem).relative_to(ROOT)]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if ended.returncode > 1:
        raise RuntimeError(f"{stem}: {old!r} -> {new!r}: the tests did not run:\n{ended.stdout[-2000:]}")
    return ended.returncode == 0


def hunt(stem: str) -> list[str]:
    """Try a formula's mutants; return those that survive, and record the formula if none does."""
    edits = mutants(stem)
    faults = [one for one in (fault(stem, *edit) for edit in edits) if one]
    if faults:
        return faults
    with ThreadPoolExecutor(
        max_workers=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
    ) as pool:
        alive = list(pool.map(lambda edit: survives(stem, *edit), edits))
    left = [f"{old!r} -> {new!r} survives" for (old, new), one in zip(edits, alive, strict=True) if one]
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
