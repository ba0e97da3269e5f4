"""SmolLM2 as a classifier beside MiniLM: topic of `reviews`, all training rows, the same test rows.

    python -m benchmarks.classification        # one seed; SmolLM2 takes a quarter of an hour on two cores

SmolLM2's weights were stored in four bits.
"""

import argparse
import time
from typing import Any

import numpy as np

import ftlab
from benchmarks.data_page import interval
from benchmarks.record import keep

ARMS: dict[str, dict[str, Any]] = {
    "minilm": {"epochs": 3, "lr": 1e-4, "batch_size": 32},
    "smollm2": {"epochs": 2, "lr": 1e-4, "batch_size": 16},
}


def main() -> None:
    """Train both, and record their answers."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    data = ftlab.load_data("reviews", task="topic")
    test, names = data["test"], data["test"].features["label"].names
    right, seconds = {}, {}
    for name, how in ARMS.items():
        started = time.perf_counter()
        train = type(data)({"train": data["train"]})
        run = ftlab.finetune(ftlab.load_model(name, data), train, recipe=[ftlab.ClipNorm(1.0)], progress=False, **how)
        seconds[name] = round(time.perf_counter() - started)
        said = run.predict(list(test["text"]))
        right[name] = np.array([[one["label"] == names[label] for one, label in zip(said, test["label"], strict=True)]])
    result = {
        "what": f"accuracy on all {len(test)} test rows of `reviews` (topic), {len(data['train'])} training rows, one seed; "
        "95 % intervals over test rows, of the difference on the same rows",
        "how": {name: {"recipe": "ClipNorm(1.0)", **how} for name, how in ARMS.items()},
        "model": "smollm2, whose weights went through four bits; minilm",
        "seconds": seconds,
        "accuracy": {name: rounded(bits.astype(float)) for name, bits in right.items()},
        "smollm2 minus minilm": rounded(right["smollm2"].astype(float) - right["minilm"]),
    }
    keep("classification", result)


def rounded(values: Any) -> list[float]:
    """Return a mean with its interval, rounded to four places."""
    return [round(one, 4) for one in interval(values)]


if __name__ == "__main__":
    main()
