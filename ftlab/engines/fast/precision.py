"""bf16 where the hardware has it and nowhere else, and the better of two ways to multiply matrices in fp32."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor

ERROR = 2e-6
"""How far a product in fp32 may be from the one in double precision, relative to its greatest entry."""

GAIN, TURNS = 1.3, 8
"""The smallest speed-up, best of TURNS, for which oneDNN is chosen; a smaller lead is within the noise."""


def has_bf16(device: str) -> bool:
    """Return whether a device multiplies bf16 matrices in hardware; emulated, bf16 is many times slower.

    Args:
        device: ``"cpu"``, ``"cuda"`` or ``"mps"``. MPS trains in fp32 here: its bf16 was never measured.
    """
    if device == "cuda":
        return torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 0)
    if device == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


@contextmanager
def fp32_products(device: str) -> Iterator[None]:
    """Multiply fp32 matrices on a CPU with oneDNN while the context lasts, if that is as exact as MKL, and much faster.

    ``torch`` takes MKL for fp32, which on some processors uses half of their vector units. It takes oneDNN where it is
    allowed to round to bf16; oneDNN then rounds where there are AMX tiles, so there it is never asked, and elsewhere it is tried.
    """
    if device != "cpu" or not onednn_is_better():
        yield
        return
    matmul = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = matmul.fp32_precision
    matmul.fp32_precision = "bf16"
    try:
        yield
    finally:
        matmul.fp32_precision = before


@cache
def onednn_is_better() -> bool:
    """Try one product in fp32 both ways, for exactness and for time; the answer is kept for the process.

    Without AVX-512 both take equally long, so there nothing is tried.
    """
    can = torch.backends.mkldnn.is_available() and torch.cpu._is_avx512_supported()  # type: ignore[no-untyped-call]
    if not can or torch.cpu._is_amx_tile_supported():
        return False
    matmul: Any = getattr(torch.backends.mkldnn, "matmul", None)
    if not hasattr(matmul, "fp32_precision"):
        return False
    chance = torch.Generator().manual_seed(0)
    one, other = (torch.randn(512, 512, generator=chance) for _ in range(2))
    exact = one.double() @ other.double()
    before = matmul.fp32_precision
    products, times = dict[str, Tensor](), {way: list[float]() for way in (before, "bf16")}
    with torch.inference_mode():
        try:
            for _ in range(TURNS):
                for way, spent in times.items():
                    matmul.fp32_precision = way
                    products[way], took = _tried(one, other)
                    spent.append(took)
        finally:
            matmul.fp32_precision = before
    error = float((products["bf16"].double() - exact).abs().max() / exact.abs().max())
    return error < ERROR and GAIN * min(times["bf16"]) < min(times[before])


def _tried(one: Tensor, other: Tensor) -> tuple[Tensor, float]:
    """Return a product and the time that it took."""
    started = time.perf_counter()
    product = one @ other
    return product, time.perf_counter() - started
