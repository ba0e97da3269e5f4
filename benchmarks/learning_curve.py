"""How accuracy grows with the number of training rows, for four methods on the embedded reviews.

    python -m benchmarks.learning_curve            # 5 seeds; an interrupted run continues where it stopped
    python -m benchmarks.learning_curve --page     # write book/data.md and its figures from the record

Each seed draws its own training rows (as many of each class), its own head and its own order. All methods of a seed get
the same rows, and are measured on the same test rows.
"""

import argparse
import base64
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from datasets import DatasetDict
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import ftlab
from benchmarks.data_page import write
from benchmarks.record import RESULTS, keep

EPOCHS = {16: 16, 64: 8, 256: 4, 1000: 2, 2000: 2}
"""Epochs by number of rows; few rows need more epochs for enough updates."""
ARGUMENTS: dict[str, Any] = {"lr": 1e-4, "batch_size": 16, "recipe": [ftlab.ClipNorm(1.0)], "progress": False}
TASKS = ("sentiment", "topic")
Right = npt.NDArray[np.bool_]
Method = Callable[[Any, Any, int], Right]
"""A function from training rows, test rows and a seed to which test rows are predicted correctly."""


def main() -> None:
    """Run the benchmark, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--page", action="store_true")
    given = parser.parse_args()
    if given.page:
        write()
    else:
        measure(given.seeds)


def measure(seeds: int) -> None:
    """Run every method with every number of rows, seed by seed, and record each result."""
    before = RESULTS / "learning_curve.json"
    kept = json.loads(before.read_text(encoding="utf-8")) if before.exists() else {}
    print_of_data = {task: ftlab_fingerprint(task) for task in TASKS}
    runs: dict[str, Any] = kept.get("runs", {}) if kept.get("data") == print_of_data else {}
    for seed in range(seeds):
        for task in TASKS:
            data = ftlab.load_data("reviews", task=task)
            for rows in EPOCHS:
                train = subset(data["train"], rows, seed)
                for name, method in METHODS.items():
                    key = f"{task} {name} {rows} {seed}"
                    if key not in runs:
                        started = time.perf_counter()
                        right = method(train, data, seed)
                        runs[key] = {
                            "accuracy": round(float(right.mean()), 4),
                            "right": base64.b64encode(np.packbits(right)).decode(),
                            "seconds": round(time.perf_counter() - started, 1),
                        }
                        print(key, runs[key]["accuracy"], flush=True)
        result = {
            "what": "accuracy on the test rows of `reviews`, and which of them were answered rightly (packed bits)",
            "settings": "fine-tuned: lr 1e-4, batch 16, ClipNorm(1.0), warm-up and linear decay, epochs by rows",
            "epochs": EPOCHS,
            "seeds": seed + 1,
            "test_rows": {task: len(ftlab.load_data("reviews", task=task)["test"]) for task in TASKS},
            "data": print_of_data,
            "runs": runs,
        }
        keep("learning_curve", result)


def ftlab_fingerprint(task: str) -> str:
    """Return the fingerprint of the reviews."""
    from ftlab.data.load import fingerprint

    return fingerprint(ftlab.load_data("reviews", task=task))[:16]


def subset(rows: Any, count: int, seed: int) -> Any:
    """Return a random subset with equally many rows of each class, up to a remainder."""
    chance = np.random.default_rng(seed)
    labels = np.array(rows["label"])
    classes = np.unique(labels)
    share, more = divmod(count, len(classes))
    chosen = [
        one
        for index, label in enumerate(chance.permutation(classes))
        for one in chance.permutation(np.flatnonzero(labels == label))[: share + (index < more)]
    ]
    return rows.select(chance.permutation(chosen).tolist())


def majority(train: Any, data: Any, seed: int) -> Right:
    """Always predict the most frequent label of the training rows."""
    return np.array(data["test"]["label"]) == np.bincount(train["label"]).argmax()


def bag_of_words(train: Any, data: Any, seed: int) -> Right:
    """Logistic regression on the words that occur."""
    model = make_pipeline(CountVectorizer(), LogisticRegression(max_iter=5000))
    found: Right = model.fit(train["text"], train["label"]).predict(data["test"]["text"]) == np.array(
        data["test"]["label"]
    )
    return found


def frozen(train: Any, data: Any, seed: int) -> Right:
    """Logistic regression on the vectors of the frozen pretrained model."""
    model = ftlab.load_model("minilm", data)
    vectors = [ftlab.embed(model, list(rows["text"])).numpy() for rows in (train, data["test"])]
    probe = LogisticRegression(max_iter=5000).fit(vectors[0], train["label"])
    found: Right = probe.predict(vectors[1]) == np.array(data["test"]["label"])
    return found


def fine_tuned(train: Any, data: Any, seed: int) -> Right:
    """The pretrained model, fine-tuned."""
    rows = DatasetDict({"train": train})
    run = ftlab.finetune("minilm", rows, seed=seed, epochs=EPOCHS[len(train)], **ARGUMENTS)
    names = data["test"].features["label"].names
    said = [one["label"] for one in run.predict(data["test"]["text"])]
    return np.array(said) == np.array([names[label] for label in data["test"]["label"]])


METHODS: dict[str, Method] = {
    "majority": majority,
    "bag of words": bag_of_words,
    "frozen": frozen,
    "fine-tuned": fine_tuned,
}

if __name__ == "__main__":
    main()
