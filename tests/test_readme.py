"""The README's blocks run, as they stand, in an empty directory."""

import csv
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import ftlab

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def lines(language, first_word):
    """Return the commands of the blocks in a language that begin with a word, comments left out."""
    found = [
        line.partition("  #")[0].strip() for kind, block in BLOCKS if kind == language for line in block.splitlines()
    ]
    return [line for line in found if line.split() and Path(line.split()[0]).name == first_word]


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """An empty directory with the two files that the README's reader has."""
    folder = tmp_path_factory.mktemp("reader")
    rows = ftlab.load_data("reviews")["validation"]
    names = rows.features["label"].names
    table = [(row["text"], names[row["label"]]) for row in rows]
    for name, part in (("my.csv", table[:120]), ("my_test.csv", table[120:])):
        with open(folder / name, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("body", "verdict"), *part])
    return folder


def run(words, folder, **options):
    return subprocess.run(words, capture_output=True, text=True, cwd=folder, **options)


@pytest.mark.parametrize("block", [block for kind, block in BLOCKS if kind == "python"])
def test_a_python_block_runs(index, block):
    ended = run([sys.executable, "-W", "error::FutureWarning", "-c", block], index)
    assert ended.returncode == 0, ended.stderr
    assert "accuracy" in ended.stdout
    assert "save(" not in block or (index / "runs/first/model.safetensors").exists()


def test_the_commands_run_one_after_the_other(index):
    commands = [line for line in lines("sh", "ftlab") if not line.startswith(".venv")]
    assert {line.split()[1] for line in commands} == {"finetune", "evaluate", "predict", "explain", "doctor"}
    for line in commands:
        ended = run([sys.executable, "-m", *shlex.split(line)], index, input="one more line\n")
        assert ended.returncode == 0, f"{line}\n{ended.stderr}"
        assert ended.stdout.strip()


def test_what_stands_beside_make_is_what_make_does():
    rules = (
        (ROOT / "Makefile").read_text(encoding="utf-8").replace("$(BIN)", ".venv/bin").replace("$(PYTHON)", "python3")
    )
    recipes = [re.sub(r"\s--(quiet|disable-pip-version-check)", "", line.strip()) for line in rules.splitlines()]
    for first_word in ("pip", "ftlab", "python", "python3"):
        for line in lines("sh", first_word):
            if line.startswith((".venv", "python3")) and "[notebook]" not in line:
                same = line.replace(".venv/bin/pip", ".venv/bin/python -m pip").replace(" -q ", " ")
                assert any(same in recipe.replace(" -q ", " ") for recipe in recipes), line


def test_the_files_that_the_readme_names_are_there():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in re.findall(r"`((?:ftlab|notebooks|benchmarks|tests)/[\w/.]*)`", text):
        assert os.path.exists(ROOT / name), name
