"""Fine-tune the embedded model with every strategy of the catalogue, over paired seeds; then measure what a step costs.

    python -m benchmarks.strategies --sst2 DIR            # accuracy with minus without, each with its interval
    python -m benchmarks.strategies --cost                # milliseconds that a strategy adds to an update
    python -m benchmarks.strategies --page                # the table of both, as book/strategies.md

Without ``--sst2`` the embedded reviews are used. Both arms of a pair share rows, head, order and dropout. A result is
kept after every strategy, so a run that is stopped goes on where it was.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

from datasets import DatasetDict

import ftlab
from benchmarks.catalogue import Entry, measurable, page
from benchmarks.main_job import sst2_as_data
from benchmarks.record import RESULTS, keep, of_machine
from ftlab.atomic import write_text
from ftlab.batches import Batches, encode
from ftlab.device import training_memory
from ftlab.errors import Diverged
from ftlab.paired import Paired

LR = 2e-4
"""At the usual 5e-5 so few rows teach the model next to nothing, and no strategy could be told from another."""
PAGE = Path(__file__).parent.parent / "book/strategies.md"


def main() -> None:
    """Do what is asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sst2", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=384)
    parser.add_argument("--cost", action="store_true")
    parser.add_argument("--page", action="store_true")
    given = parser.parse_args()
    if given.page:
        write_text(PAGE, page())
    elif given.cost:
        measure_cost()
    else:
        measure_accuracy(given.sst2, given.rows, given.seeds)


def measure_accuracy(sst2: Path | None, rows: int, seeds: int) -> None:
    """Compare every strategy with the plain run of the same seed."""
    data = subset(sst2, rows)
    result: dict[str, Any] = {
        "data": f"{'SST-2' if sst2 else 'reviews'}, {rows} rows to train on, {len(data['test'])} to test on",
        "arguments": f"epochs 3, lr {LR:g} where no other is told, batch 32, warm-up and linear decay unless the "
        "strategy is a schedule",
        "seeds": seeds,
    }
    name = of_machine("strategies")
    before = RESULTS / f"{name}.json"
    kept = json.loads(before.read_text()) if before.exists() else {}
    same = all(kept.get(name) == value for name, value in result.items())
    result["plain"] = kept["plain"] if same else [accuracy(data, seed, {}) for seed in range(seeds)]
    result["strategies"] = kept["strategies"] if same else {}
    for entry in measurable():
        if entry.name not in result["strategies"]:
            result["strategies"][entry.name] = against(data, entry, result["plain"])
            print(entry.name, result["strategies"][entry.name], flush=True)
            keep(name, result)


def against(data: Any, entry: Entry, plain: list[float]) -> dict[str, Any]:
    """Return the differences of one strategy to the plain runs."""
    try:
        reached = [accuracy(data, seed, entry.arguments) for seed in range(len(plain))]
    except Diverged as stopped:
        return {"diverged": str(stopped)}
    found = Paired.of([one - other for one, other in zip(reached, plain, strict=True)])
    numbers = {"mean": found.mean, "low": found.low, "high": found.high, "detectable": found.detectable}
    return {"accuracy": reached, **{name: round(value, 4) for name, value in numbers.items()}}


def subset(sst2: Path | None, rows: int) -> Any:
    """Return the rows of the comparison: drawn once, the same for every strategy."""
    data = sst2_as_data(sst2) if sst2 else ftlab.load_data("reviews")
    sizes = {"train": rows, "validation": 100, "test": 600}
    return DatasetDict({split: data[split].shuffle(seed=0).select(range(size)) for split, size in sizes.items()})


def accuracy(data: Any, seed: int, arguments: dict[str, Any]) -> float:
    """Return the test accuracy of one run."""
    seen = DatasetDict({split: data[split] for split in ("train", "validation")})
    run = ftlab.finetune("minilm", seen, seed=seed, progress=False, **{"lr": LR} | arguments)
    return ftlab.evaluate(run.model, data["test"], split="test", resamples=2)["accuracy"]


def measure_cost(updates: int = 14) -> None:
    """Time updates with and without each strategy in turns; the first two of each are not counted."""
    data = ftlab.load_data("reviews")
    costs: dict[str, Any] = {}
    plain: list[float] = []
    for entry in measurable():
        states = [begun(data, arguments) for arguments in ({}, entry.arguments)]
        times: tuple[list[float], list[float]] = ([], [])
        with training_memory(states[0][0].engine, states[0][0].model):
            for update in range(updates):
                for (state, step, batches), spent in zip(states, times, strict=True):
                    started = time.perf_counter()
                    step(state, batches[update])
                    spent.append(time.perf_counter() - started)
        plain += times[0][2:]
        added = [1000 * (with_it - without) for without, with_it in zip(*(spent[2:] for spent in times), strict=True)]
        low, middle, high = statistics.quantiles(added, n=4)
        costs[entry.name] = {"added_ms": [round(one, 1) for one in (middle, low, high)]}
        print(entry.name, costs[entry.name], flush=True)
    what = "milliseconds added to an update of 32 reviews, in turns with a plain one: median and the middle half"
    keep(of_machine("cost"), {"what": what, "plain_ms": round(1000 * statistics.median(plain), 1), "costs": costs})


def begun(data: Any, arguments: dict[str, Any]) -> tuple[Any, Any, list[Any]]:
    """Return a training of the embedded model, its step, and its batches."""
    arguments = dict(arguments)
    step = arguments.pop("step", ftlab.step)
    model = ftlab.load_model("minilm", data)
    batches = Batches(encode(model, data["train"], 128), 32)
    state = ftlab.begin(model, batches, arguments.pop("recipe", ()), epochs=3, engine="auto", **arguments)
    return state, step, list(batches)


if __name__ == "__main__":
    main()
