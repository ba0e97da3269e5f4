"""Forgetting in fine-tuning, and methods against it: accuracy on the new task, and similarity on all 330 pairs.

    python -m benchmarks.forgetting            # 3 seeds; an interrupted run continues where it stopped

All arms of a seed share training rows, head and data order. ``Interpolate`` needs no training of its own: it uses points
on the line between the loaded weights and those of the plain run.
"""

import argparse
import json
import time
from typing import Any

import numpy as np
import torch
from datasets import DatasetDict

import ftlab
from benchmarks.learning_curve import subset
from benchmarks.record import RESULTS, keep
from ftlab.formulas.interpolate import interpolate

ROWS = 1000
TRAINED: dict[str, dict[str, Any]] = {
    "plain": {},
    "L2SP(0.1)": {"recipe": [ftlab.L2SP(0.1, 0.0)]},
    "L2SP(1.0)": {"recipe": [ftlab.L2SP(1.0, 0.0)]},
    "frozen body": {"recipe": [ftlab.Freeze(("*.embeddings.*", "*.layer.*"))], "lr": 1e-2},
}
"""The head above a frozen body (with the pooler, which was never trained) needs a higher learning rate."""
ALPHAS = (0.75, 0.5, 0.25)
ARGUMENTS: dict[str, Any] = {"epochs": 3, "lr": 1e-4, "batch_size": 16, "progress": False}


def main() -> None:
    """Train every arm with each seed and record the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    seeds = parser.parse_args().seeds
    data = ftlab.load_data("reviews")
    loaded = ftlab.load_model("minilm", data)
    before = RESULTS / "forgetting.json"
    kept = json.loads(before.read_text(encoding="utf-8")) if before.exists() else {}
    arms: dict[str, list[Any]] = kept.get("arms", {})
    arms["pretrained"] = [{"seed": None, "accuracy": None, **similarity(loaded)}]
    for seed in range(seeds):
        if len(arms.get("frozen body", ())) <= seed:
            train_all(arms, data, loaded, seed)
            result = {
                "what": "accuracy on all test rows of `reviews` (sentiment), and Spearman's correlation on all 330 pairs",
                "settings": f"{ROWS} training rows, epochs 3, batch 16, lr 1e-4 (frozen body: 1e-2), warm-up and linear decay",
                "seeds": seed + 1,
                "test_rows": len(data["test"]),
                "arms": arms,
                "summary": {name: summary(runs) for name, runs in arms.items()},
            }
            keep("forgetting", result)


def train_all(arms: dict[str, list[Any]], data: Any, loaded: Any, seed: int) -> None:
    """Run every arm of one seed."""
    rows = DatasetDict({"train": subset(data["train"], ROWS, seed)})
    for name, arguments in TRAINED.items():
        started = time.perf_counter()
        run = ftlab.finetune(loaded, rows, seed=seed, **ARGUMENTS | arguments)
        add(arms, name, seed, run.model, data, time.perf_counter() - started)
        if name == "plain":
            origin = {key: param.detach() for key, param in loaded.net.named_parameters() if key not in loaded.fresh}
            trained = {key: param.detach().clone() for key, param in run.model.net.named_parameters()}
            for alpha in ALPHAS:
                with torch.no_grad():
                    for key, new in interpolate(origin, {key: trained[key] for key in origin}, alpha).items():
                        run.model.net.get_parameter(key).copy_(new)
                add(arms, f"Interpolate({alpha:g})", seed, run.model, data, 0.0)


def add(arms: dict[str, list[Any]], name: str, seed: int, model: Any, data: Any, seconds: float) -> None:
    """Evaluate a model and record its result."""
    metrics = ftlab.evaluate(model, data["test"], split="test")
    low, high = metrics.intervals["accuracy"]
    reached = {"accuracy": metrics["accuracy"], "accuracy_low": low, "accuracy_high": high}
    arms.setdefault(name, []).append({"seed": seed, **reached, **similarity(model), "seconds": round(seconds, 1)})
    print(name, arms[name][-1], flush=True)


def similarity(model: Any) -> dict[str, float]:
    """Return the similarity score of a model on the pairs, with its interval."""
    found = ftlab.check_similarity(model).to_dict()
    return {key: found[key] for key in ("spearman", "spearman_low", "spearman_high")}


def summary(runs: list[Any]) -> dict[str, float]:
    """Return the means over seeds; each interval is the mean of the runs' intervals, over rows or pairs."""
    names = [key for key, value in runs[0].items() if key not in ("seed", "seconds") and value is not None]
    return {key: round(float(np.mean([run[key] for run in runs])), 4) for key in names}


if __name__ == "__main__":
    main()
