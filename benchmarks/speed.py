"""The speed of fine-tuning with ftlab and its peers, side by side on one machine.

    python -m benchmarks.speed --sst2 DIR                  # every arm, batches of 32 and 128
    python -m benchmarks.speed --sst2 DIR --lengths        # cost against length, about 2,048 tokens per update
    python -m benchmarks.speed --sst2 DIR --sizes          # cost against the number of rows, 1,000 to 100,000
    python -m benchmarks.speed --sst2 DIR --frozen         # the head alone, after a first pass through the frozen body
    python -m benchmarks.speed --figure                    # draw the figure from results/speed*.json
    python -m benchmarks.speed --ids FILE --device cuda --model bert-base --warm 100
    python -m benchmarks.speed --ids FILE --device cuda --model bert-base --warm 100 --whole --rounds 1  # three epochs of all rows

DIR is that of ``benchmarks.main_job``. Every arm runs alone in a fresh process, which warms up and then times whole
epochs over rows that were drawn once; arms take turns in several rounds. A ratio is taken within a round; told are
medians with minimum and maximum. Slow arms get fewer rows. Tokenising is timed apart. FLOP/s count real tokens only.
The result is ``speed.json``; that of a processor without bf16 is ``speed-fp32.json``, that of a GPU ``speed-cuda.json``.
``--ids FILE`` keeps the tokens, for a machine that has no tokenizer; ``--rows`` and ``--arms`` cut the work down for a trial.
"""

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.job import LONGEST, Job, Pass, pretrained
from benchmarks.main_job import read
from benchmarks.peers import ARMS, HEAD_ONLY
from benchmarks.record import RESULTS, keep, of_machine
from benchmarks.speed_table import BASE, FAST, TUNED, Key, draw, rates, told
from ftlab.data.batches import encode
from ftlab.engines.devices import device_name

GROUPED = 6400
"""Rows of an arm that groups by length: the Trainer then sorts 50 batches of 32 at a time, or 12 of 128."""
FEWER = {
    "article's loop": 256,
    "Trainer as it comes": 256,
    "Trainer, dynamic padding": 1024,
    "sentence-transformers CrossEncoder": 1024,
}
"""Rows of slow arms on a CPU; fewer rows are fair, since these arms do not group by length."""
LENGTHS, TOKENS, UPDATES = (8, 16, 32, 64, 128, 256, 512), 2048, 12
SIZES = (1_000, 3_000, 10_000, 30_000, 100_000)
SETFIT = (
    "another job: it trains the embedding on pairs of texts with a contrastive loss, of which SST-2 gives millions, then "
    "a logistic regression on what the embedding gives; its samples are pairs"
)
Encoded = tuple[list[list[int]], list[int]]


def main() -> None:
    """Measure, or draw."""
    given = arguments().parse_args()
    if given.figure:
        for result in RESULTS.glob("speed*.json"):
            if "batches" in json.loads(
                result.read_text(encoding="utf-8")
            ):  # a GPU may have measured another part alone
                draw(result)
        return
    part = next((name for name in ("lengths", "sizes", "frozen", "whole") if getattr(given, name)), "batches")
    encoded, tokenising = tokenised(given.sst2, given.ids)
    kinds = {"batches": by_batch, "lengths": by_length, "sizes": by_size, "frozen": with_frozen_body, "whole": whole}
    jobs = kinds[part](given, encoded)
    measure(of_machine("speed", given.device), part, jobs, given, tokenising)


def arguments() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sst2", type=Path)
    parser.add_argument("--ids", type=Path, help="a file of tokens; read if it exists, else written")
    parser.add_argument("--batch", type=int, nargs="+", default=[32, 128])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=1, help="timed epochs per round")
    parser.add_argument("--warm", type=int, default=2, help="warm-up updates that are not timed")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--model", default="minilm", help="minilm, bert-base (random weights), or a folder")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--rows", type=int, default=GROUPED, help="the maximum number of rows per arm")
    for name in ("lengths", "sizes", "frozen", "whole", "figure"):
        parser.add_argument(f"--{name}", action="store_true")
    return parser


def measure(name: str, part: str, jobs: Mapping[Key, Job], given: Any, tokenising: dict[str, Any]) -> None:
    """Run the arms in turns, and record the result after every round."""
    before, began = [round(one, 2) for one in os.getloadavg()], time.perf_counter()
    passes: dict[Key, list[Pass]] = {key: [] for key in jobs}
    peaks: list[dict[str, Any]] = []
    for number in range(given.rounds):
        peaks.append(alone("benchmarks.peak", "--device", given.device))
        peak = {kind: max(one[kind] for one in peaks) if peaks[0][kind] else None for kind in ("bf16", "fp32")}
        for key in in_turn(jobs, number):
            passes[key].append(run_alone(jobs[key]))
            print(number + 1, *key, f"{rates(jobs[key], passes[key])[-1]:.1f} samples/s", flush=True)
        kept = RESULTS / f"{name}.json"
        result = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
        result["accuracy"] = f"{of_machine('equal', given.device)}.json"
        result[part] = {
            "model": given.model,
            "on": device_name(given.device),
            "rounds": number + 1,
            "timed epochs of a round": given.repeats,
            "load before": before,
            "minutes": round((time.perf_counter() - began) / 60, 1),
            "peak of a linear layer, FLOP/s": peak,
            "tokenising": tokenising,
            "rows": [dataclasses.asdict(one) for one in told(jobs, passes, peak["bf16"] or peak["fp32"])],
            "not measured": not_measured(given.model),
        }
        fresh = ("versions", "device", "threads", "load")
        keep(name, {key: value for key, value in result.items() if key not in fresh})


