"""Copy batches to a device, and a loss back from it, without waiting.

CUDA runs asynchronously, and reading a value from the GPU waits for all kernels launched before. So decisions on the CPU
(text lengths, labels) read the host copy of a batch. The loss is copied back right after the forward pass and read after
the backward pass has been launched.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor


def to_device(batch: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Return a batch on a device; the copy to a GPU is asynchronous.

    >>> to_device({"labels": torch.tensor([1])}, torch.device("cpu"))
    {'labels': tensor([1])}
    """
    if device.type != "cuda":
        return {name: tensor.to(device) for name, tensor in batch.items()}
    return {name: tensor_to_device(tensor, device) for name, tensor in batch.items()}


def tensor_to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device; the copy carries the original as its host copy."""
    if tensor.device == device:
        return tensor
    pinned = tensor.pin_memory() if device.type == "cuda" and tensor.device.type == "cpu" else tensor
    return remember_host_copy(pinned.to(device, non_blocking=True), tensor)


def remember_host_copy(tensor: Tensor, original: Tensor) -> Tensor:
    """Store the host tensor that a tensor was copied from as its attribute ``host_copy``; return the tensor."""
    tensor.host_copy = original  # type: ignore[attr-defined]
    return tensor


def host_copy(tensor: Tensor) -> Tensor:
    """Return a tensor's values on the host: the original that it was copied from, or else a new copy, which waits.

    >>> host_copy(torch.tensor([1]))
    tensor([1])
    """
    if tensor.device.type == "cpu":
        return tensor
    original: Tensor | None = getattr(tensor, "host_copy", None)
    return tensor.cpu() if original is None else original


def item_async(scalar: Tensor) -> Callable[[], float]:
    """Start to copy a scalar to the host; return a function that waits for the copy and returns the number.

    >>> item_async(torch.tensor(0.5))()
    0.5
    """
    if scalar.device.type != "cuda":
        return scalar.item
    on_host = scalar.to("cpu", non_blocking=True)
    copied: Any = torch.cuda.Event()  # type: ignore[no-untyped-call]
    copied.record()

    def read() -> float:
        copied.synchronize()
        return on_host.item()

    return read
