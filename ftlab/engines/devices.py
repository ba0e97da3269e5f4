"""Choose the device that a model runs on, name it, and seed its random numbers."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from ftlab.errors import argument_error, check_choice


def choose_device(asked: str = "auto") -> str:
    """Return the device to use: the requested one; for ``"auto"`` the first that is available of cuda, mps and cpu."""
    check_choice("finetune", "device", asked, ("auto", "cpu", "cuda", "mps"))
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    present = [device for device, is_available in available.items() if is_available]
    if asked == "auto":
        return present[0]
    if asked not in present:
        must = f"be on this machine ({', '.join(present)})"
        raise argument_error("finetune", "device", must, repr(asked), "Use 'auto'")
    return asked


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's random generators, on the CPU and the device, while the context lasts; then restore their states.

    >>> with seeded(0, torch.device("cpu")):
    ...     first = torch.rand(1)
    >>> with seeded(0, torch.device("cpu")):
    ...     print(torch.equal(torch.rand(1), first))
    True
    """
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def device_name(device: str) -> str:
    """Return a device with its vendor's name; for a CPU also family and model, since a rented machine may hide its name."""
    if device == "cuda":
        return f"cuda ({torch.cuda.get_device_name()})"
    info = Path("/proc/cpuinfo")
    if device != "cpu" or not info.exists():
        return f"{device} ({platform.processor() or platform.machine()})"
    pairs = (line.partition(":") for line in info.read_text(encoding="utf-8").splitlines())
    fields = {key.strip(): value.strip() for key, _, value in pairs}
    name = fields.get("model name", platform.machine())
    return f"cpu ({name}, family {fields.get('cpu family', '?')}, model {fields.get('model', '?')})"
