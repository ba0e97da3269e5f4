"""Fine-tuned MiniLM compared with cheaper methods, on all test rows of the embedded reviews.

    python -m benchmarks.defend            # 3 seeds; an interrupted run continues where it stopped

The task is sentiment. `fine-tuned` is the run of ``make demo``. It is compared with four methods that update no parameter
of the model: the most frequent label, zero-shot (the nearest of two label sentences), a bag of words, and a probe on the
frozen vectors. Four choices of trainable parameters are also compared on 512 rows, each with the better of two learning
rates on validation rows.
"""

import argparse
import base64
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from datasets import DatasetDict

import ftlab
from benchmarks.data_page import Bits, interval
from benchmarks.learning_curve import Right, bag_of_words, frozen, ftlab_fingerprint, majority, subset
from benchmarks.record import RESULTS, keep

ARGUMENTS: dict[str, Any] = {
    "epochs": 3,
    "lr": 1e-4,
    "batch_size": 32,
    "recipe": [ftlab.ClipNorm(1.0)],
    "progress": False,
}
"""The arguments of ``make demo``."""
SENTENCES = {"negative": "a negative review", "positive": "a positive review"}
"""The sentences that zero-shot compares a text with, by label."""
ROWS = 512
"""Training rows for the choices of trainable parameters."""
ARMS: dict[str, tuple[list[Any], tuple[float, float]]] = {
    "everything": ([], (1e-4, 3e-4)),
    "LoRA": ([ftlab.LoRA(rank=8)], (5e-3, 1e-2)),
    "BitFit": ([ftlab.BitFit()], (3e-3, 1e-2)),
    "frozen body": ([ftlab.Freeze(("*.embeddings.*", "*.encoder.*"))], (3e-3, 1e-2)),
}
"""By choice of trainable parameters: the rules, and two learning rates to select from on validation rows."""
FEW: dict[str, Any] = {"epochs": 3, "batch_size": 16, "progress": False}


