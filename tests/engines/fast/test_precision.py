"""Products in fp32 are exact, and oneDNN is chosen only where it is faster."""

import pytest
import torch

from ftlab.engines.fast import precision


def test_products_in_fp32_are_exact_and_the_setting_is_given_back():
    setting = torch.backends.mkldnn.matmul.fp32_precision
    one, other = torch.randn(64, 300), torch.randn(300, 64)
    exact = one.double() @ other.double()
    with precision.fp32_products("cpu"):
        found = one @ other
    assert float((found.double() - exact).abs().max() / exact.abs().max()) < precision.ERROR
    assert torch.backends.mkldnn.matmul.fp32_precision == setting


@pytest.mark.parametrize(
    ("times", "wrong", "avx512", "amx", "taken"),
    [
        (2.0, 0.0, True, False, True),
        (2.0, 1e-2, True, False, False),
        (1.1, 0.0, True, False, False),
        (2.0, 0.0, True, True, False),
        (2.0, 0.0, False, False, False),
    ],
)
def test_onednn_is_taken_where_it_is_exact_and_much_faster(times, wrong, avx512, amx, taken, monkeypatch):
    def product(one, other):
        onednn = torch.backends.mkldnn.matmul.fp32_precision == "bf16"
        return (one.double() @ other.double()).float() + wrong * onednn, 1.0 / times if onednn else 1.0

    monkeypatch.setattr(precision, "_timed_product", product)
    monkeypatch.setattr(torch.cpu, "_is_avx512_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    setting = torch.backends.mkldnn.matmul.fp32_precision
    assert precision.onednn_is_better.__wrapped__() == taken
    assert torch.backends.mkldnn.matmul.fp32_precision == setting