def in_turn(jobs: Mapping[Key, Job], number: int) -> list[Key]:
    """Return the order of a round, different each time, so that no arm always follows the same one."""
    return Random(number).sample(list(jobs), len(jobs))


def alone(module: str, *arguments: str) -> dict[str, Any]:
    """Run a module in its own process; return the last line it printed."""
    ended = subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True)
    if ended.returncode:
        raise RuntimeError(f"{module} failed:\n{ended.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def run_alone(job: Job) -> Pass:
    """Run a job in its own process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "job.json"
        path.write_text(json.dumps(dataclasses.asdict(job)), encoding="utf-8")
        return Pass(**alone("benchmarks.peers", str(path)))


def tokenised(sst2: Path | None, file: Path | None) -> tuple[Encoded, dict[str, Any]]:
    """Return the tokens and labels of SST-2's training split in a fixed random order, and the speed of tokenising."""
    if file and file.exists():
        ids, labels = json.loads(file.read_text(encoding="utf-8"))
        return (ids, labels), {"not timed": "the tokens were read from a file"}
    if not sst2:
        raise SystemExit("Say where SST-2 is: --sst2 DIR")
    pairs = read(sst2 / "train.tsv", "\t", label_first=False)
    pairs = Random(0).sample(pairs, len(pairs))
    model = pretrained(Job(BASE, 1, [], []))
    texts, few = [text for text, _ in pairs], [text for text, _ in pairs[:500]]
    began = time.perf_counter()
    encode(model, texts, LONGEST)
    at_once = time.perf_counter()
    for text in few:
        model.processor(text, padding="max_length", max_length=LONGEST, truncation=True)
    speeds = {
        "all texts at once, as ftlab does, texts/s": round(len(texts) / (at_once - began)),
        "one at a time, as the article does, texts/s": round(len(few) / (time.perf_counter() - at_once)),
    }
    found = (model.processor(texts, max_length=LONGEST, truncation=True)["input_ids"], [int(one) for _, one in pairs])
    if file:
        file.write_text(json.dumps(found), encoding="utf-8")
    return found, speeds


def by_batch(given: Any, encoded: Encoded) -> dict[Key, Job]:
    """Return every arm at every batch size."""
    jobs = {}
    for arm in given.arms:
        if (arm.endswith("TF32") and given.device != "cuda") or arm in (HEAD_ONLY, *not_measured(given.model)):
            continue
        rows = min(given.rows, FEWER.get(arm, GROUPED) if given.device == "cpu" else GROUPED)
        for batch in given.batch:
            jobs[arm, batch] = _job(given, arm, batch, encoded, list(range(min(rows, len(encoded[0])))))
    return jobs


def whole(given: Any, encoded: Encoded) -> dict[Key, Job]:
    """Return the arms for a GPU: three epochs over all rows, as a user would run them."""
    arms, rows = (f"{TUNED}, 0 workers", f"{TUNED}, 2 workers", FAST), list(range(len(encoded[0])))
    jobs = {(arm, batch): _job(given, arm, batch, encoded, rows) for arm in arms for batch in given.batch}
    return {key: dataclasses.replace(job, repeats=3) for key, job in jobs.items()}


def by_length(given: Any, encoded: Encoded) -> dict[Key, Job]:
    """Return three arms on random tokens, with texts of equal length and the same number of tokens per update."""
    jobs = {}
    for length in LENGTHS:
        draw, batch = Random(length), max(1, TOKENS // length)
        ids = [[101, *draw.choices(range(1000, 30000), k=length - 2), 102] for _ in range(batch * UPDATES)]
        made = (ids, [draw.randrange(2) for _ in ids])
        for arm in (f"{TUNED}, 0 workers", "ftlab reference", "ftlab fast"):
            jobs[arm, length] = _job(given, arm, batch, made, list(range(len(ids))))
    return jobs


def by_size(given: Any, encoded: Encoded) -> dict[Key, Job]:
    """Return the fast arm on increasing numbers of rows, drawn with replacement."""
    draws = {size: Random(size).choices(range(len(encoded[0])), k=size) for size in SIZES}
    return {
        ("ftlab fast", size): _job(given, "ftlab fast", given.batch[0], encoded, rows) for size, rows in draws.items()
    }


def with_frozen_body(given: Any, encoded: Encoded) -> dict[Key, Job]:
    """Return the article's loop, and training of the head alone, timed after every text has been seen once."""
    rows = {BASE: list(range(FEWER[BASE])), HEAD_ONLY: list(range(min(GROUPED, len(encoded[0]))))}
    jobs = {(arm, size): _job(given, arm, size, encoded, some) for arm, some in rows.items() for size in given.batch}
    return {
        key: dataclasses.replace(job, warm=len(job.ids)) if key[0] == HEAD_ONLY else job for key, job in jobs.items()
    }


def _job(given: Any, arm: str, batch: int, encoded: Encoded, rows: list[int]) -> Job:
    ids, labels = encoded
    ids, labels = [ids[row] for row in rows], [labels[row] for row in rows]
    return Job(arm, batch, ids, labels, given.model, given.device, given.warm, given.repeats)


def not_measured(model: str, find: Callable[[str], Any] = find_spec) -> dict[str, str]:
    """Return the peers without a row, and the reason."""
    missing = {"SetFit": SETFIT if find("setfit") else f"not installed; {SETFIT}"}
    if not find("sentence_transformers"):
        missing["sentence-transformers CrossEncoder"] = "not installed"
    elif model == "bert-base":
        missing["sentence-transformers CrossEncoder"] = "it wants texts, and random weights come without a tokenizer"
    return missing


if __name__ == "__main__":
    main()
