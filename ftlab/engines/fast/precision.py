"""Which devices have bf16 in hardware, and the faster of two libraries for fp32 matrix products on a CPU."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor

ERROR = 2e-6
"""How far an fp32 product may be from the one in double precision, relative to the largest entry."""

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
    """Multiply fp32 matrices on a CPU with oneDNN while the context lasts, if it is as exact as MKL and much faster.

    ``torch`` uses MKL for fp32, which on some processors uses half of the vector units. It uses oneDNN if rounding to
    bf16 is allowed. On processors with AMX tiles oneDNN then does round, so it is never used there; elsewhere it is tested.
    """
    if device != "cpu" or not onednn_is_better():
        yield
        return
    matmul = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    setting = matmul.fp32_precision
    matmul.fp32_precision = "bf16"
    try:
        yield
    finally:
        matmul.fp32_precision = setting


@cache
def onednn_is_better() -> bool:
    """Compare one fp32 product of both libraries, its error and its time; the result is cached for the process.

    Without AVX-512 both take equally long, so nothing is compared.
    """
    can = torch.backends.mkldnn.is_available() and torch.cpu._is_avx512_supported()  # type: ignore[no-untyped-call]
    if not can or torch.cpu._is_amx_tile_supported():
        return False
    matmul: Any = getattr(torch.backends.mkldnn, "matmul", None)
    if not hasattr(matmul, "fp32_precision"):
        return False
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(512, 512, generator=generator) for _ in range(2))
    exact = a.double() @ b.double()
    usual = matmul.fp32_precision
    products, times = dict[str, Tensor](), {setting: list[float]() for setting in (usual, "bf16")}
    with torch.inference_mode():
        try:
            for _ in range(TURNS):
                for setting, seconds in times.items():
                    matmul.fp32_precision = setting
                    products[setting], elapsed = _timed_product(a, b)
                    seconds.append(elapsed)
        finally:
            matmul.fp32_precision = usual
    error = float((products["bf16"].double() - exact).abs().max() / exact.abs().max())
    return error < ERROR and GAIN * min(times["bf16"]) < min(times[usual])


def _timed_product(a: Tensor, b: Tensor) -> tuple[Tensor, float]:
    """Return a product and its time in seconds."""
    started = time.perf_counter()
    product = a @ b
    return product, time.perf_counter() - started
