"""The speed-up of each technique of the fast engine, added one after the other over the same batches, in turns.

    python -m benchmarks.ladder --sst2 DIR                 # batches of 32 and 128
    python -m benchmarks.ladder --sst2 DIR --batch 32 --turns 8

A rung's updates are those of training: clipping at norm 1, AdamW, dropout as the model has it. Told are medians over turns
of the time for the same batches, and the ratio to the rung before, taken turn by turn.
"""

import argparse
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

import ftlab
from benchmarks.main_job import sst2_as_data
from benchmarks.record import keep, of_machine, spread
from ftlab.data.batches import Batches, encode
from ftlab.engines.engine import choose_engine
from ftlab.engines.fast.malloc import kept_memory
from ftlab.engines.fast.packing import cheap_dropouts, packed_passes
from ftlab.formulas.clip_norm import ClipNorm
from ftlab.recipes.parse import complete
from ftlab.training.loop import State, begin, step

TECHNIQUES = (
    "fp32, padded to the longest of a batch of like lengths (the reference)",
    "memory kept between steps",
    "bf16 products",
    "cheap dropout",
    "packed",
    "a layer as one function",
    "last layer for first tokens only",
    "few shapes of matrices: rows of a multiple of 64 tokens, attention of a multiple of 8",
    "gradients clipped in place, and only where they are too long",
)


LACKING = (
    (3, "ftlab.engines.fast.packing.cheap_dropout", torch.nn.functional.dropout),
    (4, "ftlab.engines.fast.engine.packed_context", lambda model, *_: cheap_dropouts(model)),
    (5, "ftlab.engines.fast.packing.is_supported", lambda layer: False),
    (6, "ftlab.engines.fast.parity.packed_passes", lambda model, **_: packed_passes(model)),
    (7, "ftlab.engines.fast.packed_batch.MULTIPLE", 1),
    (7, "ftlab.engines.fast.packed_batch.SIDE", 1),
    (8, "ftlab.engines.fast.engine.Fast.transform", lambda self, rule: rule.shape),
)
"""By technique, its replacement when it is switched off; bf16 and kept memory are switched by name."""


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sst2", type=Path, required=True)
    parser.add_argument("--batch", type=int, nargs="+", default=[32, 128])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--rows", type=int, default=640, help="rows per turn")
    given = parser.parse_args()
    data = sst2_as_data(given.sst2)
    keep(of_machine("ladder"), {f"batch {size}": climbed(data, size, given.rows, given.turns) for size in given.batch})


def climbed(data: Any, size: int, rows: int, turns: int) -> list[dict[str, Any]]:
    """Return samples/s of each rung and its ratio to the previous rung, each as a median over turns with its extremes."""
    states, batches = [], []
    for number in range(len(TECHNIQUES)):
        with rung(number) as engine:
            state, batches = begun(data, size, rows, engine)
            states.append(state)
    times: list[list[float]] = [[] for _ in TECHNIQUES]
    for turn in range(turns + 1):
        for number, state in enumerate(states):
            with rung(number):
                started = time.perf_counter()
                for batch in batches[: 2 if turn == 0 else None]:
                    step(state, batch)
                times[number] += [time.perf_counter() - started] if turn else []
        print(size, turn, [round(spent[-1], 2) for spent in times if spent], flush=True)
    count = sum(len(part["labels"]) for batch in batches for part in batch)
    before = [times[0], *times[:-1]]
    return [
        {
            "technique": technique,
            "samples/s": spread([count / one for one in spent]),
            "times the rung before": spread([old / new for old, new in zip(older, spent, strict=True)]),
            "times the reference": spread([old / new for old, new in zip(times[0], spent, strict=True)]),
        }
        for technique, spent, older in zip(TECHNIQUES, times, before, strict=True)
    ]


def begun(data: Any, size: int, rows: int, engine: str) -> tuple[State, list[Any]]:
    """Return a training state, and batches drawn from an epoch."""
    model = ftlab.load_model("minilm", data)
    batches = Batches(encode(model, data["train"], 128), size)
    state = begin(model, batches, complete([ClipNorm(1.0)]), epochs=3, engine=engine)
    return state, [batch for _, batch in zip(range(rows // size), batches, strict=False)]


@contextmanager
def rung(number: int) -> Iterator[str]:
    """Switch on the techniques up to a rung and no others; yield the name of the engine."""
    engine = "reference" if number < 2 else choose_engine("auto", "cpu").name
    with ExitStack() as stack:
        for index, name, instead in LACKING:
            if index > number:
                stack.enter_context(patch(name, instead))
        if number:
            stack.enter_context(kept_memory())
        yield engine


if __name__ == "__main__":
    main()
