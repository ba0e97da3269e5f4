"""Save the state of a training between two steps, and resume it bit for bit. Safetensors and JSON, no pickle.

A checkpoint is a folder such as ``step-000120``. It holds the weights, the state of the optimizer, the memory of the
rules, and ``state.json`` with the SHA-256 of each of these files. A run resumes from the newest undamaged checkpoint.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ftlab.errors import input_error, note
from ftlab.files import new_folder, sha256
from ftlab.training.loop import State
from ftlab.training.optimizers import load_state_by_name, state_by_name

VERSION = 1
"""The version of the format."""


def save(state: State, folder: Path) -> Path:
    """Write a checkpoint, then delete the other checkpoints in the folder.

    Args:
        state: The state of the training.
        folder: The folder of all checkpoints of the run.

    Returns:
        The folder of the new checkpoint.

    Raises:
        InputError: If the disk is full, or the memory of a rule has a type that cannot be saved.
    """
    path = folder / f"step-{state.step:06d}"
    optimizer, optimizer_tensors = pack(state_by_name(state.optimizer, state.params))
    memory, memory_tensors = pack(state.memory)
    with new_folder(path) as draft:
        tensors = {"model": _weights(state), "optimizer": optimizer_tensors, "memory": memory_tensors}
        for name, values in tensors.items():
            save_file({key: value.contiguous() for key, value in values.items()}, draft / f"{name}.safetensors")
        content = {
            "version": VERSION,
            "step": state.step,
            "last_loss": state.last_loss,
            "optimizer": optimizer,
            "memory": memory,
            "evaluations": state.evaluations,
            "recipe": [repr(rule) for rule in state.recipe],
            "sha256": {f"{name}.safetensors": sha256(draft / f"{name}.safetensors") for name in tensors},
        }
        (draft / "state.json").write_text(json.dumps(content), encoding="utf-8")
    for other in folder.glob("step-*"):
        if other != path:
            shutil.rmtree(other)
    return path


def newest(folder: Path) -> Path | None:
    """Return the newest undamaged checkpoint, or None. A note reports each damaged one."""
    for path in sorted(folder.glob("step-*"), reverse=True):
        damage = _damage(path)
        if not damage:
            return path
        note("resume", f"{path} is skipped: {damage}.")
    return None


def restore(state: State, path: Path) -> None:
    """Load a checkpoint into a state that :func:`ftlab.begin` returned for the same arguments.

    Args:
        state: The state to change.
        path: The folder of the checkpoint.

    Raises:
        InputError: If the checkpoint has another version, recipe or model.
    """
    content = json.loads((path / "state.json").read_text(encoding="utf-8"))
    recipe = [repr(rule) for rule in state.recipe]
    if content["version"] != VERSION:
        do = "Use the version of ftlab that wrote it"
        raise input_error("resume", "checkpoint", f"be of version {VERSION}", str(content["version"]), do)
    if content["recipe"] != recipe:
        got = f"{recipe}, saved {content['recipe']}"
        raise input_error("resume", "recipe", "be the saved one", got, "Use the same rules in the same order")
    saved = load_file(path / "model.safetensors")
    weights = _weights(state)
    different = saved.keys() ^ weights.keys() or {name for name in weights if saved[name].shape != weights[name].shape}
    if different:
        got = f"other tensors or shapes, such as {', '.join(sorted(different)[:2])}"
        raise input_error("resume", "checkpoint", "fit the model", got, "Resume with the model that the run began with")
    with torch.no_grad():
        for name, tensor in weights.items():
            tensor.copy_(saved[name])
    load_state_by_name(
        state.optimizer, state.params, unpack(content["optimizer"], load_file(path / "optimizer.safetensors"))
    )
    state.memory = unpack(content["memory"], load_file(path / "memory.safetensors", device=str(state.device)))
    state.step, state.evaluations = content["step"], content["evaluations"]
    state.last_loss = content["last_loss"]


def pack(value: Any) -> tuple[Any, dict[str, Tensor]]:
    """Split nested containers into a JSON value and a dictionary of tensors.

    >>> pack({"m": torch.ones(1), "n": (1, None)})
    ({'dict': [['m', {'tensor': '0'}], ['n', {'tuple': [1, None]}]]}, {'0': tensor([1.])})
    """
    tensors: dict[str, Tensor] = {}

    def walk(node: Any) -> Any:
        if isinstance(node, Tensor):
            tensors[str(len(tensors))] = node.detach().clone()
            return {"tensor": str(len(tensors) - 1)}
        if isinstance(node, dict):
            return {"dict": [[walk(key), walk(item)] for key, item in node.items()]}
        if isinstance(node, list | tuple):
            return {type(node).__name__: [walk(item) for item in node]}
        if node is None or isinstance(node, bool | int | float | str):
            return node
        do = "Use tensors, numbers, strings, None, and dicts, lists and tuples of them"
        raise input_error("save", "memory of a rule", "be of plain values", type(node).__name__, do)

    return walk(value), tensors


def unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Undo :func:`pack`."""
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {unpack(key, tensors): unpack(item, tensors) for key, item in content}
    items = [unpack(item, tensors) for item in content]
    return tuple(items) if kind == "tuple" else items


def _weights(state: State) -> dict[str, Tensor]:
    """Return the tensors of the model's state dict by name; tensors that share memory appear once."""
    seen: set[tuple[int, torch.Size]] = set()
    weights = {}
    for name, tensor in state.model.state_dict().items():
        key = (tensor.data_ptr(), tensor.shape)
        if key not in seen or not tensor.numel():
            weights[name] = tensor
        seen.add(key)
    return weights


def _damage(path: Path) -> str:
    """Describe what is wrong with a checkpoint; empty if nothing is."""
    try:
        content = json.loads((path / "state.json").read_text(encoding="utf-8"))
        for name, expected in content["sha256"].items():
            if sha256(path / name) != expected:
                return f"{name} is damaged"
    except (OSError, ValueError, KeyError) as error:
        return f"it is incomplete ({type(error).__name__})"
    return ""