def main() -> None:
    """Run everything that is not recorded yet, and record each result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no new run after this many minutes")
    given = parser.parse_args()
    data = ftlab.load_data("reviews")
    for key, job in jobs(data, given.seeds):
        runs = recorded()
        if key in runs:
            continue
        if time.process_time() > 60 * given.minutes:
            return
        started = time.perf_counter()
        runs[key] = job(runs) | {"seconds": round(time.perf_counter() - started, 1)}
        keep("defend", described(data, given.seeds) | summary(runs, given.seeds, len(data["test"])) | {"runs": runs})


def recorded() -> dict[str, Any]:
    """Return the recorded runs on the current data."""
    file = RESULTS / "defend.json"
    found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    runs: dict[str, Any] = found.get("runs", {}) if found.get("data") == ftlab_fingerprint("sentiment") else {}
    return runs


def described(data: Any, seeds: int) -> dict[str, Any]:
    """Return the description of the record."""
    return {
        "what": "sentiment of `reviews`: accuracy, and which rows were answered rightly (packed bits), on all test rows",
        "fine-tuned": "all training rows, 3 epochs, lr 1e-4, batch 32, ClipNorm(1.0), warm-up and linear decay",
        "what is trained, how": f"{ROWS} training rows, 3 epochs, batch 16, ClipNorm(1.0), warm-up and linear decay",
        "zero-shot": SENTENCES,
        "rates": {arm: list(rates) for arm, (_, rates) in ARMS.items()},
        "seeds": seeds,
        "training_rows": len(data["train"]),
        "test_rows": len(data["test"]),
        "data": ftlab_fingerprint("sentiment"),
    }


def summary(runs: Any, seeds: int, count: int) -> dict[str, Any]:
    """Return the means and paired differences of the finished runs, with 95 % intervals over seeds and test rows."""

    def bits(name: str) -> Bits | None:
        found = [runs[key]["right"] for seed in range(seeds) if (key := f"{name} {seed}") in runs]
        rows = [np.unpackbits(np.frombuffer(base64.b64decode(one), np.uint8))[:count] for one in found]
        return np.array(rows, dtype=float) if len(rows) in (1, seeds) else None

    there = {name: found for name in ("fine-tuned", *METHODS, *ARMS) if (found := bits(name)) is not None}
    result: dict[str, Any] = {"accuracy": {name: rounded(found) for name, found in there.items()}}
    for best, others in (("fine-tuned", METHODS), ("everything", ARMS)):
        if best in there:
            result[f"{best} minus"] = {
                name: rounded(there[best] - there[name]) for name in others if name in there and name != best
            }
    result["what is trained"] = {
        arm: {"trained": runs[f"{arm} 0"]["trained"], "lr": runs[f"{arm} 0"]["lr"]}
        for arm in ARMS
        if f"{arm} 0" in runs
    }
    return result


def rounded(values: Bits) -> list[float]:
    """Return a mean with its interval, rounded to four places."""
    return [round(one, 4) for one in interval(values)]


def jobs(data: Any, seeds: int) -> list[tuple[str, Callable[[Any], dict[str, Any]]]]:
    """Return the jobs by name; each takes the earlier runs and returns its record."""
    found: list[tuple[str, Callable[[Any], dict[str, Any]]]] = []
    for name, method in METHODS.items():
        found.append((f"{name} 0", lambda runs, method=method: answered(method(data["train"], data, 0))))
    found += [(f"fine-tuned {seed}", lambda runs, seed=seed: demo(data, seed)) for seed in range(seeds)]
    for arm, (_, rates) in ARMS.items():
        for rate in rates:
            found.append(
                (f"choose {arm} {rate}", lambda runs, arm=arm, rate=rate: arm_of(data, arm, rate, 0, "validation"))
            )
        for seed in range(seeds):
            found.append(
                (f"{arm} {seed}", lambda runs, arm=arm, seed=seed: arm_of(data, arm, better(arm, runs), seed, "test"))
            )
    return found


def better(arm: str, runs: Any) -> float:
    """Return the learning rate with the higher validation accuracy."""
    return max(ARMS[arm][1], key=lambda rate: runs[f"choose {arm} {rate}"]["accuracy"])


def answered(right: Right) -> dict[str, Any]:
    """Return the record of the predictions on the test rows."""
    return {"accuracy": round(float(right.mean()), 4), "right": base64.b64encode(np.packbits(right)).decode()}


def zero_shot(train: Any, data: Any, seed: int) -> Right:
    """Predict the label whose sentence is nearest to the text, without training rows or updates."""
    model = ftlab.load_model("minilm", data)
    names = data["test"].features["label"].names
    labels = ftlab.embed(model, [SENTENCES[name] for name in names])
    nearest = (ftlab.embed(model, list(data["test"]["text"])) @ labels.T).argmax(1)
    found: Right = nearest.numpy() == np.array(data["test"]["label"])
    return found


def demo(data: Any, seed: int) -> dict[str, Any]:
    """Fine-tune on all training rows and evaluate on all test rows."""
    run = ftlab.finetune("minilm", DatasetDict({"train": data["train"]}), seed=seed, **ARGUMENTS)
    return answered(right_of(run, data["test"]))


def arm_of(data: Any, arm: str, rate: float, seed: int, split: str) -> dict[str, Any]:
    """Train some of the parameters on a subset of rows drawn with the seed."""
    rules, _ = ARMS[arm]
    rows = DatasetDict({"train": subset(data["train"], ROWS, seed)})
    model = ftlab.load_model("minilm", data)
    trained = ftlab.begin(model.copy(), batches=[0], recipe=rules).params.values()
    run = ftlab.finetune(model, rows, seed=seed, lr=rate, recipe=[*rules, ftlab.ClipNorm(1.0)], **FEW)
    return answered(right_of(run, data[split])) | {"lr": rate, "trained": sum(one.numel() for one in trained)}


def right_of(run: Any, rows: Any) -> Right:
    """Return which rows a run predicts correctly."""
    names = rows.features["label"].names
    said = [one["label"] for one in run.predict(rows["text"])]
    return np.array(said) == np.array([names[label] for label in rows["label"]])


METHODS: dict[str, Callable[[Any, Any, int], Right]] = {
    "majority": majority,
    "zero-shot": zero_shot,
    "bag of words": bag_of_words,
    "probe": frozen,
}

if __name__ == "__main__":
    main()
