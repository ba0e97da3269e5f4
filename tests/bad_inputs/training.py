"""Arguments and outputs that ``finetune`` refuses."""

import json
import math

import pytest
import torch

import ftlab
from ftlab import ArgumentError, InputError
from tests.bad_inputs.bench import bad, bad_argument

# Invalid arguments

LR = "lr must be a number greater than 0. Got "
bad_argument("lr 0", LR + "0", lr=0)
bad_argument("lr below 0", LR + "-0.001", lr=-1e-3)
bad_argument("lr NaN", LR + "nan", lr=math.nan)
bad_argument("lr inf", LR + "inf", lr=math.inf)
bad_argument("lr a string", LR + "'5e-5'", lr="5e-5")
bad_argument("lr true", LR + "True", lr=True)
bad_argument("epochs 0", "epochs must be a whole number of at least 1. Got 0", epochs=0)
bad_argument("epochs 1.5", "epochs must be a whole number of at least 1. Got 1.5", epochs=1.5)
bad_argument("batch_size 0", "batch_size must be a whole number of at least 1. Got 0", batch_size=0)
bad_argument("accumulate 5 of 4", "accumulate must be at most batch_size, 4. Got 5", batch_size=4, accumulate=5)
bad_argument("max_length 2", "max_length must be a whole number of at least 4. Got 2", max_length=2)
bad_argument("seed below 0", "seed must be a whole number of at least 0. Got -5", seed=-5)
bad_argument("three seeds", "seed must be one whole number or two. Got (1, 2, 3)", seed=(1, 2, 3))
bad_argument(
    "unknown engine", "engine must be one of 'auto', 'reference', 'fast', 'fast-fp32'. Got 'warp'", engine="warp"
)
bad_argument("unknown device", "device must be one of 'auto', 'cpu', 'cuda', 'mps'. Got 'tpu'", device="tpu")
bad_argument("unknown optimizer", "optimizer must be one of 'adamw', 'sgd', 'signsgd', ", optimizer="adam")
bad_argument("loss a string", "loss must be a function. Got 'focal'", loss="focal")
bad_argument("step a string", "step must be a function. Got 'sam'", step="sam")
bad_argument("save_every 0", "save_every must be a whole number of at least 1. Got 0", save_every=0, output="new")
bad_argument("save_every without output", "save_every must come with output", save_every=5)
bad_argument("resume without output", "resume must come with output", resume=True)
bad_argument("overwrite without output", "overwrite must come with output", overwrite=True)
bad_argument("overwrite with resume", "not be asked for together", output="new", overwrite=True, resume=True)


@bad(ArgumentError, "device must be on this machine (cpu). Got 'cuda'")
def _device_that_is_not_there(bench):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        patch.setattr(torch.backends.mps, "is_available", lambda: False)
        bench.finetune(device="cuda")


# Outputs


@bad(InputError, "output must be a folder. Got the file")
def _output_that_is_a_file(bench):
    bench.finetune(output=bench.file("taken", "a letter"))


@bad(InputError, "output must be a folder that can be written")
def _output_below_a_file(bench):
    bench.finetune(output=bench.file("taken", "a letter") / "run")


@bad(InputError, "output must be empty or hold a run. Got other files in")
def _output_that_holds_other_files(bench):
    bench.finetune(output=bench.file("taken/letter.txt", "a letter").parent, overwrite=True)


@bad(InputError, "output must not hold another run")
def _output_that_holds_another_run(bench):
    bench.finetune(output=bench.file("taken/run.json", "{}").parent)


@bad(InputError, "run.json must be whole")
def _resume_of_what_is_no_run(bench):
    bench.finetune(output=bench.file("taken/run.json", "{}").parent, resume=True)


@bad(InputError, "run must be unfinished. Got one that finished all 3 steps")
def _resume_of_a_finished_run(bench):
    run = {"status": "finished", "steps": 3, "arguments": {}, "data_fingerprint": ""}
    bench.finetune(output=bench.file("taken/run.json", json.dumps(run)).parent, resume=True)


@bad(InputError, "arguments must be those of the run. Got lr=5e-05 (it began with 0.1)")
def _resume_with_another_lr(bench):
    arguments = {
        "model": bench.model.name,
        **ftlab.training.settings.Settings(recipe=(ftlab.WarmupLinear(),)).to_dict(),
    }
    run = {"status": "running", "steps": 3, "arguments": arguments | {"lr": 0.1}, "data_fingerprint": ""}
    bench.finetune(output=bench.file("taken/run.json", json.dumps(run)).parent, resume=True)


@bad(InputError, "output must be a folder that can be written. Got '/proc/ftlab/run'")
def _output_that_cannot_be_written(bench):
    bench.finetune(output="/proc/ftlab/run")


@bad(InputError, "output must be a folder that can be written")
def _output_with_too_long_a_name(bench):
    bench.finetune(output="x" * 5000)
