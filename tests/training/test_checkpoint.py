"""Stopped anywhere, a run goes on bit for bit; what is damaged is passed over; what differs is refused."""

import json
import os
import signal
import subprocess
import sys

import pytest
import torch
from torch import nn

import ftlab
from ftlab.errors import InputError, InterruptionError
from ftlab.training import checkpoint
from ftlab.training.loop import begin
from tests.tiny import small_conversations, tiny_llama

RULES = ["Reinit(0.15)", "ClipNorm(1.0)", "SignPrune(1e-5)", "Decay(0.9, per='epoch')"]


@pytest.fixture
def arguments(bert, small):
    return {"model": str(bert), "data": small, "epochs": 2, "lr": 1e-3, "batch_size": 8, "recipe": RULES}


def stop_after(steps):
    """Make a step that is interrupted, as by Ctrl-C, in its middle; the loop ends after it."""

    def step(state, batch):
        if state.step + 1 == steps:
            signal.raise_signal(signal.SIGINT)
        return ftlab.step(state, batch)

    return step


def model_bytes(folder):
    return (folder / "model/model.safetensors").read_bytes()


@pytest.mark.parametrize("steps", [1, 4, 5, 6, 9, 10])
def test_a_run_stopped_at_any_step_goes_on_bit_for_bit(arguments, tmp_path, steps):
    whole = ftlab.finetune(**arguments, output=tmp_path / "whole")
    with pytest.raises(InterruptionError, match=f"after step {steps} of 10. A whole checkpoint is in"):
        ftlab.finetune(**arguments, output=tmp_path / "stopped", step=stop_after(steps))
    run = json.loads((tmp_path / "stopped/run.json").read_text())
    run["arguments"]["step"] = None  # the only argument that differs here is the function that pulled the plug
    (tmp_path / "stopped/run.json").write_text(json.dumps(run))
    resumed = ftlab.finetune(**arguments, output=tmp_path / "stopped", resume=True)
    assert model_bytes(tmp_path / "stopped") == model_bytes(tmp_path / "whole")
    assert [one["loss"] for one in resumed.history] == [one["loss"] for one in whole.history]
    lines = (tmp_path / "stopped/history.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, 11))  # each step once
    assert resumed.evaluations == whole.evaluations
    assert json.loads((tmp_path / "stopped/run.json").read_text())["resumed_at"] == steps
    assert not (tmp_path / "stopped/checkpoint").exists()


@pytest.mark.parametrize("recipe", [[], ["LoRA(rank=2)", "EMA(0.8)"]], ids=["full", "LoRA"])
@pytest.mark.parametrize("engine", ["reference", "fast-fp32"])
def test_a_run_of_a_language_model_goes_on_bit_for_bit(tmp_path, recipe, engine):
    how = {
        "model": str(tiny_llama(tmp_path / "llama")),
        "data": small_conversations(),
        "epochs": 2,
        "lr": 1e-3,
        "batch_size": 8,
        "accumulate": 3,
        "recipe": recipe,
        "engine": engine,
    }
    whole = ftlab.finetune(**how, output=tmp_path / "whole")
    with pytest.raises(InterruptionError, match="after step 5 of 8"):
        ftlab.finetune(**how, output=tmp_path / "stopped", step=stop_after(5))
    run = json.loads((tmp_path / "stopped/run.json").read_text())
    run["arguments"]["step"] = None
    (tmp_path / "stopped/run.json").write_text(json.dumps(run))
    resumed = ftlab.finetune(**how, output=tmp_path / "stopped", resume=True)
    assert model_bytes(tmp_path / "stopped") == model_bytes(tmp_path / "whole")
    assert [one["loss"] for one in resumed.history] == [one["loss"] for one in whole.history]
    assert whole.history[-1]["loss"] < whole.history[0]["loss"]


def test_killed_at_once_it_goes_on_from_the_last_saved_step(arguments, tmp_path):
    ftlab.finetune(**arguments, output=tmp_path / "whole", save_every=3)
    arguments["data"].save_to_disk(tmp_path / "data")
    code = f"""
import datasets, os, torch, ftlab, ftlab.training.finetune as procedure
torch.set_num_threads(1)  # as in the tests: bit for bit holds for one number of threads
real = ftlab.step
def step(state, batch):
    if state.step == 7: os.kill(os.getpid(), 9)
    return real(state, batch)
procedure.plain_step = step
data = datasets.load_from_disk({str(tmp_path / "data")!r})
ftlab.finetune({arguments["model"]!r}, data, epochs=2, lr=1e-3, batch_size=8, recipe={RULES!r}, save_every=3,
               output={str(tmp_path / "killed")!r})
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert [one.name for one in (tmp_path / "killed/checkpoint").iterdir()] == ["step-000006"]
    resumed = ftlab.finetune(**arguments, output=tmp_path / "killed", resume=True, save_every=3)
    assert resumed.facts["resumed_at"] == 6
    assert model_bytes(tmp_path / "killed") == model_bytes(tmp_path / "whole")


def test_without_output_a_stop_says_that_nothing_was_saved(arguments):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(InterruptionError, match=r"after step 2 of 10. Nothing was saved, since no output was given"):
        ftlab.finetune(**arguments, step=stop_after(2))
    assert signal.getsignal(signal.SIGINT) is before


def test_a_damaged_checkpoint_is_passed_over_for_an_older_whole_one(bert, small, tmp_path, mentioned):
    state = begin(ftlab.load_model(bert, small), [0] * 5)
    old = checkpoint.save(state, tmp_path)
    keep = tmp_path / "kept"
    os.rename(old, keep)
    state.step = 3
    new = checkpoint.save(state, tmp_path)
    os.rename(keep, old)
    assert checkpoint.newest(tmp_path) == new
    content = bytearray((new / "model.safetensors").read_bytes())
    content[-1] ^= 1  # one flipped bit
    (new / "model.safetensors").write_bytes(content)
    assert checkpoint.newest(tmp_path) == old
    assert "model.safetensors is damaged" in mentioned()
    (old / "state.json").unlink()
    assert checkpoint.newest(tmp_path) is None


@pytest.mark.parametrize(
    ("change", "got"),
    [
        ({"lr": 2e-3}, r"lr=0.002 \(it began with 0.001\)"),
        ({"batch_size": 4}, "batch_size=4"),
        ({"recipe": ["ClipNorm(2.0)"]}, "recipe="),
        ({"seed": 1}, "seed=1"),
    ],
)
def test_resuming_with_other_arguments_is_refused(arguments, tmp_path, change, got):
    with pytest.raises(InterruptionError):
        ftlab.finetune(**arguments, output=tmp_path / "run", step=stop_after(2))
    with pytest.raises(InputError, match=f"resume: arguments must be those of the run.*{got}"):
        ftlab.finetune(**(arguments | change), output=tmp_path / "run", resume=True, step=stop_after(2))


def test_resuming_with_other_data_is_refused(arguments, tmp_path):
    step = stop_after(2)
    with pytest.raises(InterruptionError):
        ftlab.finetune(**arguments, output=tmp_path / "run", step=step)
    other = arguments["data"].copy()
    other["train"] = other["train"].select(range(1, 40))
    with pytest.raises(InputError, match="resume: data must be those of the run"):
        ftlab.finetune(
            **(arguments | {"data": type(arguments["data"])(other)}), output=tmp_path / "run", resume=True, step=step
        )


def test_resuming_a_finished_run_is_refused(arguments, tmp_path):
    ftlab.finetune(**arguments, output=tmp_path / "run")
    with pytest.raises(InputError, match="resume: run must be unfinished. Got one that finished all 10 steps"):
        ftlab.finetune(**arguments, output=tmp_path / "run", resume=True)


def test_resume_without_a_checkpoint_starts_from_the_beginning_and_says_so(arguments, tmp_path, mentioned):
    run = ftlab.finetune(**arguments, output=tmp_path / "run", resume=True)
    assert run.facts["resumed_at"] is None
    assert "the run starts from the beginning" in mentioned()


def test_a_full_disk_is_said_in_words_and_leaves_what_was_there(arguments, tmp_path, monkeypatch):
    run = ftlab.finetune(**arguments, output=tmp_path / "run")
    good = model_bytes(tmp_path / "run")

    def full(folder, *rest, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(run.model.net), "save_pretrained", full)
    with pytest.raises(InputError, match=r"save: disk must have room for model. Got \d+ MB free"):
        run.save(tmp_path / "run/model")
    assert model_bytes(tmp_path / "run") == good
    assert sorted(one.name for one in (tmp_path / "run").iterdir()) == sorted(
        ["model", "metrics.json", "history.jsonl", "run.json", "curves.png"]
    )


def test_memory_of_rules_survives_taking_apart(tmp_path):
    memory = [None, {"mean": {"w": torch.arange(3.0)}, 2: (1, [True, "x", 0.5])}, torch.tensor(4)]
    packed, tensors = checkpoint.pack(memory)
    back = checkpoint.unpack(json.loads(json.dumps(packed)), tensors)
    assert torch.equal(back[1]["mean"]["w"], torch.arange(3.0))
    assert back[1][2] == (1, [True, "x", 0.5])
    assert (back[0], back[2].item()) == (None, 4)
    with pytest.raises(InputError, match="memory of a rule must be of plain values. Got Linear"):
        checkpoint.pack([nn.Linear(1, 1)])


def test_nothing_that_is_written_is_a_pickle(arguments, tmp_path):
    with pytest.raises(InterruptionError):
        ftlab.finetune(**arguments, output=tmp_path / "run", step=stop_after(2))
    files = {one.name for one in (tmp_path / "run").rglob("*") if one.is_file()}
    assert files == {
        "run.json", "history.jsonl", "state.json", "model.safetensors", "optimizer.safetensors", "memory.safetensors",
    }  # fmt: skip
