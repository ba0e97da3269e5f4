"""Measure the time that each strategy of the catalogue adds to an update, and write the page that lists them.

python -m benchmarks.strategies --cost                # milliseconds per update; an interrupted run continues
python -m benchmarks.strategies --page                # the table, as book/strategies.md
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import ftlab
from benchmarks.catalogue import measurable, page, results
from benchmarks.record import keep, of_machine
from ftlab.data.batches import Batches, encode
from ftlab.files import write_text

PAGE = Path(__file__).parent.parent / "book/strategies.md"


def main() -> None:
    """Measure the costs, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cost", action="store_true")
    parser.add_argument("--page", action="store_true")
    given = parser.parse_args()
    if given.cost:
        measure_cost()
    if given.page:
        write_text(PAGE, page())


def measure_cost(updates: int = 14) -> None:
    """Time updates with and without each strategy in turns, without the first two of each; record the times.

    A strategy that this machine's record holds is not measured again.
    """
    data = ftlab.load_data("reviews")
    costs: dict[str, Any] = results(of_machine("cost")).get("costs", {})
    for entry in measurable():
        if entry.name in costs:
            continue
        states = [begun(data, arguments) for arguments in ({}, entry.arguments)]
        times: tuple[list[float], list[float]] = ([], [])
        with states[0][0].engine.session(states[0][0].model):
            for update in range(updates):
                for (state, step, batches), spent in zip(states, times, strict=True):
                    started = time.perf_counter()
                    step(state, batches[update])
                    spent.append(time.perf_counter() - started)
        added = [1000 * (with_it - without) for without, with_it in zip(*(spent[2:] for spent in times), strict=True)]
        low, middle, high = statistics.quantiles(added, n=4)
        costs[entry.name] = {
            "added_ms": [round(one, 1) for one in (middle, low, high)],
            "plain_ms": round(1000 * statistics.median(times[0][2:]), 1),
        }
        what = "milliseconds added to an update of 32 reviews, in turns with a plain one: median and the middle half"
        keep(of_machine("cost"), {"what": what, "costs": costs})


def begun(data: Any, arguments: dict[str, Any]) -> tuple[Any, Any, list[Any]]:
    """Return a training state of the embedded model, its step, and its batches."""
    arguments = dict(arguments)
    step = arguments.pop("step", ftlab.step)
    model = ftlab.load_model("minilm", data)
    batches = Batches(encode(model, data["train"], 128), 32)
    state = ftlab.begin(model, batches, arguments.pop("recipe", ()), epochs=3, engine="auto", **arguments)
    return state, step, list(batches)


if __name__ == "__main__":
    main()
