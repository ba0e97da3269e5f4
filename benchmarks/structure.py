"""The size, speed and accuracy of a model without half of its neurons and a third of its layers.

    python -m benchmarks.structure [--sst2 DIR]

The embedded MiniLM is fine-tuned on the embedded reviews, or on SST-2 where its folder is given (see
``benchmarks.main_job``), cut, measured, and fine-tuned again. Both models then predict the texts of the test split in
turns, as a user would let them: texts in, labels out, in fp32, tokenising included.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import ftlab
from benchmarks.main_job import sst2_as_csv
from benchmarks.record import keep
from ftlab.data.batches import Batches, encode
from ftlab.formulas.remove_layers import remove_layers
from ftlab.losses.classification import loss_for
from ftlab.models.surgery import remove_neurons

SHARE, LAYERS, LENGTH, ROUNDS = 0.5, 4, 128, 7


def main() -> None:
    """Fine-tune, remove, fine-tune again; measure accuracy, folder size and speed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sst2", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        data, how = ftlab.load_data("reviews"), {"epochs": 4, "lr": 1e-4, "recipe": ["ClipNorm(1.0)"]}
        if given.sst2:
            data, how = ftlab.load_data(sst2_as_csv(given.sst2, folder / "sst2")), {"epochs": 3, "lr": 5e-5}
        dense = ftlab.finetune("minilm", data, max_length=LENGTH, progress=False, **how)
        dense.save(folder / "dense")
        cut = ftlab.load_model(folder / "dense", data)
        batches = Batches(encode(cut, data["train"], LENGTH), 32)
        remove_layers(cut.net, LAYERS)
        remove_neurons(cut.net, SHARE, batches, loss_for(cut.task.kind))
        before = ftlab.evaluate(cut, data["test"], split="test", max_length=LENGTH)
        again = ftlab.finetune(cut, data, max_length=LENGTH, progress=False, **how)
        again.save(folder / "cut")
        models = {name: ftlab.load_model(folder / name, data) for name in ("dense", "cut")}
        size = {name: sum(file.stat().st_size for file in (folder / name).iterdir()) for name in models}
        seconds = in_turns(models, list(data["test"]["text"]))
        where = {str(next(one.net.parameters()).device) for one in models.values()}
    result: dict[str, Any] = {
        "data": "sst2" if given.sst2 else "reviews",
        "how": f"{how}; {SHARE:.0%} of the neurons out, {LAYERS} of 6 layers kept; then the same fine-tuning again, which "
        "the dense model does not get",
        "precision": f"fine-tuning by the engine {dense.facts['engine']}, predictions in fp32 on {', '.join(where)}",
        "accuracy of the dense model, low, high": three(dense.metrics),
        "accuracy after the cut, low, high": three(before),
        "accuracy after recovery, low, high": three(again.metrics),
        "parameters in millions": {
            name: round(sum(param.numel() for param in one.net.parameters()) / 1e6, 2) for name, one in models.items()
        },
        "folder size, cut to dense": round(size["cut"] / size["dense"], 4),
        "at least 20 % smaller": size["cut"] <= 0.8 * size["dense"],
        "texts to predict": len(data["test"]),
        "seconds to predict them": {name: [round(one, 3) for one in some] for name, some in seconds.items()},
    }
    ratios = [slow / fast for slow, fast in zip(seconds["dense"], seconds["cut"], strict=True)]
    result["speed, cut to dense, median of the rounds"] = round(statistics.median(ratios), 3)
    result["at least 1.8 times as fast"] = statistics.median(ratios) >= 1.8
    keep("structure", result)


def three(metrics: Any) -> list[float]:
    """Return the accuracy with its 95 % interval."""
    flat = metrics.to_dict()
    return [round(flat[name], 4) for name in ("accuracy", "accuracy_low", "accuracy_high")]


def in_turns(models: dict[str, Any], texts: list[str]) -> dict[str, list[float]]:
    """Time the predictions of the models in alternating order, without the first round."""
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for number in range(ROUNDS + 1):
        for name in sorted(models, reverse=number % 2 == 1):
            began = time.perf_counter()
            ftlab.predict(models[name], texts, max_length=LENGTH)
            if number:
                seconds[name].append(time.perf_counter() - began)
    return seconds


if __name__ == "__main__":
    main()
