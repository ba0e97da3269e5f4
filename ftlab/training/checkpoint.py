"""Save a training between two steps, and go on from there bit for bit. Safetensors and JSON, no pickle.

A checkpoint is a folder ``step-000120`` with the weights, what the optimizer and the rules remember, and
``state.json``, which holds the hash of each file. The newest one that is whole is used.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ftlab.errors import input_error, note
from ftlab.files import new_folder
from ftlab.training.loop import State
from ftlab.training.optimizers import load_state_by_name, state_by_name

VERSION = 1


def save(state: State, folder: Path) -> Path:
    """Write a checkpoint of a state, then remove the older ones. Returns the new one's folder."""
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
            "sha256": {f"{name}.safetensors": _hash(draft / f"{name}.safetensors") for name in tensors},
        }
        (draft / "state.json").write_text(json.dumps(content), encoding="utf-8")
    for older in folder.glob("step-*"):
        if older != path:
            shutil.rmtree(older)
    return path


def newest(folder: Path) -> Path | None:
    """Return the newest checkpoint that is whole; damaged ones are mentioned and passed over."""
    for path in sorted(folder.glob("step-*"), reverse=True):
        fault = _fault(path)
        if not fault:
            return path
        note("resume", f"{path} is passed over: {fault}.")
    return None


def restore(state: State, path: Path) -> None:
    """Lay a checkpoint over a state that :func:`ftlab.begin` has made of the same arguments."""
    content = json.loads((path / "state.json").read_text(encoding="utf-8"))
    recipe = [repr(rule) for rule in state.recipe]
    if content["version"] != VERSION:
        do = "Use the ftlab that wrote it"
        raise input_error("resume", "checkpoint", f"be of version {VERSION}", str(content["version"]), do)
    if content["recipe"] != recipe:
        got = f"{recipe}, saved {content['recipe']}"
        raise input_error("resume", "recipe", "be the saved one", got, "Give the same rules in the same order")
    saved = load_file(path / "model.safetensors")
    own = _weights(state)
    if saved.keys() != own.keys() or any(saved[name].shape != own[name].shape for name in own):
        odd = sorted(saved.keys() ^ own.keys())[:2]
        do = "Resume with the model that the run began with"
        raise input_error("resume", "checkpoint", "fit the model", f"other tensors, such as {odd}", do)
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(saved[name])
    load_state_by_name(
        state.optimizer, state.params, unpack(content["optimizer"], load_file(path / "optimizer.safetensors"))
    )
    state.memory = unpack(content["memory"], load_file(path / "memory.safetensors", device=str(state.device)))
    state.step, state.evaluations = content["step"], content["evaluations"]
    state.last_loss = content["last_loss"]


def pack(value: Any) -> tuple[Any, dict[str, Tensor]]:
    """Take nested containers apart into JSON and named tensors.

    >>> pack({"m": torch.ones(1), "n": (1, None)})
    ({'dict': [['m', {'tensor': '0'}], ['n', {'tuple': [1, None]}]]}, {'0': tensor([1.])})
    """
    tensors: dict[str, Tensor] = {}

    def walk(one: Any) -> Any:
        if isinstance(one, Tensor):
            tensors[str(len(tensors))] = one.detach().clone()
            return {"tensor": str(len(tensors) - 1)}
        if isinstance(one, dict):
            return {"dict": [[walk(key), walk(item)] for key, item in one.items()]}
        if isinstance(one, list | tuple):
            return {type(one).__name__: [walk(item) for item in one]}
        if one is None or isinstance(one, bool | int | float | str):
            return one
        do = "Remember tensors, numbers, strings, None, and dicts, lists and tuples of them"
        raise input_error("save", "memory of a rule", "be of plain values", type(one).__name__, do)

    return walk(value), tensors


def unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Put together what :func:`pack` took apart."""
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
    """Return all tensors of the model by name, those that share memory once."""
    seen: set[tuple[int, torch.Size]] = set()
    found = {}
    for name, tensor in state.model.state_dict().items():
        key = (tensor.data_ptr(), tensor.shape)
        if key not in seen or not tensor.numel():
            found[name] = tensor
        seen.add(key)
    return found


def _fault(path: Path) -> str:
    try:
        content = json.loads((path / "state.json").read_text(encoding="utf-8"))
        for name, hash_ in content["sha256"].items():
            if _hash(path / name) != hash_:
                return f"{name} is damaged"
    except (OSError, ValueError, KeyError) as error:
        return f"it is not whole ({type(error).__name__})"
    return ""


def _hash(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
