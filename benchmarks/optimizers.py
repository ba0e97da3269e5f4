"""AdamW and plain gradient descent at half, one and two times the best learning rate.

    python -m benchmarks.optimizers            # 3 seeds; an interrupted run continues where it stopped

Every run makes the same number of updates on the same short reviews and is measured on the same test reviews. A seed
has its own head, dropout and order of the data, shared by all its runs.
"""

import argparse
import json
import time
from typing import Any

from datasets import DatasetDict

import ftlab
from benchmarks.record import RESULTS, keep

LEARNING_RATES = {"adamw": (1.5e-4, 3e-4, 6e-4), "sgd": (0.1, 0.2, 0.4)}
WORDS, ROWS, TEST_ROWS = 12, 192, 200
ARGUMENTS: dict[str, Any] = {"epochs": 2, "batch_size": 16, "progress": False}


def main() -> None:
    """Run every optimizer at every learning rate, seed by seed, and record each result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    seeds = parser.parse_args().seeds
    train, test = rows()
    model = ftlab.load_model("minilm", train)
    data = fingerprint(train)
    before = RESULTS / "optimizers.json"
    kept = json.loads(before.read_text(encoding="utf-8")) if before.exists() else {}
    runs: dict[str, Any] = kept.get("runs", {}) if kept.get("data") == data else {}
    for seed in range(seeds):
        for optimizer, rates in LEARNING_RATES.items():
            for lr in rates:
                key = f"{optimizer} {lr} {seed}"
                if key in runs:
                    continue
                started = time.perf_counter()
                run = ftlab.finetune(model, train, lr=lr, optimizer=optimizer, seed=seed, **ARGUMENTS)
                right = answers(run, test)
                seconds = round(time.perf_counter() - started, 1)
                accuracy = right.count("1") / len(right)
                runs[key] = {"accuracy": accuracy, "right": right, "seconds": seconds}
        result = {
            "what": "accuracy on short test reviews (sentiment), and which were answered rightly (1) or not (0)",
            "settings": f"{ROWS} reviews of at most {WORDS} words, 2 epochs, batch 16, warm-up and linear decay",
            "updates": ARGUMENTS["epochs"] * ROWS // ARGUMENTS["batch_size"],
            "learning_rates": LEARNING_RATES,
            "seeds": seed + 1,
            "test_rows": len(test),
            "data": data,
            "runs": runs,
        }
        keep("optimizers", result)


def rows() -> tuple[Any, Any]:
    """Return the training reviews and the test reviews."""
    data = ftlab.load_data("reviews", task="sentiment")
    short = data.filter(lambda text: len(text.split()) <= WORDS, input_columns="text")
    train, test = (short[split].shuffle(seed=0) for split in ("train", "test"))
    return DatasetDict({"train": train.select(range(ROWS))}), test.select(range(TEST_ROWS))


def fingerprint(train: Any) -> str:
    """Return the fingerprint of the data."""
    from ftlab.data.load import fingerprint as of

    return of(train)[:16]


def answers(run: Any, test: Any) -> str:
    """Return for each test review 1 if the prediction is right, else 0."""
    label = test.features["label"].int2str
    said = [one["label"] for one in run.predict(list(test["text"]))]
    return "".join(str(int(one == label(true))) for one, true in zip(said, test["label"], strict=True))


if __name__ == "__main__":
    main()
