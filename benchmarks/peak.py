"""The peak speed of matrix products on a machine, and the floating-point operations of a training run.

python -m benchmarks.peak [--device cuda]
"""

import argparse
import json
import time
from collections.abc import Iterable
from typing import Any

import torch

from ftlab.engines.devices import device_name
from ftlab.engines.fast.precision import has_bf16

SHAPES = ((3000, 384, 1536), (3000, 1536, 384), (3000, 768, 3072), (2048, 2048, 2048))
"""Rows, inputs and outputs of linear layers: two of MiniLM, one of BERT-base, one square."""
ON_GPU = ((8192, 8192, 8192),)
REPEATS = 15


def main() -> None:
    """Print the peaks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    device = parser.parse_args().device
    print(json.dumps({"device": device_name(device), **peaks(device)}))


def work(config: Any, lengths: Iterable[int]) -> float:
    """Return the floating-point operations of a forward and backward pass over texts of these lengths.

    6·N for each token, N being the weights of the encoder's matrices, and 12·layers·hidden·length for its products in
    attention. Embeddings, pooler and head are left out, and so is all padding.
    """
    lengths = list(lengths)
    layers, hidden, between = config.num_hidden_layers, config.hidden_size, config.intermediate_size
    matrices = layers * (4 * hidden**2 + 2 * hidden * between)
    return 6.0 * matrices * sum(lengths) + 12.0 * layers * hidden * sum(length**2 for length in lengths)


def peaks(device: str) -> dict[str, float | None]:
    """Return the best speed of a linear layer in FLOP/s, by precision; without bf16 if the hardware lacks it."""
    shapes = SHAPES + (ON_GPU if device == "cuda" else ())
    kinds = {"bf16": torch.bfloat16 if has_bf16(device) else None, "fp32": torch.float32}
    return {name: max(rate(shape, kind, device) for shape in shapes) if kind else None for name, kind in kinds.items()}


@torch.inference_mode()
def rate(shape: tuple[int, int, int], kind: torch.dtype, device: str, repeats: int = REPEATS) -> float:
    """Return the best speed over some repeats, after two warm-up repeats."""
    rows, inputs, outputs = shape
    data = torch.randn(rows, inputs, device=device).to(kind)
    weight = torch.randn(outputs, inputs, device=device).to(kind)
    seconds = []
    for _ in range(repeats + 2):
        began = _now(device)
        torch.nn.functional.linear(data, weight)
        seconds.append(_now(device) - began)
    return 2.0 * rows * inputs * outputs / min(seconds[2:])


def _now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
