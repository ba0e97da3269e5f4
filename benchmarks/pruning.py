"""Costs and savings of pruning on the embedded reviews: accuracy, parameters, file size and speed.

    python -m benchmarks.pruning            # 3 seeds; an interrupted run continues where it stopped

Each seed draws its own training rows (as many of each topic), its own head and its own order. All models of a seed learn
from the same rows, and all models are measured on the same test rows, so every difference is one of pairs.
"""

import argparse
import base64
import json
import math
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from datasets import DatasetDict
from scipy import stats

import ftlab
from benchmarks.learning_curve import ftlab_fingerprint, subset
from benchmarks.record import RESULTS, keep
from ftlab.evaluation.inference import predict
from ftlab.formulas.magnitude_prune import magnitude_prune
from ftlab.formulas.remove_layers import remove_layers
from ftlab.models import surgery
from ftlab.parameters import matrices

TASK, ROWS, TEST = "topic", 240, 400
ARGUMENTS: dict[str, Any] = {"epochs": 4, "lr": 3e-4, "batch_size": 16, "progress": False}
ONE_SHOT = (0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Shares of the matrix entries that are set to 0 in the finished model."""
BOTH = "RemoveNeurons(0.5) and RemoveLayers(4)"
RECIPES: dict[str, list[str]] = {
    "plain": [],
    "SignPrune(1e-5)": ["SignPrune(1e-5)"],
    "gradual 0.5": ["MagnitudePrune(0.5)"],
    "gradual 0.7": ["MagnitudePrune(0.7)"],
    "gradual 0.8": ["MagnitudePrune(0.8)"],
    "RemoveNeurons(0.5)": ["RemoveNeurons(0.5)"],
    "RemoveLayers(4)": ["RemoveLayers(4)"],
    BOTH: ["RemoveNeurons(0.5)", "RemoveLayers(4)"],
}
"""The rules of each training in addition to ``ClipNorm(1.0)``."""
PAIRS = (
    *((name, "plain") for name in RECIPES if name != "plain"),
    *((f"one shot {share}", "plain") for share in ONE_SHOT),
    *((f"gradual {share}", f"one shot {share}") for share in (0.5, 0.7, 0.8)),
)
Right = npt.NDArray[np.bool_]


def main() -> None:
    """Measure and record what is not recorded yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    seeds = parser.parse_args().seeds
    data = ftlab.load_data("reviews", task=TASK)
    data["test"] = data["test"].shuffle(seed=0).select(range(TEST))
    settings = {"rows": ROWS, "test_rows": TEST, "task": TASK, "data": ftlab_fingerprint(TASK), "arguments": ARGUMENTS}
    before = RESULTS / "pruning.json"
    kept = json.loads(before.read_text(encoding="utf-8")) if before.exists() else {}
    runs: dict[str, Any] = kept.get("runs", {}) if kept.get("settings") == settings else {}
    models = kept.get("models") or measure_models(data)
    for seed in range(seeds):
        train = subset(data["train"], ROWS, seed)
        for name, recipe in RECIPES.items():
            if f"{name} {seed}" not in runs:
                found = measure(name, recipe, train, data["test"], seed)
                print({key: one["accuracy"] for key, one in found.items()}, flush=True)
                runs |= found
                write(settings, runs, models)
    write(settings, runs, models)


def measure(name: str, recipe: list[str], train: Any, test: Any, seed: int) -> dict[str, Any]:
    """Train one model and return which test rows it predicts correctly; for the plain model, also its pruned copies."""
    started = time.perf_counter()
    run = ftlab.finetune(
        "minilm", DatasetDict({"train": train}), seed=seed, recipe=[*recipe, "ClipNorm(1.0)"], **ARGUMENTS
    )
    seconds = time.perf_counter() - started
    found = {f"{name} {seed}": answered(run.model, test) | zeros(run.model) | {"seconds": round(seconds, 1)}}
    if not recipe:
        net = run.model.net
        whole = {one: net.get_parameter(one).detach().clone() for one in matrices(net, layers=True)}
        for share in ONE_SHOT:
            fill(net, magnitude_prune(whole, share))
            found[f"one shot {share} {seed}"] = answered(run.model, test) | zeros(run.model)
    return found


def answered(model: Any, test: Any) -> dict[str, Any]:
    """Return the accuracy, and which rows were predicted correctly as packed bits."""
    names = test.features["label"].names
    said = [one["label"] for one in predict(model, test["text"])]
    right = np.array(said) == np.array([names[label] for label in test["label"]])
    return {"accuracy": round(float(right.mean()), 4), "right": base64.b64encode(np.packbits(right)).decode()}


def zeros(model: Any) -> dict[str, Any]:
    """Return how many entries of the matrices in the layers are exactly 0, and their total number."""
    inside = [model.net.get_parameter(one) for one in matrices(model.net, layers=True)]
    return {"zeros": sum(int((one == 0).sum()) for one in inside), "of": sum(one.numel() for one in inside)}


def fill(net: Any, values: dict[str, torch.Tensor]) -> None:
    """Set the parameters of a network."""
    with torch.no_grad():
        for name, value in values.items():
            net.get_parameter(name).copy_(value)


def measure_models(data: Any) -> dict[str, Any]:
    """Return the parameters, bytes and milliseconds per text of a whole, a sparse and a smaller model.

    Neither depends on what a model has learned. Times are processor time, the least of 15 alternating rounds
    of 32 texts.
    """
    changes: dict[str, Any] = {
        "plain": lambda net: None,
        "90 % zeros": lambda net: fill(net, magnitude_prune({n: net.get_parameter(n) for n in inside}, 0.9)),
        "RemoveNeurons(0.5)": lambda net: surgery.remove_neurons(net, 0.5),
        "RemoveLayers(4)": lambda net: remove_layers(net, 4),
        BOTH: lambda net: (surgery.remove_neurons(net, 0.5), remove_layers(net, 4)),
    }
    model = ftlab.load_model("minilm", data)
    inside = matrices(model.net, layers=True)
    batch = model.processor(list(data["test"]["text"][:32]), padding=True, return_tensors="pt")
    nets, found, spent = {}, {}, {name: [] for name in changes}  # type: ignore[var-annotated]
    for name, change in changes.items():
        net = nets[name] = model.copy().net.eval()
        change(net)
        with tempfile.TemporaryDirectory() as folder:
            net.save_pretrained(folder)
            file = (Path(folder) / "model.safetensors").read_bytes()
        found[name] = {
            "parameters": sum(one.numel() for one in net.parameters()),
            "bytes": len(file),
            "zipped": len(zlib.compress(file, 1)),
        }
    with torch.inference_mode():
        for _ in range(15):
            for name, net in nets.items():
                started = time.process_time()
                net(**batch)
                spent[name].append(1000 * (time.process_time() - started) / 32)
    return {name: one | {"ms": round(min(spent[name]), 3)} for name, one in found.items()}


def write(settings: dict[str, Any], runs: dict[str, Any], models: dict[str, Any]) -> None:
    """Record everything measured so far, with its summary."""
    result = {
        "what": "pruning: accuracy on test rows of `reviews`, zeros, parameters, bytes of the file, ms of a text",
        "intervals": "95 %, over rows and, where there are several, seeds: mean ± t·√(rows' variance/rows + seeds' variance/seeds)",
        "settings": settings,
        "recipes": RECIPES,
        "models": models,
        "summary": summary(runs),
        "differences": differences(runs),
        "runs": runs,
    }
    keep("pruning", result)


def bits(runs: dict[str, Any], arm: str) -> dict[str, Right]:
    """Return which rows an arm predicts correctly, by seed."""
    found = {key.rpartition(" ")[2]: one["right"] for key, one in runs.items() if key.rpartition(" ")[0] == arm}
    return {
        seed: np.unpackbits(np.frombuffer(base64.b64decode(one), np.uint8))[:TEST].astype(bool)
        for seed, one in found.items()
    }


def summary(runs: dict[str, Any]) -> dict[str, Any]:
    """Return each arm's accuracy with its interval."""
    arms = dict.fromkeys(key.rpartition(" ")[0] for key in runs)
    return {arm: interval(np.stack(list(bits(runs, arm).values())) * 1.0) for arm in arms}


def differences(runs: dict[str, Any]) -> dict[str, Any]:
    """Return differences in accuracy with their intervals, over the seeds that both arms have."""
    found = {}
    for one, other in PAIRS:
        left, right = bits(runs, one), bits(runs, other)
        if common := [seed for seed in left if seed in right]:
            pairs = [left[seed] * 1.0 - right[seed] for seed in common]
            found[f"{one} − {other}"] = interval(np.stack(pairs))
    return found


def interval(values: npt.NDArray[np.float64]) -> dict[str, float]:
    """Return the mean over seeds and rows, and its 95 % interval for other seeds and other rows.

    Both kinds of chance add up: the variance of the rows' means over the number of rows, and that of the seeds' means over
    the number of seeds. What belongs to neither alone is counted twice, so the interval is rather too wide than too narrow.
    Degrees of freedom are Satterthwaite's. ``detectable`` is the mean that would leave 0 out with a power of 80 %.

    With one seed, the interval speaks of other rows alone.

    >>> interval(np.array([[1.0, 1.0], [1.0, 1.0]]))
    {'mean': 1.0, 'low': 1.0, 'high': 1.0, 'detectable': 0.0, 'seeds': 2}
    """
    means = [one for one in (values.mean(0), values.mean(1)) if len(one) > 1]
    parts = [(one.var(ddof=1), len(one)) for one in means]
    variance = sum(one / count for one, count in parts)
    half = detectable = 0.0
    if variance:
        freedom = variance**2 / sum((one / count) ** 2 / (count - 1) for one, count in parts)
        bound, more = stats.t.ppf([0.975, 0.8], freedom)
        half, detectable = bound * math.sqrt(variance), (bound + more) * math.sqrt(variance)
    mean = float(values.mean())
    found = {"mean": mean, "low": mean - half, "high": mean + half, "detectable": detectable}
    return {name: round(float(one), 4) for name, one in found.items()} | {"seeds": len(values)}


if __name__ == "__main__":
    main()
