"""The main job on the embedded reviews, and on SST-2 and TREC if they are given.

    python -m benchmarks.main_job --sst2 DIR --trec DIR

DIR of SST-2 holds ``train.tsv``, ``dev.tsv``, ``test.tsv`` (sentence, tab, 0 or 1), that of TREC ``train.txt`` and
``test.txt`` (label, space, question). Each is turned into a folder of csv files, which the command line then gets.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import ftlab
from benchmarks.record import keep

DEMO = ["--epochs", "4", "--lr", "1e-4", "--rule", "ClipNorm(1.0)"]
PUBLIC = ["--epochs", "3", "--lr", "5e-5", "--batch-size", "32"]
NAMES = ("accuracy", "accuracy_low", "accuracy_high", "f1", "auc_roc", "loss", "n")


def main() -> None:
    """Run every part for which data are given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sst2", type=Path)
    parser.add_argument("--trec", type=Path)
    parser.add_argument("--seeds", type=int, default=4)
    given = parser.parse_args()
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if given.sst2:
            result["sst2"] = command(sst2_as_csv(given.sst2, folder / "sst2"), PUBLIC, folder / "run-sst2")
        if given.trec:
            rows = {split: read(given.trec / f"{split}.txt", " ", label_first=True) for split in ("train", "test")}
            result["trec"] = command(as_csv(rows, folder / "trec"), PUBLIC, folder / "run-trec")
        runs = [command("reviews", [*DEMO, "--seed", str(seed)], folder / f"run-{seed}") for seed in range(given.seeds)]
        result["reviews"] = {"per seed": runs, "against bag of words": against_words(folder, given.seeds)}
    result["pairs"] = {"spearman of minilm's cosine with the grades": similarity()}
    keep("main_job", result)


def read(path: Path, between: str, *, label_first: bool) -> list[tuple[str, str]]:
    """Read one split as (text, label)."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        first, _, last = line.partition(between) if label_first else line.rpartition(between)
        rows.append((last, first) if label_first else (first, last))
    return rows


def as_csv(rows: dict[str, list[tuple[str, str]]], folder: Path) -> str:
    """Write splits as csv files in a folder."""
    folder.mkdir()
    for split, pairs in rows.items():
        with open(folder / f"{split}.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("text", "label"), *pairs])
    return str(folder)


def sst2_as_csv(source: Path, folder: Path) -> str:
    """Write SST-2's three splits as csv files in a folder."""
    files = {"train": "train.tsv", "validation": "dev.tsv", "test": "test.tsv"}
    return as_csv({split: read(source / file, "\t", label_first=False) for split, file in files.items()}, folder)


def sst2_as_data(source: Path) -> Any:
    """Return SST-2's three splits as ``ftlab.load_data`` returns them."""
    with tempfile.TemporaryDirectory() as folder:
        return ftlab.load_data(sst2_as_csv(source, Path(folder) / "sst2"))


def command(data: str, arguments: list[str], output: Path) -> dict[str, Any]:
    """Run the command line as a user would; return its arguments, time and metrics."""
    line = ["finetune", "--data", data, *arguments, "--output", str(output)]
    subprocess.run([sys.executable, "-m", "ftlab", *line], check=True)
    metrics = json.loads((output / "metrics.json").read_text())
    facts = json.loads((output / "run.json").read_text())
    return {"arguments": " ".join(arguments), "seconds": facts["seconds"], **{name: metrics[name] for name in NAMES}}


def against_words(folder: Path, seeds: int) -> dict[str, Any]:
    """Compare fine-tuning with a bag of words on the same test reviews; the interval is over reviews, per seed."""
    data = ftlab.load_data("reviews")
    texts, labels = ({split: list(rows[column]) for split, rows in data.items()} for column in ("text", "label"))
    bag = make_pipeline(CountVectorizer(), LogisticRegression(max_iter=5000)).fit(texts["train"], labels["train"])
    bag_right = bag.predict(texts["test"]) == np.array(labels["test"])
    names = data["train"].features["label"].names
    truth = [names[label] for label in labels["test"]]
    found = []
    for seed in range(seeds):
        answers = ftlab.predict(ftlab.load_model(folder / f"run-{seed}"), texts["test"])
        right = np.array([one["label"] for one in answers]) == truth
        difference = right.astype(float) - bag_right
        interval = stats.bootstrap((difference,), np.mean, method="percentile", rng=0).confidence_interval
        found.append([round(float(one), 4) for one in (difference.mean(), interval.low, interval.high)])
    return {"bag of words": round(float(bag_right.mean()), 4), "difference, low, high per seed": found}


def similarity() -> float:
    """Return the rank correlation of the embedded model's cosines with the embedded pairs, before any fine-tuning."""
    pairs = ftlab.load_pairs()
    model = ftlab.load_model("minilm", ftlab.load_data("reviews"))
    first, second = (ftlab.embed(model, list(pairs[column])) for column in ("first", "second"))
    found = stats.spearmanr((first * second).sum(1).numpy(), pairs["similarity"])
    return round(float(found.statistic), 4)


if __name__ == "__main__":
    main()
