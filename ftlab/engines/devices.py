"""Choose the device that a model runs on, and name it."""

import os
import platform
from pathlib import Path

import torch

from ftlab.errors import argument_error, check_choice


def choose_device(asked: str = "auto") -> str:
    """Return the device to use: what is asked for, else cuda, mps or cpu, the first that is there."""
    check_choice("finetune", "device", asked, ("auto", "cpu", "cuda", "mps"))
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if asked == "auto":
        return next(device for device, present in there.items() if present)
    if not there[asked]:
        present = ", ".join(device for device, is_there in there.items() if is_there)
        raise argument_error("finetune", "device", f"be on this machine ({present})", repr(asked), "Use 'auto'")
    return asked


def cores() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def device_name(device: str) -> str:
    """Return a device with its maker's name; of a processor also family and model, which a rented one's name hides."""
    if device == "cuda":
        return f"cuda ({torch.cuda.get_device_name()})"
    info = Path("/proc/cpuinfo")
    if device != "cpu" or not info.exists():
        return f"{device} ({platform.processor() or platform.machine()})"
    pairs = (line.partition(":") for line in info.read_text(encoding="utf-8").splitlines())
    found = {key.strip(): value.strip() for key, _, value in pairs}
    name = found.get("model name", platform.machine())
    return f"cpu ({name}, family {found.get('cpu family', '?')}, model {found.get('model', '?')})"
