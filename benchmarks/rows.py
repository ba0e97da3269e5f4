"""The cost of a million rows: memory and time per row, compared with ten thousand.

    python -m benchmarks.rows [--rows 10000 1000000]

Texts of about 20 words lie as an Arrow data set on disk. A fresh process for each size loads them, looks through them,
tokenises them (cold, then with the cache of token ids filled) and reads 300 batches in the order of an epoch. Memory is
RssAnon of /proc/self/status, at its highest: pages of files that are mapped, which the system takes back when it needs
them, are not in it.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.record import keep
from ftlab.data.load import as_dataset_dict, fingerprint

LENGTH, BATCHES, ROUNDS = 128, 300, 10
PER_ROW = "microseconds a row"
TOKENISE, READ = f"tokenise, {PER_ROW}", f"read {BATCHES} batches, {PER_ROW}"
WORDS = """
    a about after again all always an and any are around as at bad be because before began best better big book both but
    by came can clean could day did dinner easy end even evening every face far feel film find first food for friendly
    from full garden gave good great had happy hard have he hear heart hotel hour how idea if in into is it kind last
    learned light little long made many me more most music my never new nice night no not nothing of old on one only or
    our out people place plain quiet quite really room said same saw see she short slow small so some soon story such
    than that the their them there they this time too town two unforgettable unfortunately until very view waiting was
    we well were what when which while who why will wonderful work world would year you
""".split()


def main() -> None:
    """Measure each size in its own process, and compare the larger with the smaller."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs=2, default=(10_000, 1_000_000))
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measured(given.measure)))
        return
    smallest, greatest = given.rows
    before, many, after = (in_a_process(rows) for rows in (smallest, greatest, smallest))
    few = {name: statistics.mean((before[name], after[name])) for name in before}
    more = many["highest RssAnon, MB"] - few["highest RssAnon, MB"]
    ratios = {name: round(many[name] / few[name], 3) for name in few if name.endswith(PER_ROW)}
    result = {
        "how": f"texts of about 20 words, minilm's tokenizer, max_length {LENGTH}, batches of 32; memory is RssAnon of "
        "/proc/self/status, without pages of mapped files; the smaller size is measured before and after the greater, "
        f"and tokenised {ROUNDS} times each, of which the mean counts",
        "sizes": {str(smallest): [before, after], str(greatest): many},
        "more memory, MB": round(more, 1),
        "at most 300 MB more": more <= 300,
        "time a row, many to few": ratios,
        "at most 10 % more time a row to tokenise and to read": max(ratios[TOKENISE], ratios[READ]) <= 1.1,
    }
    keep("rows", result)


def in_a_process(rows: int) -> dict[str, Any]:
    """Write a data set with this many rows, and measure it in a fresh process with an empty cache."""
    with tempfile.TemporaryDirectory() as temporary:
        write(Path(temporary) / "data", rows)
        command = [sys.executable, "-m", "benchmarks.rows", "--measure", f"{temporary}/data"]
        environment = os.environ | {"FTLAB_CACHE": f"{temporary}/cache"}
        ended = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(ended.stdout.splitlines()[-1]))


def write(folder: Path, rows: int) -> None:
    """Write labelled texts of fixed words; the same number of rows always gives the same data."""
    from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

    chance = random.Random(rows)
    texts = [" ".join(chance.choices(WORDS, k=chance.randint(10, 30))) for _ in range(rows)]
    features = Features({"text": Value("string"), "label": ClassLabel(names=["no", "yes"])})
    columns = {"text": texts, "label": [chance.randrange(2) for _ in texts]}
    DatasetDict(train=Dataset.from_dict(columns, features=features)).save_to_disk(folder)


def measured(folder: Path) -> dict[str, Any]:
    """Run every step of the data in fine-tuning; return the peak memory, and microseconds per row."""
    from datasets import load_from_disk

    import ftlab
    from ftlab.data.batches import Batches, encode
    from ftlab.data.tokens import MANY

    data = load_from_disk(folder)
    rows = len(data["train"])
    model = ftlab.load_model("minilm", data)
    encode(model, ["warm up"], LENGTH)
    watch = Watch()
    rounds = 1 if rows >= MANY else ROUNDS
    seconds = {
        "look through": timed(lambda: as_dataset_dict(data)),
        "fingerprint": timed(lambda: fingerprint(data)),
        "tokenise": timed(lambda: encode(model, data["train"], LENGTH), rounds),
    }
    if rows >= MANY:
        seconds["tokenised before, from the cache"] = timed(lambda: encode(model, data["train"], LENGTH))
    batches = Batches(encode(model, data["train"], LENGTH), 32)
    seconds["order of an epoch"] = timed(lambda: batches.order(0), 3)
    per_row = {f"{name}, {PER_ROW}": round(one / rows * 1e6, 2) for name, one in seconds.items()}
    order = batches.order(0)[:BATCHES]
    reading = timed(lambda: [batches.encoded.batch(some) for some in order], 3 * ROUNDS)
    read = sum(map(len, order))
    return {
        "highest RssAnon, MB": round(watch.end(), 1),
        "before the data are looked at, MB": round(watch.before, 1),
        **per_row,
        READ: round(reading / read * 1e6, 2),
    }


def timed(work: Callable[[], Any], rounds: int = 1) -> float:
    """Return the average seconds of a call."""
    began = time.perf_counter()
    for _ in range(rounds):
        work()
    return (time.perf_counter() - began) / rounds


class Watch:
    """Samples the memory a hundred times a second and keeps the maximum."""

    def __init__(self) -> None:
        self.before = self.highest = anonymous()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def end(self) -> float:
        """Stop sampling and return the maximum in MB."""
        self._stop.set()
        self._thread.join()
        return self.highest

    def _look(self) -> None:
        while not self._stop.wait(0.01):
            self.highest = max(self.highest, anonymous())


def anonymous() -> float:
    """Return this process's own memory in MB: resident pages that belong to no file."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/status does not tell RssAnon")


if __name__ == "__main__":
    main()
