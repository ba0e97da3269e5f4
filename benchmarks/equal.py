"""Test that the fast engine is as accurate as the reference engine, with paired seeds on SST-2.

    python -m benchmarks.equal --sst2 DIR                        # 20 seeds
    python -m benchmarks.equal --sst2 DIR --seeds 5 --rows 1000  # a trial
    python -m benchmarks.equal --sst2 DIR --large 128            # the fast engine with batches of 32 and with larger ones

Both runs of a pair share the rows and the head, and with equal batch sizes the order of the data; their dropout differs.
Each run is evaluated on SST-2's development and test rows together, which are not trained on. The second run of a pair
counts as no worse if the lower bound of the 95 % interval of the mean difference is above -0.5 points. With larger batches
there are fewer updates, so the learning rate is multiplied by the square root of the factor in batch size. The result is
recorded after every seed, and an interrupted run continues from there.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from datasets import DatasetDict, concatenate_datasets

import ftlab
from benchmarks.main_job import sst2_as_data
from benchmarks.record import RESULTS, keep, of_machine
from ftlab.engines.engine import choose_engine
from ftlab.experiments.paired import Paired

BATCH, LR = 32, 5e-5
MARGIN = -0.005
"""The non-inferiority margin, as a difference in accuracy."""


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sst2", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--large", type=int, help="the size of the larger batches")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    data = sst2_as_data(given.sst2)
    seen = DatasetDict(train=data["train"].shuffle(seed=0).select(range(min(given.rows, len(data["train"])))))
    unseen = concatenate_datasets([data["validation"], data["test"]])
    name, runs = ("equal-large", larger(given)) if given.large else ("equal", engines(given))
    name = of_machine(name, given.device)
    result: dict[str, Any] = {"pair": runs, "rows": len(seen["train"]), "unseen": len(unseen), "epochs": given.epochs}
    kept = RESULTS / f"{name}.json"
    before = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    same = all(before.get(key) == value for key, value in result.items())
    pairs: list[list[float]] = before["accuracy"] if same else []
    how = {"epochs": given.epochs, "device": given.device, "progress": False}
    for seed in range(len(pairs), given.seeds):
        ended = (ftlab.finetune("minilm", seen, seed=seed, **how, **one) for one in runs)
        pairs.append([round(ftlab.evaluate(run.model, unseen, resamples=0)["accuracy"], 5) for run in ended])
        print(seed, pairs[-1], flush=True)
        keep(name, result | {"accuracy": pairs} | verdict(pairs))


def engines(given: Any) -> list[dict[str, Any]]:
    """Return the arguments of both runs of a pair: the reference engine, and the fast one."""
    return [
        {"engine": one, "batch_size": BATCH, "lr": LR}
        for one in ("reference", choose_engine("auto", given.device).name)
    ]


def larger(given: Any) -> list[dict[str, Any]]:
    """Return the arguments of both runs of a pair: the fast engine with the usual batch size, and with a larger one."""
    fast, times = choose_engine("auto", given.device).name, given.large / BATCH
    return [
        {"engine": fast, "batch_size": size, "lr": rate} for size, rate in ((BATCH, LR), (given.large, LR * times**0.5))
    ]


def verdict(pairs: list[list[float]]) -> dict[str, Any]:
    """Return the mean difference, its interval, and whether the interval lies above the margin.

    >>> verdict([[0.80, 0.81], [0.82, 0.83], [0.81, 0.82]])["no worse"]
    True
    >>> verdict([[0.80, 0.78]])
    {}
    """
    if len(pairs) < 2:
        return {}
    found = Paired.of([second - first for first, second in pairs])
    difference = {"mean": round(found.mean, 5), "low": round(found.low, 5), "high": round(found.high, 5)}
    return {"second minus first": difference, "margin": MARGIN, "no worse": bool(found.low > MARGIN)}


if __name__ == "__main__":
    main()
