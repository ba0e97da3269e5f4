"""bf16 products where the hardware has them and nowhere else, since an emulated bf16 is many times slower."""

import torch


def has_bf16(device: str) -> bool:
    """Return whether a device multiplies bf16 matrices in hardware.

    Args:
        device: ``"cpu"``, ``"cuda"`` or ``"mps"``. MPS trains in fp32 here: its bf16 was never measured.
    """
    if device == "cuda":
        return torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 0)
    if device == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False
