"""The table and the figure of the speed comparison."""

import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.job import Job, Pass
from benchmarks.record import spread
from ftlab.display.plots import BLUE, GREY, ORANGE

BASE, TUNED, FAST = "article's loop", "Trainer tuned", "ftlab fast"
Key = tuple[str, int]
"""An arm and its size: of the batch, the texts or the data."""


@dataclass(frozen=True)
class Row:
    """The row of one arm at one size."""

    arm: str
    size: int
    batch: int
    rows: int
    samples_per_second: list[float]
    """Median, minimum and maximum over the rounds; likewise the ratios."""
    times_article: list[float] | None
    times_tuned: list[float] | None
    tokens_per_second: int
    flops: int
    share_of_peak: float | None
    """Relative to the peak in bf16 if the device has it, also for arms in fp32; else to the peak in fp32."""
    memory_mb: int
    device_memory_mb: int | None
    note: str


def told(jobs: Mapping[Key, Job], passes: Mapping[Key, list[Pass]], peak: float | None) -> list[Row]:
    """Return the rows of the result; the tuned Trainer is shown with the better number of workers."""
    speeds = {key: rates(job, passes[key]) for key, job in jobs.items()}
    found = []
    for key, job in jobs.items():
        arm, size = key
        tuned = sorted(
            (one for one in jobs if one[0].startswith(TUNED) and one[1] == size),
            key=lambda one: statistics.median(speeds[one]),
            reverse=True,
        )
        if key in tuned[1:]:
            continue
        row = _row(job, speeds[key], passes[key], peak)
        if key in tuned:
            slower = [
                f"; {one.partition(', ')[2]}: {statistics.median(speeds[one, size]):.1f} samples/s"
                for one, _ in tuned[1:]
            ]
            arm, row["note"] = TUNED, row["note"] + "".join(slower)
        against = {"times_article": speeds.get((BASE, size)), "times_tuned": speeds[tuned[0]] if tuned else None}
        ratios = {name: spread(within_rounds(speeds[key], base), 2) if base else None for name, base in against.items()}
        found.append(Row(arm=arm, size=size, **ratios, **row))
    return found


def _row(job: Job, speeds: list[float], passes: list[Pass], peak: float | None) -> dict[str, Any]:
    rate = statistics.median(speeds)
    flops = passes[-1].work / len(job.ids) * rate
    return {
        "batch": job.batch,
        "rows": len(job.ids),
        "samples_per_second": spread(speeds, 2),
        "tokens_per_second": round(sum(map(len, job.ids)) / len(job.ids) * rate),
        "flops": round(flops),
        "share_of_peak": round(flops / peak, 4) if peak else None,
        "memory_mb": round(max(one.memory for one in passes)),
        "device_memory_mb": round(max(one.device_memory or 0 for one in passes)) or None,
        "note": passes[-1].note,
    }


def rates(job: Job, passes: list[Pass]) -> list[float]:
    """Return the samples per second of each round."""
    return [len(job.ids) / statistics.median(one.seconds) for one in passes]


def within_rounds(rates: list[float], base: list[float]) -> list[float]:
    """Return the ratio of each round to the baseline in the same round."""
    return [one / other for one, other in zip(rates, base, strict=True)]


def draw(source: Path) -> None:
    """Draw the arms at each batch size beside the JSON: bars on a log axis, medians with minimum and maximum."""
    from matplotlib.figure import Figure

    part = json.loads(source.read_text(encoding="utf-8"))["batches"]
    sizes = sorted({row["size"] for row in part["rows"]})
    speeds = [row["samples_per_second"][0] for row in part["rows"]]
    figure = Figure(figsize=(7 * len(sizes), 5), layout="constrained", facecolor="white")
    for axes, size in zip(figure.subplots(1, len(sizes), squeeze=False)[0], sizes, strict=True):
        rows = [row for row in part["rows"] if row["size"] == size][::-1]
        for index, row in enumerate(rows):
            middle, low, high = row["samples_per_second"]
            colour = BLUE if row["arm"].startswith("ftlab") else ORANGE if row["arm"] == TUNED else GREY
            axes.barh(index, middle, color=colour)
            axes.plot([low, high], [index, index], color="black", linewidth=1)
            ratio = f"  ({row['times_article'][0]:.1f}×)" if row["times_article"] else ""
            axes.text(high * 1.08, index, f"{middle:,.1f}{ratio}", va="center", fontsize="small")
        axes.set(xscale="log", xlim=(min(speeds) / 3, max(speeds) * 6), title=f"batch {size}")
        axes.set_xlabel("samples a second (log scale); in brackets: times the article's loop")
        axes.set_yticks(range(len(rows)), [row["arm"].replace(" CrossEncoder", "\nCrossEncoder") for row in rows])
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(finding(part), fontsize="medium")
    figure.savefig(source.with_suffix(".png"), dpi=150)


def finding(part: dict[str, Any]) -> str:
    """Describe the figure, one sentence per batch size."""
    lines = []
    for row in part["rows"]:
        against = (("times_article", "the article's loop"), ("times_tuned", "the tuned Trainer"))
        ratios = [f"{row[name][0]:.1f} times as many as {of}" for name, of in against if row[name]]
        if row["arm"] == FAST and ratios:
            lines.append(f"Samples a second of {FAST} at batch {row['size']}: {', '.join(ratios)}")
    engine = "" if part["peak of a linear layer, FLOP/s"]["bf16"] else ", without bf16"
    where = f"{part['model']}, SST-2's lengths, {part['on']}{engine}, median of {part['rounds']} rounds"
    return "\n".join([*lines, where])
