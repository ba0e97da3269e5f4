"""SmolLM2 on `extraction`: exact match, forgetting, time and memory, untouched, with LoRA and fully fine-tuned.

    python -m benchmarks.extraction            # 3 seeds; an interrupted run continues where it stopped

Every run is a process of its own, so that its peak memory is its own. Its weights were stored in four bits.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np
from datasets import DatasetDict

import ftlab
from benchmarks.data_page import interval
from benchmarks.record import RESULTS, keep, spread
from ftlab.data.load import fingerprint

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
ARMS: dict[str, dict[str, Any]] = {
    "untouched": {},
    "LoRA": {"recipe": [ftlab.LoRA(targets=TARGETS)], "lr": 2e-3},
    "full": {"lr": 2e-4},
}
"""By arm: the arguments of ``finetune`` that differ."""
ARGUMENTS: dict[str, Any] = {"epochs": 1, "batch_size": 8, "max_length": 128, "progress": False}
OTHER = 200
"""Texts of `reviews` on which the perplexity is measured before and after: they are no part of the training."""


def main() -> None:
    """Run each arm and seed in its own process, and record the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--arm", choices=ARMS, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.arm:
        print(json.dumps(measured(given.arm, given.seed)))
        return
    data = ftlab.load_data("extraction")
    for seed in range(given.seeds):
        for arm in ARMS:
            runs, key = recorded(fingerprint(data)), f"{arm} {seed}"
            if key in runs or (arm == "untouched" and seed):
                continue
            command = [sys.executable, "-m", "benchmarks.extraction", "--arm", arm, "--seed", str(seed)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            runs[key] = json.loads(done.stdout.splitlines()[-1])
            print(key, {name: value for name, value in runs[key].items() if name != "matches"}, flush=True)
            keep("extraction", described(data, runs) | {"runs": runs})


def recorded(data: str) -> dict[str, Any]:
    """Return the recorded runs on the current data."""
    file = RESULTS / "extraction.json"
    found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    runs: dict[str, Any] = found.get("runs", {}) if found.get("data") == data else {}
    return runs


def described(data: Any, runs: Any) -> dict[str, Any]:
    """Return the description of the record, and each arm's results."""
    by_arm = {arm: [run for key, run in runs.items() if key.startswith(f"{arm} ")] for arm in ARMS}
    return {
        "what": "exact match of the greedy response on all test rows of `extraction`, with 95 % intervals over seeds and "
        f"rows; perplexity of the responses of `instructions` and of {OTHER} texts of `reviews`; peak memory of the process",
        "model": "smollm2, whose weights went through four bits",
        "how": f"{len(data['train'])} rows, {ARGUMENTS}",
        "arms": {arm: {name: str(value) for name, value in how.items()} for arm, how in ARMS.items()},
        "test_rows": len(data["test"]),
        "data": fingerprint(data),
        "summary": {arm: summary(found) for arm, found in by_arm.items() if found},
    }


def summary(runs: list[Any]) -> dict[str, Any]:
    """Return an arm's exact match with its interval, and median, minimum and maximum of the rest over seeds."""
    matches = np.array([[letter == "1" for letter in run["matches"]] for run in runs], dtype=float)
    rest = [name for name in runs[0] if name != "matches"]
    return {
        "seeds": len(runs),
        "exact_match": [round(one, 4) for one in interval(matches)],
        **{name: spread([run[name] for run in runs]) for name in rest},
    }


def measured(arm: str, seed: int) -> dict[str, Any]:
    """Train one arm and measure it."""
    data = ftlab.load_data("extraction")
    model = ftlab.load_model("smollm2", data)
    seconds, memory = 0.0, 0.0
    if arm != "untouched":
        started = time.perf_counter()
        model = ftlab.finetune(model, DatasetDict({"train": data["train"]}), seed=seed, **ARGUMENTS | ARMS[arm]).model
        seconds = time.perf_counter() - started
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    prompts, expected = list(data["test"]["prompt"]), list(data["test"]["response"])
    started = time.perf_counter()
    responses = [one["response"] for one in ftlab.predict(model, prompts, max_new_tokens=32)]
    generating = time.perf_counter() - started
    texts = ftlab.load_data("reviews")["test"].select(range(OTHER)).select_columns(["text"])
    return {
        "matches": "".join(str(int(one == other)) for one, other in zip(responses, expected, strict=True)),
        "seconds": round(seconds, 1),
        "peak GB": round(memory, 2),
        "loss on test": round(ftlab.evaluate(model, data["test"], resamples=0)["loss"], 4),
        "seconds to generate": round(generating, 1),
        "perplexity of instructions": round(
            ftlab.evaluate(model, ftlab.load_data("instructions")["test"], resamples=0)["perplexity"], 2
        ),
        "perplexity of reviews": round(ftlab.evaluate(model, texts, resamples=0)["perplexity"], 2),
    }


if __name__ == "__main__":
    main()
