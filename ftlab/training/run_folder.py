"""The output folder of a run: its files, and checks before a run writes or resumes there."""

import json
import os
import platform
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ftlab.engines.devices import device_name
from ftlab.errors import argument_error, input_error, note
from ftlab.files import write_text

FILES = ("model", "checkpoint", "metrics.json", "history.jsonl", "run.json", "curves.png")
MAY_DIFFER = ("save_every",)
"""Arguments that may change when a run is resumed."""
PACKAGES = ("ftlab", "torch", "transformers", "datasets", "tokenizers", "safetensors", "scikit-learn", "numpy")


class RunFolder:
    """The output folder of a run, checked and created before any work starts."""

    def __init__(self, folder: str | Path, *, overwrite: bool = False, resume: bool = False) -> None:
        self.folder = Path(folder)
        check_output(self.folder, overwrite=overwrite, resume=resume)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except (OSError, ValueError) as error:
            got = f"{str(self.folder)[:120]!r} ({getattr(error, 'strerror', error)})"
            raise input_error("finetune", "output", "be a folder that can be written", got, "Choose another") from error

    def clear(self) -> None:
        """Delete the files of an earlier run, except for ``run.json`` and the model, which the new run replaces."""
        for name in FILES:
            path = self.folder / name
            if name not in ("model", "run.json"):
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints; it is deleted at the end of the run."""
        return self.folder / "checkpoint"

    @property
    def model(self) -> Path:
        """The folder of the finished model."""
        return self.folder / "model"

    def read_run(self) -> dict[str, Any] | None:
        """Return the ``run.json`` of an earlier run in this folder; None if there is none."""
        path = self.folder / "run.json"
        if not path.exists():
            return None
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(content, dict) or not {"status", "arguments", "data_fingerprint"} <= content.keys():
                raise ValueError("it does not describe a run")
        except ValueError as error:
            do = "Use another folder, or overwrite this one"
            raise input_error("finetune", "run.json", "be whole", f"{path}: {error}", do) from error
        return content

    def write_run(self, content: dict[str, Any]) -> None:
        """Write ``run.json``: arguments, versions, device, the data's fingerprint, the recipe."""
        write_text(self.folder / "run.json", json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    def write_history(self, history: list[dict[str, Any]]) -> None:
        """Write ``history.jsonl``, one line per step."""
        write_text(self.folder / "history.jsonl", "".join(json.dumps(record) + "\n" for record in history))

    def read_history(self, steps: int) -> list[dict[str, Any]]:
        """Return the records of the first ``steps`` steps from ``history.jsonl``."""
        path = self.folder / "history.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [record for record in map(json.loads, lines) if record["step"] <= steps]


def check_output(folder: Path, *, overwrite: bool, resume: bool) -> None:
    """Raise if the folder holds other files, or another run that is neither to be overwritten nor resumed."""
    if overwrite and resume:
        do = "Leave one of them out"
        raise argument_error("finetune", "overwrite and resume", "not be asked for together", "both", do)
    if os.path.exists(folder) and not folder.is_dir():
        raise input_error("finetune", "output", "be a folder", f"the file {folder}", "Choose another name")
    if os.path.isdir(folder) and any(folder.iterdir()):
        if not (folder / "run.json").exists():
            got = f"other files in {folder}"
            raise input_error("finetune", "output", "be empty or hold a run", got, "Choose a new folder")
        if not overwrite and not resume:
            do = "Choose another folder, or use overwrite (--overwrite) or resume (--resume)"
            raise input_error("finetune", "output", "not hold another run", str(folder), do)


def check_same_run(before: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise unless an unfinished run is resumed with its own arguments and data; note other sources of difference.

    Args:
        before: The ``run.json`` of the earlier run.
        now: The same facts for this run.
    """
    if before.get("status") == "finished":
        do = "Use overwrite (--overwrite) to run it again"
        raise input_error("resume", "run", "be unfinished", f"one that finished all {before.get('steps')} steps", do)
    old, new = before["arguments"], now["arguments"]
    changed = [name for name in new if old.get(name) != new[name] and name not in MAY_DIFFER]
    if changed:
        got = ", ".join(f"{name}={new[name]!r} (it began with {old.get(name)!r})" for name in changed)
        raise input_error("resume", "arguments", "be those of the run", got, "Use the same arguments")
    if before["data_fingerprint"] != now["data_fingerprint"]:
        do = "Use the same rows in the same order"
        raise input_error("resume", "data", "be those of the run", "another fingerprint", do)
    for name in ("versions", "device", "threads", "engine"):
        if before.get(name) != now.get(name):
            note("resume", f"the run continues, but not bit for bit: its {name} changed.")


def environment_info(device: str) -> dict[str, Any]:
    """Return the versions, the device and the number of threads, on which a run's numbers also depend."""
    return {
        "versions": {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}},
        "device": device_name(device),
        "threads": torch.get_num_threads(),
    }
