"""Cheap dropout drops the right share, independently, and repeats."""

import pytest
import torch

import ftlab
from ftlab.engines.fast import attention, dropout as cheap
from ftlab.engines.fast.dropout import drop, drop_, dropout, keep_mask, keep_probability
from ftlab.losses.classification import CrossEntropy
from tests.engines.fast.models import batch, made


def test_a_share_of_elements_is_dropped_and_the_mean_stays():
    torch.manual_seed(0)
    ones = torch.ones(1000, 1000, requires_grad=True)
    found = dropout(ones, 0.1)
    assert float((found == 0).float().mean()) == pytest.approx(0.1, abs=1e-3)
    assert float(found.detach().mean()) == pytest.approx(1, abs=2e-3)
    found.sum().backward()
    assert torch.equal(ones.grad, found.detach())
    assert torch.equal(dropout(ones, 0.1, training=False), ones)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9])
def test_masks_are_whole_drawn_anew_and_repeatable(p):
    torch.manual_seed(3)
    one, other = keep_mask((50, 41), p), keep_mask((50, 41), p)
    torch.manual_seed(3)
    assert torch.equal(keep_mask((50, 41), p), one)
    assert set(one.unique().tolist()) <= {-1, 0}
    assert torch.equal(one, other) == (p == 0.0)
    assert keep_probability(p) == pytest.approx(1 - p, abs=1e-5)


def test_elements_are_dropped_independently_of_their_neighbours():
    torch.manual_seed(0)
    dropped = (keep_mask((4_000_000,), 0.5) == 0).float() - 0.5
    for distance in (1, 2, 3, 4, 8):
        assert abs(float((dropped[distance:] * dropped[:-distance]).mean()) * 4) < 3e-3


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float32])
def test_dropping_keeps_every_bit_of_what_is_kept(kind):
    tensor = torch.randn(64, 8, generator=torch.Generator().manual_seed(0)).to(kind)
    mask = keep_mask(tensor.shape, 0.5)
    expected = torch.where(mask == -1, tensor, 0)
    assert torch.equal(drop(tensor, mask), expected)
    assert torch.equal(drop_(tensor, mask), expected)


def test_dropout_of_everything_or_of_doubles_is_left_to_torch():
    assert not dropout(torch.ones(9), 1.0).any()
    doubles = dropout(torch.ones(1000, dtype=torch.double), 0.5)
    assert doubles.dtype == torch.double
    assert set(doubles.unique().tolist()) == {0.0, 2.0}


def test_cheap_masks_are_what_the_fast_engine_draws(monkeypatch):
    drawn = []
    for module in (cheap, attention):
        monkeypatch.setattr(module, "keep_mask", lambda *given: drawn.append(given[0]) or keep_mask(*given))
    net = made("bert").train()
    state = ftlab.begin(net, [batch(net)], lr=1e-3, loss=CrossEntropy(), engine="fast-fp32")
    ftlab.step(state, batch(net))
    assert len(drawn) == 1 + 3 * 3 + 1  # embeddings, three a layer, the head
    assert drawn[-2] == (6, 16)  # the last layer's: only the first token of each text
