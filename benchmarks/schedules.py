"""The same fine-tuning run with several learning-rate schedules, at a usual peak and at one five times as high.

    python -m benchmarks.schedules            # 3 seeds; an interrupted run continues where it stopped

Each seed draws its own training rows, its own head, order and dropout. All courses of a seed share them, so they are
compared in pairs, each with the constant learning rate of the same peak.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from datasets import DatasetDict

import ftlab
from benchmarks.record import RESULTS, keep
from ftlab import Decay, Schedule, StepDecay, WarmupLinear
from ftlab.data.load import fingerprint
from ftlab.experiments.paired import Paired
from ftlab.rule import Memory, Now, Rates

NAME = "schedules"
WORDS, ROWS, TEST_ROWS = 20, 240, 300
ARGUMENTS: dict[str, Any] = {"epochs": 4, "batch_size": 16}
UPDATES = ARGUMENTS["epochs"] * ROWS // ARGUMENTS["batch_size"]


@dataclass(frozen=True)
class WarmupOnly(Schedule):
    """Rise over a share of the updates, then stay constant: the first half of :class:`ftlab.WarmupLinear`."""

    share: float = 0.1

    def schedule(self, rates: Rates, memory: Memory, now: Now) -> tuple[Rates, Memory]:
        """Return the learning rates of this update."""
        risen = min(1.0, (now.step + 1) / (self.share * now.steps + 1))
        return {name: rate * risen for name, rate in rates.items()}, memory


CONSTANT = "constant"
COURSES: dict[str, Schedule] = {
    CONSTANT: Decay(1.0, per="step"),
    "WarmupLinear(0.1)": WarmupLinear(0.1),
    "Decay(0.9, per='epoch')": Decay(0.9, per="epoch"),
    "Decay(0.9, per='step')": Decay(0.9, per="step"),
    "warm-up only": WarmupOnly(0.1),
    "WarmupLinear(0.0)": WarmupLinear(0.0),
    "Decay(0.5, per='epoch')": Decay(0.5, per="epoch"),
    "StepDecay(0.1, every=2)": StepDecay(0.1, every=2),
}
USUAL, HIGH = 2e-4, 1e-3
PEAKS = {USUAL: list(COURSES)[:4], HIGH: list(COURSES)}
"""The schedules at each peak; the last four analyse the high peak."""


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    measure(parser.parse_args().seeds)


def measure(seeds: int) -> None:
    """Run every schedule at its peaks, seed by seed, and record each run."""
    data = ftlab.load_data("reviews", task="topic")
    before = RESULTS / f"{NAME}.json"
    kept = json.loads(before.read_text(encoding="utf-8")) if before.exists() else {}
    of_data = fingerprint(data)[:16]
    runs = [one for one in kept.get("runs", []) if kept.get("data") == of_data and one["peak"] in PEAKS]
    done = {(one["peak"], one["course"], one["seed"]) for one in runs}
    short = data.filter(lambda text: len(text.split()) <= WORDS, input_columns="text")
    test = short["test"].shuffle(seed=0).select(range(TEST_ROWS))
    model = ftlab.load_model("minilm", data)
    for seed in range(seeds):
        rows = DatasetDict({"train": short["train"].shuffle(seed=seed).select(range(ROWS))})
        for peak, courses in PEAKS.items():
            for name in courses:
                if (peak, name, seed) not in done:
                    runs.append(
                        {"peak": peak, "course": name, "seed": seed, **one_run(model, rows, test, peak, name, seed)}
                    )
                    save(runs, test, of_data)


def one_run(model: Any, rows: Any, test: Any, peak: float, name: str, seed: int) -> dict[str, Any]:
    """Fine-tune once; return the test metrics and the loss of every batch."""
    started = time.perf_counter()
    recipe = [COURSES[name]]
    run = ftlab.finetune(model, rows, lr=peak, seed=seed, recipe=recipe, progress=False, **ARGUMENTS)
    measured = ftlab.evaluate(run.model, test, resamples=0)
    return {
        "accuracy": round(measured["accuracy"], 4),
        "loss": round(measured["loss"], 4),
        "trained": [round(record["loss"], 3) for record in run.history],
        "rates": round(sum(record["lr"] for record in run.history) / peak, 3),
        "seconds": round(time.perf_counter() - started, 1),
    }


def save(runs: list[dict[str, Any]], test: Any, of_data: str) -> None:
    """Record the runs and their paired differences."""
    labels = list(test["label"])
    keep(
        NAME,
        {
            "what": "fine-tuning on topic with several courses of the learning rate; test accuracy and log loss by seed",
            "settings": {**ARGUMENTS, "updates": UPDATES, "rows": ROWS, "test_rows": len(test), "words_at_most": WORDS},
            "majority": round(max(map(labels.count, set(labels))) / len(labels), 4),
            "data": of_data,
            "seconds": round(sum(one["seconds"] for one in runs)),
            "against_constant": [
                {"peak": peak, "course": name, **against_constant(runs, peak, name)}
                for peak, courses in PEAKS.items()
                for name in courses[1:]
            ],
            "runs": runs,
        },
    )


def against_constant(runs: Sequence[dict[str, Any]], peak: float, name: str) -> dict[str, Any]:
    """Return the paired differences between a schedule and the constant learning rate, in both metrics."""
    found: dict[str, Any] = {}
    for measure_of in ("accuracy", "loss"):
        with_it, without = (
            {one["seed"]: one[measure_of] for one in runs if (one["peak"], one["course"]) == (peak, course)}
            for course in (name, CONSTANT)
        )
        both = sorted(with_it.keys() & without.keys())
        if len(both) >= 2:
            paired = Paired.of([with_it[seed] - without[seed] for seed in both])
            numbers = {**asdict(paired), "detectable": paired.mde()}
            del numbers["differences"]
            found[measure_of] = {"pairs": len(both), **{key: round(one, 4) for key, one in numbers.items()}}
    return found


if __name__ == "__main__":
    main()
