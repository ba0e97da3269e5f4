"""The command line: help with an example each, exit codes, quick answers."""

import io
import json
import os
import subprocess
import sys

import pytest

from ftlab.cli import main
from ftlab.models.load import load_model
from ftlab.models.save import save_model

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


@pytest.mark.parametrize(
    ("given", "lines"),
    [
        (b"good film\n\nbad film\n", ["good film", "", "bad film"]),
        ("good\u2028film\nbad film".encode(), ["good\u2028film", "bad film"]),
        (b"good\x0cfilm\r\nbad film\r\n", ["good\x0cfilm", "bad film"]),
        ("\ufeffgood\x85film\n".encode(), ["good\x85film"]),
        (b"", []),
    ],
)
def test_each_line_of_the_input_gives_a_line(capsys, monkeypatch, bert, small, tmp_path, given, lines):
    model = load_model(bert, small)
    save_model(model, tmp_path / "model", "")
    for options in ([], ["--json"]):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given)))
        code, out, _ = run(capsys, "predict", str(tmp_path / "model"), "-", *options)
        assert code == 0
        shown = out.split("\n")[:-1]
        assert len(shown) == len(lines)
        told = (
            [json.loads(line)["text"] for line in shown] if options else [line.partition("\t")[2][6:] for line in shown]
        )
        assert told == lines


def test_input_that_is_not_utf8_is_refused(capsys, monkeypatch, bert, small, tmp_path):
    save_model(load_model(bert, small), tmp_path / "model", "")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("café\n".encode("latin-1"))))
    code, _, err = run(capsys, "predict", str(tmp_path / "model"), "-")
    assert code == 1
    assert err == (
        "error: predict: standard input must be UTF-8 text. Got byte 0xe9 at position 4. Convert it, as with iconv.\n"
    )


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_a_terminal_that_lacks_a_character_gets_an_escape(encoding):
    command = [sys.executable, "-m", "ftlab", "explain", "--rule", "ClipNorm(1.0)"]
    ended = subprocess.run(command, capture_output=True, env=os.environ | {"PYTHONIOENCODING": encoding})
    assert ended.returncode == 0, ended.stderr
    assert b"\\u2207J" in ended.stdout  # ∇J
