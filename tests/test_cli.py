"""The command line: help with an example each, exit codes, quick answers."""

import subprocess
import sys

import pytest

from ftlab.cli import main

COMMANDS = ("finetune", "evaluate", "predict", "explain", "doctor")


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    printed = capsys.readouterr()
    return ended.value.code, printed.out, printed.err


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example_that_begins_with_the_command(capsys, command):
    code, out, _ = run(capsys, command, "--help")
    assert code == 0
    assert f"Example:\n    ftlab {command}" in out


def test_help_names_every_command(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert all(command in out for command in COMMANDS)


def test_explain_prints_the_plan(capsys):
    code, out, _ = run(capsys, "explain", "--rule", "Decay(0.9, per='epoch')", "--rule", "ClipNorm(1.0)")
    assert code == 0
    assert out.startswith("θ ← θ − α_t·AdamW(G(∇J))")


def test_doctor_tells_what_is_here(capsys):
    code, out, _ = run(capsys, "doctor")
    assert code == 0
    for word in ("device", "engine", "threads", "torch", "minilm", "train 2256", "330 pairs"):
        assert word in out


def test_wrong_usage_is_2_and_failure_is_1_with_one_line_each(capsys, tmp_path):
    code, _, err = run(capsys, "finetune", "--lr", "-1")
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("error: finetune: lr must be a number greater than 0. Got -1.0.")
    code, _, err = run(capsys, "finetune", "--data", str(tmp_path / "none.csv"))
    assert (code, err.count("\n")) == (1, 1)
    assert "Traceback" not in err
    assert run(capsys, "finetune", "--no-such-option")[0] == 2


def test_debug_shows_the_traceback(tmp_path):
    command = [sys.executable, "-m", "ftlab", "finetune", "--data", str(tmp_path / "none.csv"), "--debug"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 1
    assert "Traceback" in ended.stderr
    assert "ftlab.errors.InputError" in ended.stderr


def test_an_error_that_nobody_foresaw_is_one_line_without_a_traceback(capsys, monkeypatch):
    def fails(*_, **__):
        raise KeyError("of a library")

    monkeypatch.setattr("ftlab.diagnostics.doctor", fails)
    with pytest.raises(SystemExit) as ended:
        main(["doctor"])
    said = capsys.readouterr().err
    assert ended.value.code == 1
    assert said == "error: unexpected KeyError: 'of a library'. Add --debug to see where it comes from.\n"
    with pytest.raises(KeyError):
        main(["doctor", "--debug"])
