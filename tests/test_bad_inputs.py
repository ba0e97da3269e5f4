"""Invalid input is refused in one line, in one grammar, before any training starts.

The table of bad inputs lies in ``tests/bad_inputs``, by the part of the package that refuses them.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import ftlab
from ftlab import InputError
from ftlab.cli import main
from tests.bad_inputs.bench import BAD, CSV, Bench, in_grammar, labelled
from tests.bad_inputs.cli import COMMANDS
from tests.bad_inputs.data import LATIN
from tests.tiny import tiny_bert

for part in ("data", "evaluation", "generation", "models", "recipes", "training"):
    import_module(f"tests.bad_inputs.{part}")  # fills BAD
for name in ftlab.__all__:
    getattr(ftlab, name)  # loaded here, since a lazy name that is loaded in a test would keep the replaced step


@pytest.fixture(scope="module")
def good(bert):
    data = ftlab.load_data(labelled(["yes", "no"] * 6))
    return data, ftlab.load_model(bert, data)


@pytest.fixture
def bench(tmp_path, bert, good, monkeypatch):
    """A bench at which no training step may happen."""

    def no_step(*_: Any) -> None:
        pytest.fail("a training step was made")

    monkeypatch.setattr("ftlab.training.loop.step", no_step)
    monkeypatch.setattr("ftlab.training.finetune.plain_step", no_step)
    monkeypatch.chdir(tmp_path)
    return Bench(tmp_path, bert, *good)


@pytest.mark.parametrize(("kind", "message", "act"), BAD)
def test_is_refused(bench, kind, message, act):
    with pytest.raises(InputError) as caught:
        act(bench)
    line = str(caught.value)
    assert type(caught.value) is kind, line
    assert message in line, line
    assert in_grammar(line), line
    assert not (bench.folder / "PWNED").exists()
    assert not list(bench.folder.glob("**/history.jsonl"))


def test_there_are_many_bad_inputs():
    assert len(BAD) >= 160


@pytest.mark.parametrize(
    "line",
    [
        "something went wrong",
        "load_data: file must exist.",
        "load_data: file must exist. Got 'a.csv'.",
        "load_data: file must exist.\nGot 'a.csv'. Check the spelling.",
    ],
)
def test_grammar_is_not_empty(line):
    assert not in_grammar(line)


# The command line says the same in one line, with exit code 2 for invalid arguments and 1 for the rest.


@pytest.mark.parametrize(("code", "message", "command"), COMMANDS, ids=[" ".join(one[2]) for one in COMMANDS])
def test_command_line_refuses_in_one_line(bench, capsys, code, message, command):
    bench.file("latin.csv", LATIN)
    bench.file("other.csv", "text,label\na,red\nb,blue\n")
    bench.file("good/train.csv", CSV)
    bench.file("good/test.csv", CSV)
    tiny_bert(bench.folder / "bert")
    bench.model.net.save_pretrained(bench.folder / "tuned")
    bench.model.processor.save_pretrained(bench.folder / "tuned")
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(command)
    error = capsys.readouterr().err
    assert stop.value.code == code
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert in_grammar(error.removeprefix("error: ").strip()), error
    assert message in error
    assert not Path("PWNED").exists()


@pytest.mark.parametrize(
    ("message", "command"),
    [
        ("No such option: --learning-rate", ["finetune", "--learning-rate", "1"]),
        ("Invalid value for '--epochs'", ["finetune", "--epochs", "1.5"]),
        ("No such command 'tune'", ["tune"]),
        ("Missing argument", ["predict", "folder"]),
    ],
)
def test_wrong_usage_says_how_to_use_it(bench, capsys, message, command):
    with pytest.raises(SystemExit) as stop:
        main(command)
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert error.startswith("Usage: ")
    assert message in error
    assert "Traceback" not in error
