"""SmolLM2 and MiniLM on `reviews` without any update: label words, raw and calibrated, examples, names and prototypes.

    python -m benchmarks.zero_shot             # an interrupted run continues where it stopped

Fine-tuned models stand beside them from the record of ``benchmarks.learning_curve``. SmolLM2's weights were stored in four
bits. The prompt was written before any score was seen.
"""

import argparse
import json
from typing import Any

import numpy as np
import torch

import ftlab
from benchmarks.data_page import interval
from benchmarks.record import RESULTS, keep
from ftlab.data.load import fingerprint
from ftlab.evaluation.zero_shot import CONTENT_FREE, drawn, word_log_probs
from ftlab.formulas.contextual_calibration import contextual_calibration

ROWS, EXAMPLES, SEEDS = 600, 4, 2
"""Test rows, examples of each label, and draws of the examples."""
PROMPTS = {"sentiment": "Review: {text}\nSentiment:", "topic": "Review: {text}\nWhat is reviewed:"}


def main() -> None:
    """Measure what is not recorded yet, and record it."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    model = None
    for task in PROMPTS:
        data = ftlab.load_data("reviews", task=task)
        rows = data["test"].shuffle(seed=0).select(range(ROWS))
        for examples in (0, EXAMPLES):
            for seed in range(SEEDS if examples else 1):
                runs, key = recorded(fingerprint(data)), f"{task} {examples} {seed}"
                if key not in runs:
                    model = model or ftlab.load_model("smollm2")
                    runs[key] = by_words(model, data, rows, task, examples, seed) | by_vectors(
                        data, rows, examples, seed
                    )
                    keep("zero_shot", described(runs, fingerprint(data)))


def recorded(data: str) -> dict[str, Any]:
    """Return the recorded answers; both tasks have the same texts, so the data of either may be named."""
    file = RESULTS / "zero_shot.json"
    found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    runs: dict[str, Any] = found.get("runs", {})
    return runs


def described(runs: dict[str, Any], data: str) -> dict[str, Any]:
    """Return the record: accuracy of each way, with its 95 % interval over draws of the examples and test rows."""
    found: dict[str, Any] = {}
    for task in PROMPTS:
        for examples in (0, EXAMPLES):
            several = [runs[key] for seed in range(SEEDS) if (key := f"{task} {examples} {seed}") in runs]
            for way in several[0] if several else ():
                right = np.array([[letter == "1" for letter in run[way]] for run in several], dtype=float)
                found.setdefault(task, {})[f"{way}, {examples} examples"] = [round(one, 4) for one in interval(right)]
    return {
        "what": f"accuracy on {ROWS} test rows of `reviews`, with 95 % intervals; no parameter was updated",
        "model": "smollm2, whose weights went through four bits; minilm",
        "prompts": PROMPTS,
        "examples": f"{EXAMPLES} of each label, drawn {SEEDS} times from the training rows",
        "accuracy": found,
        "runs": runs,
    }


def by_words(model: Any, data: Any, rows: Any, task: str, examples: int, seed: int) -> dict[str, str]:
    """Return which rows are answered rightly by the most probable label word, raw and calibrated."""
    names, prompt = data["train"].features["label"].names, PROMPTS[task]
    shown = drawn(data["train"], len(names), examples, seed)
    context = "".join(f"{prompt.format(text=text)} {names[label]}\n\n" for text, label in shown)
    texts, empty = ([prompt.format(text=text) for text in given] for given in (rows["text"], CONTENT_FREE))
    scores, prior = (word_log_probs(model, context, given, names) for given in (texts, empty))
    labels = torch.tensor(rows["label"])
    return {
        "smollm2, raw": as_text(scores.argmax(1) == labels),
        "smollm2, calibrated": as_text(contextual_calibration(scores, prior).argmax(1) == labels),
    }


def by_vectors(data: Any, rows: Any, examples: int, seed: int) -> dict[str, str]:
    """Return which rows are nearest to the vector of their label's name, or to the mean of its examples."""
    minilm = ftlab.load_model("minilm", data)
    names = data["train"].features["label"].names
    vectors = ftlab.embed(minilm, list(rows["text"]))
    if examples:
        shown = drawn(data["train"], len(names), examples, seed)
        known, labels = ftlab.embed(minilm, [text for text, _ in shown]), torch.tensor([label for _, label in shown])
        means = torch.stack([known[labels == label].mean(0) for label in range(len(names))])
    else:
        means = ftlab.embed(minilm, names)
    nearest = (vectors @ torch.nn.functional.normalize(means).T).argmax(1)
    way = "minilm, prototypes" if examples else "minilm, label names"
    return {way: as_text(nearest == torch.tensor(rows["label"]))}


def as_text(right: torch.Tensor) -> str:
    """Return a digit for each row: 1 if it was answered rightly."""
    return "".join(str(int(one)) for one in right)


if __name__ == "__main__":
    main()
