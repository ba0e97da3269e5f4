"""Distillation from a GPT to a BERT and back, on the sentiment of `reviews`: paired seeds, with controls.

    python -m benchmarks.distillation          # an interrupted run continues where it stopped

The teacher is fine-tuned on some rows, and the student on others. A student has the labels alone, the teacher's answers
alone, both, or the answers of another row each time (shuffled), which hold nothing about the text. SmolLM2's weights were
stored in four bits.
"""

import argparse
import copy
import json
import time
from typing import Any

import numpy as np
import torch
from datasets import DatasetDict

import ftlab
from benchmarks.data_page import interval
from benchmarks.record import RESULTS, keep
from ftlab.experiments.paired import Paired
from ftlab.losses.distill import Answers, Distill

TEACHER_ROWS, TEST_ROWS = 600, 400
FULL: dict[str, Any] = {"lr": 1e-4, "batch_size": 16, "progress": False}
PAIRS: dict[str, dict[str, Any]] = {
    "smollm2 teaches minilm": {"teacher": "smollm2", "student": "minilm", "rows": 400, "epochs": 3, "seeds": 3},
    "minilm teaches smollm2": {"teacher": "minilm", "student": "smollm2", "rows": 100, "epochs": 2, "seeds": 3},
}
EPOCHS = {"smollm2": 2, "minilm": 3}
"""Of the teachers."""
ARMS = ("labels", "answers", "both", "answers shuffled")


def main() -> None:
    """Run what is not recorded yet, and record it."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    data = ftlab.load_data("reviews")
    rows = data["train"].shuffle(seed=0)
    test = data["test"].shuffle(seed=0).select(range(TEST_ROWS))
    for pair, how in PAIRS.items():
        teacher = None
        for seed in range(how["seeds"]):
            answers = None
            for arm in ARMS:
                runs, key = recorded(), f"{pair}, {arm} {seed}"
                if key in runs or (arm == "both" and how["student"] == "smollm2"):  # it takes too long
                    continue
                if teacher is None:
                    taught = DatasetDict({"train": rows.select(range(TEACHER_ROWS))})
                    model = ftlab.load_model(how["teacher"], data)
                    teacher = ftlab.finetune(model, taught, epochs=EPOCHS[how["teacher"]], **FULL).model
                    runs[f"{pair}, teacher 0"] = {"right": right(teacher, test), "seconds": 0.0}
                chance = np.random.default_rng(seed)
                own = chance.permutation(np.arange(TEACHER_ROWS, len(rows)))[: how["rows"]]
                train = DatasetDict({"train": rows.select(own.tolist())})
                student = ftlab.load_model(how["student"], data)
                answers = answers or Answers(teacher, student, train["train"], 128)  # once for all arms of a seed
                started = time.perf_counter()
                loss = loss_of(arm, answers)
                run = ftlab.finetune(student, train, epochs=how["epochs"], seed=seed, loss=loss, **FULL)
                runs[key] = {"seconds": round(time.perf_counter() - started, 1), "right": right(run.model, test)}
                print(key, runs[key]["right"].count("1") / TEST_ROWS, runs[key]["seconds"], flush=True)
                keep("distillation", described(runs))


def loss_of(arm: str, answers: Answers) -> Any:
    """Return the loss of an arm; cross-entropy if nothing is returned."""
    if arm == "labels":
        return None
    if "shuffled" in arm:
        answers = copy.copy(answers)
        keys, values = list(answers.by_tokens), list(answers.by_tokens.values())
        order = torch.randperm(len(keys), generator=torch.Generator().manual_seed(0)).tolist()
        answers.by_tokens = {key: values[other] for key, other in zip(keys, order, strict=True)}
    return Distill(answers, alpha=0.5 if arm == "both" else 1.0)


def right(model: Any, rows: Any) -> str:
    """Return a digit for each test row: 1 if it was answered rightly."""
    names = rows.features["label"].names
    said = ftlab.predict(model, list(rows["text"]))
    return "".join(str(int(one["label"] == names[label])) for one, label in zip(said, rows["label"], strict=True))


def recorded() -> dict[str, Any]:
    """Return the recorded runs."""
    file = RESULTS / "distillation.json"
    runs: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["runs"] if file.exists() else {}
    return runs


def described(runs: dict[str, Any]) -> dict[str, Any]:
    """Return the record: accuracies, and paired differences from the students with labels and with shuffled answers."""
    found: dict[str, Any] = {}
    for pair, how in PAIRS.items():
        arms = {}
        for arm in ("teacher", *ARMS):
            several = [runs[key]["right"] for seed in range(how["seeds"]) if (key := f"{pair}, {arm} {seed}") in runs]
            if several:
                arms[arm] = np.array([[letter == "1" for letter in one] for one in several], dtype=float)
        entry: dict[str, Any] = {
            "accuracy": {arm: [round(one, 4) for one in interval(bits)] for arm, bits in arms.items()},
            "seeds": {arm: len(bits) for arm, bits in arms.items()},
        }
        for one, other in (("answers", "answers shuffled"), ("answers", "labels"), ("both", "labels")):
            if one in arms and other in arms and len(arms[one]) == len(arms[other]) > 1:
                paired = Paired.of((arms[one] - arms[other]).mean(1).tolist())
                values = [round(value, 4) for value in (paired.mean, paired.low, paired.high)]
                entry[f"{one} minus {other}"] = {"difference": values, "verdict": paired.verdict}
        found[pair] = entry
    return {
        "what": f"accuracy on {TEST_ROWS} test rows of `reviews` (sentiment); intervals over seeds and rows; differences are "
        "paired by seed, with the interval of the paired t-test",
        "how": f"teachers: {TEACHER_ROWS} rows, epochs {EPOCHS}; students: other rows, {PAIRS}; all: {FULL}, temperature 2",
        "model": "smollm2, whose weights went through four bits; minilm",
        "results": found,
        "runs": runs,
    }


if __name__ == "__main__":
    main()
