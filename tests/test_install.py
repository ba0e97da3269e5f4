"""What is installed works: the wheel, built from the sdist, in an empty environment and away from the sources."""

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

import ftlab

ROOT = Path(__file__).parent.parent
DATA = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "ftlab/data/embedded").rglob("*") if path.is_file())
USE = """
import sys
from pathlib import Path
import ftlab
assert Path(sys.prefix) in Path(ftlab.__file__).parents, ftlab.__file__
for name in ("reviews", "tricky_reviews"):
    for task in ("sentiment", "topic", "phenomenon"):
        print(name, task, {split: len(rows) for split, rows in ftlab.load_data(name, task=task).items()})
print("digits", len(ftlab.load_data("digits")["train"]))
print("pairs", len(ftlab.load_pairs()))
print("behaviour", len(ftlab.check_behaviour(lambda texts: [0.9] * len(texts)).answers))
data = ftlab.load_data("reviews")
data["train"] = data["train"].select(range(64))
data["test"] = data["test"].select(range(20))
run = ftlab.finetune("minilm", data, epochs=1, progress=False)
print("updates", len(run.history), run.save("saved").name)
print(ftlab.check.exercise("01.1", ...))
"""


def run(words, folder, **options):
    """Run a command in a folder; return what it printed."""
    bare = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    ended = subprocess.run([*map(str, words)], capture_output=True, text=True, cwd=folder, env=bare, **options)
    assert ended.returncode == 0, f"{words}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout


def borrowing(folder):
    """Return an environment that finds the heavy packages of this one, and of ftlab nothing."""
    run([sys.executable, "-m", "venv", folder], folder.parent)
    home = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    (home / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / ("Scripts" if os.name == "nt" else "bin")


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """What git would give to another machine: the files of this tree that it does not ignore."""
    folder = tmp_path_factory.mktemp("sources") / "ftlab"
    names = run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], ROOT).split("\0")
    for name in filter(None, names):
        if name.startswith(("notebooks/", "tests/", "book/", "benchmarks/")) or not (ROOT / name).exists():
            continue
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((ROOT / name).read_bytes())
    return folder


@pytest.fixture(scope="module")
def built(sources, tmp_path_factory):
    """The sdist, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, sources], folder)
    return next(folder.glob("*.tar.gz")), next(folder.glob("*.whl"))


def test_sdist_and_wheel_hold_all_data_and_bear_the_version(built):
    assert len(DATA) >= 10
    with tarfile.open(built[0]) as sdist:
        assert {f"ftlab-{ftlab.__version__}/{name}" for name in [*DATA, "ftlab/py.typed"]} <= set(sdist.getnames())
    with zipfile.ZipFile(built[1]) as wheel:
        assert {*DATA, "ftlab/py.typed", "ftlab/exercises/answers.json"} <= set(wheel.namelist())
        assert not [name for name in wheel.namelist() if not name.startswith(("ftlab/", "ftlab-"))]


def test_the_wheel_works_without_the_sources(built, tmp_path):
    programs = borrowing(tmp_path / "env")
    run([programs / "python", "-m", "pip", "install", "--quiet", "--no-deps", built[1]], tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    said = run([programs / "ftlab", "doctor"], elsewhere)
    assert "data reviews" in said
    assert "train 0" not in said
    used = run([programs / "python", "-c", USE], elsewhere)
    assert "updates 2 saved" in used
    assert "three dots" in used


def test_colabs_way_of_installing_works_and_exchanges_no_torch(sources, tmp_path):
    for words in (["init", "-q"], ["add", "-A"], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "a"]):
        run(["git", *words], sources)
    programs = borrowing(tmp_path / "env")
    (tmp_path / "google").mkdir()
    (tmp_path / "google/__init__.py").write_text("")
    (tmp_path / "google/colab.py").write_text("")
    cell = (ROOT / "notebooks/colab.py").read_text(encoding="utf-8")
    address = sources.as_uri().replace("file:///", "file://localhost/")  # older versions of pip want a host
    filled = cell.replace('REPOSITORY = ""', f'REPOSITORY = "{address}"')
    assert filled != cell
    run([programs / "python", "-c", f"import google.colab\n{filled}"], tmp_path)
    where = run(
        [programs / "python", "-c", "import ftlab, torch; print(ftlab.__file__); print(torch.__file__)"], tmp_path
    )
    ours, torch = where.splitlines()
    assert ours.startswith(str(tmp_path))
    assert torch.startswith(sysconfig.get_path("purelib"))


def test_colabs_cell_asks_for_the_address_and_elsewhere_does_nothing():
    cell = (ROOT / "notebooks/colab.py").read_text(encoding="utf-8")
    assert run([sys.executable, "-c", cell], ROOT) == ""
    told = f"import sys, types; sys.modules['google.colab'] = types.ModuleType('google.colab')\n{cell}"
    ended = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True)
    assert ended.returncode == 1
    assert "Write the address of your copy of ftlab between the quotes" in ended.stderr
    assert "Traceback" not in ended.stderr
