"""Whether the fast engine reaches the accuracy of the reference: the same seeds with both, on SST-2.

    python -m benchmarks.equal --sst2 DIR                        # 20 seeds
    python -m benchmarks.equal --sst2 DIR --seeds 5 --rows 1000  # a trial

Both engines of a pair share rows, head and order of the data; dropout is drawn otherwise. Each run is measured on SST-2's
development and test rows together, which no run sees. The fast engine is held to be no worse if the lower end of the 95 %
interval of the mean difference is above -0.5 points. A result is kept after every seed, and gone on from there.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from datasets import DatasetDict, concatenate_datasets

import ftlab
from benchmarks.main_job import sst2_as_data
from benchmarks.record import RESULTS, keep
from ftlab.device import choose_engine
from ftlab.paired import Paired

MARGIN = -0.005
"""The difference in accuracy that would still be no loss."""


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sst2", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    data = sst2_as_data(given.sst2)
    seen = DatasetDict(train=data["train"].shuffle(seed=0).select(range(min(given.rows, len(data["train"])))))
    unseen = concatenate_datasets([data["validation"], data["test"]])
    fast = choose_engine("auto", given.device)
    how = {"epochs": given.epochs, "lr": 5e-5, "batch_size": 32, "device": given.device}
    result: dict[str, Any] = {"engines": ["reference", fast], "rows": len(seen["train"]), "unseen": len(unseen), **how}
    kept = RESULTS / "equal.json"
    before = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    same = all(before.get(name) == value for name, value in result.items())
    pairs: list[list[float]] = before["accuracy"] if same else []
    for seed in range(len(pairs), given.seeds):
        runs = (
            ftlab.finetune("minilm", seen, seed=seed, engine=one, progress=False, **how) for one in result["engines"]
        )
        pairs.append([round(ftlab.evaluate(run.model, unseen, resamples=0)["accuracy"], 5) for run in runs])
        print(seed, pairs[-1], flush=True)
        keep("equal", result | {"accuracy": pairs} | verdict(pairs))


def verdict(pairs: list[list[float]]) -> dict[str, Any]:
    """Return the mean difference, its interval, and whether it lies above the margin.

    >>> verdict([[0.80, 0.81], [0.82, 0.83], [0.81, 0.82]])["no worse"]
    True
    >>> verdict([[0.80, 0.78]])
    {}
    """
    if len(pairs) < 2:
        return {}
    found = Paired.of([fast - reference for reference, fast in pairs])
    difference = {"mean": round(found.mean, 5), "low": round(found.low, 5), "high": round(found.high, 5)}
    return {"fast minus reference": difference, "margin": MARGIN, "no worse": bool(found.low > MARGIN)}


if __name__ == "__main__":
    main()
