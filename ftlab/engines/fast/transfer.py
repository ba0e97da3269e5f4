"""Move batches to a device without waiting for it, and read from it late.

CUDA runs asynchronously, and reading a value from the GPU waits for everything launched before. So decisions on the CPU
(how long the texts are, which labels there are) read the batch's copy on the host, and the loss is copied back right
after the forward pass and read after the backward pass has been launched.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor


def moved(batch: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Return a batch on a device; to a GPU it moves while the host goes on.

    >>> moved({"labels": torch.tensor([1])}, torch.device("cpu"))
    {'labels': tensor([1])}
    """
    if device.type != "cuda":
        return {name: tensor.to(device) for name, tensor in batch.items()}
    return {name: sent(tensor, device) for name, tensor in batch.items()}


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device, and keep what it was on the host at hand."""
    if tensor.device == device:
        return tensor
    pinned = tensor.pin_memory() if device.type == "cuda" and tensor.device.type == "cpu" else tensor
    return stands_for(pinned.to(device, non_blocking=True), tensor)


def stands_for(there: Tensor, here: Tensor) -> Tensor:
    """Let a tensor carry the one on the host that it was copied from, as ``host_copy``, and return it."""
    there.host_copy = here  # type: ignore[attr-defined]
    return there


def on_host(tensor: Tensor) -> Tensor:
    """Return the same numbers on the host: those that were moved, or else asked of the device.

    >>> on_host(torch.tensor([1]))
    tensor([1])
    """
    if tensor.device.type == "cpu":
        return tensor
    known: Tensor | None = getattr(tensor, "host_copy", None)
    return tensor.cpu() if known is None else known


def later(number: Tensor) -> Callable[[], float]:
    """Ask a device for a number now, without waiting; return what waits for it and gives it.

    >>> later(torch.tensor(0.5))()
    0.5
    """
    if number.device.type != "cuda":
        return number.item
    here = number.to("cpu", non_blocking=True)
    done: Any = torch.cuda.Event()  # type: ignore[no-untyped-call]
    done.record()

    def read() -> float:
        done.synchronize()
        return here.item()

    return read
