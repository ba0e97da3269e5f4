"""Three sentiment models beyond their own test split: on other test splits, behavioural checks and four sentences.

    python -m benchmarks.behaviour --sst2 DIR      # about half an hour on two slow cores
    python -m benchmarks.behaviour                 # without the public data: two models

One model is trained on `reviews`, one on `tricky_reviews`, one on SST-2 (DIR as in ``benchmarks.main_job``). The models
are saved in ``runs/behaviour/`` and not trained again if they are there.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from scipy.stats import binomtest

import ftlab
from benchmarks.main_job import as_csv, read
from benchmarks.record import keep
from ftlab.data.load import fingerprint
from ftlab.evaluation.behaviour import KINDS

EPOCHS = {"reviews": 3, "tricky_reviews": 4, "sst2": 2}
ARGUMENTS: dict[str, Any] = {
    "lr": 1e-4,
    "batch_size": 32,
    "seed": 0,
    "recipe": [ftlab.ClipNorm(1.0)],
    "progress": False,
}
SENTENCES = ("a quiet little gem", "I loved it.", "Terrible food.", "Boring and far too long.")
MODELS = Path("runs/behaviour")
SST2 = {"train": "train.tsv", "validation": "dev.tsv", "test": "test.tsv"}


def main() -> None:
    """Train the missing models, evaluate all of them, and record the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sst2", type=Path)
    given = parser.parse_args()
    sets = {name: ftlab.load_data(name) for name in ("reviews", "tricky_reviews")}
    if given.sst2:
        sets["sst2"] = sst2(given.sst2)
    models = {name: examined(name, data, sets) for name, data in sets.items()}
    keep("behaviour", {
        "what": "shares as [value, low, high, number]: 95 % Wilson intervals; `positive` holds probabilities",
        "settings": "lr 1e-4, batch 32, seed 0, ClipNorm(1.0), warm-up and linear decay, the last weights",
        "models": models,
    })  # fmt: skip


def sst2(source: Path) -> Any:
    """Return the splits of SST-2, with the label names of the reviews."""
    names = {"0": "negative", "1": "positive"}
    rows = {
        split: [(text, names[label]) for text, label in read(source / file, "\t", label_first=False)]
        for split, file in SST2.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        return ftlab.load_data(as_csv(rows, Path(folder) / "sst2"))


def examined(name: str, data: Any, sets: dict[str, Any]) -> dict[str, Any]:
    """Train a model on one data set, and return its results on all data sets and on the checks."""
    facts = trained(name, data)
    model = ftlab.load_model(MODELS / name / "model")
    found = ftlab.check_behaviour(model)
    checks = {kind: share([one.passed for one in found.answers if one.kind == kind]) for kind in KINDS}
    for kind, capability, *_ in found.rows():
        passed = [one.passed for one in found.answers if (one.kind, one.capability) == (kind, capability)]
        checks[f"{kind} {capability}"] = share(passed)
    right = {other: answers(model, rows["test"]) for other, rows in sets.items()}
    said = ftlab.predict(model, list(SENTENCES))
    result = {
        "train_rows": len(data["train"]),
        "epochs": EPOCHS[name],
        "updates": facts["steps"],
        "seconds": round(facts["seconds"]),
        "engine": facts["engine"],
        "threads": facts["threads"],
        "accuracy": {other: share(passed) for other, passed in right.items()},
        "by_phenomenon": {other: by_phenomenon(other, right[other]) for other in ftlab.data.load.REVIEWS},
        "behaviour": checks,
        "positive": {
            text: round(one["probabilities"]["positive"], 3) for text, one in zip(SENTENCES, said, strict=True)
        },
    }
    print(name, json.dumps(result), flush=True)
    return result


def trained(name: str, data: Any) -> dict[str, Any]:
    """Train a model unless the same one is saved already; return the content of its ``run.json``."""
    file = MODELS / name / "run.json"
    facts = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    asked = {"epochs": EPOCHS[name]} | {key: ARGUMENTS[key] for key in ("lr", "batch_size", "seed")}
    same = (
        facts.get("status") == "finished"
        and facts["data_fingerprint"] == fingerprint(data)
        and asked.items() <= facts["arguments"].items()
        and repr(ARGUMENTS["recipe"][0]) in facts["arguments"]["recipe"]
    )
    if not same:
        folder = MODELS / name
        ftlab.finetune("minilm", data, epochs=EPOCHS[name], output=folder, overwrite=True, **ARGUMENTS)
        facts = json.loads(file.read_text(encoding="utf-8"))
    return facts  # type: ignore[no-any-return]


def answers(model: Any, rows: Any) -> list[bool]:
    """Return which rows are predicted correctly."""
    names = rows.features["label"].names
    said = [one["label"] for one in ftlab.predict(model, list(rows["text"]))]
    return [one == names[label] for one, label in zip(said, rows["label"], strict=True)]


def by_phenomenon(name: str, right: list[bool]) -> dict[str, list[float]]:
    """Return the accuracy by phenomenon, the way in which the opinion is expressed."""
    rows = ftlab.load_data(name, task="phenomenon")["test"]
    kinds = [rows.features["label"].names[label] for label in rows["label"]]
    return {
        kind: share([one for one, of in zip(right, kinds, strict=True) if of == kind]) for kind in sorted(set(kinds))
    }


def share(passed: list[bool]) -> list[float]:
    """Return a share with its 95 % interval (Wilson) and the number of cases.

    >>> share([True, True, False, True])
    [0.75, 0.3006, 0.9544, 4]
    """
    interval = binomtest(sum(passed), len(passed)).proportion_ci(method="wilson")
    return [round(float(one), 4) for one in (sum(passed) / len(passed), interval.low, interval.high)] + [len(passed)]


if __name__ == "__main__":
    main()
