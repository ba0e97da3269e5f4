"""One function per layer computes what transformers computes."""

import pytest
import torch
from torch import nn

from ftlab.engines.fast import encoder_layer
from ftlab.engines.fast.dropout import keep_mask, keep_probability
from ftlab.engines.fast.packing import packed_passes
from ftlab.losses.logits import logits_of
from tests.engines.fast.models import LENGTHS, assert_equal, batch, made, scores_and_gradients


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_with_dropout_a_layer_does_what_transformers_does_with_the_same_masks(kind, monkeypatch):
    def same_masks(tensor, p=0.5, training=True, inplace=False):
        if not training or p == 0:
            return tensor
        return tensor * (keep_mask(tensor.shape, p) == -1) / keep_probability(p)

    net = made(kind, dropout=0.3).train()
    net.config._attn_implementation = "eager"
    rows = batch(net, "full")
    monkeypatch.setattr(nn.functional, "dropout", same_masks)
    torch.manual_seed(1)
    expected = scores_and_gradients(net, rows)
    torch.manual_seed(1)
    with packed_passes(net):
        found = scores_and_gradients(net, rows)
    assert_equal(found, expected)
    torch.manual_seed(2)
    with packed_passes(net):
        assert not torch.allclose(scores_and_gradients(net, rows)[0], found[0])


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
@pytest.mark.parametrize("lengths", LENGTHS)
def test_long_texts_without_a_backward_pass_come_out_the_same(kind, lengths, monkeypatch):
    net = made(kind).eval()
    rows, used = batch(net, lengths), []
    kernel = torch.nn.functional.scaled_dot_product_attention
    with torch.inference_mode():
        expected = logits_of(net, rows)
        monkeypatch.setattr(encoder_layer, "LONG_ENOUGH", 8)
        monkeypatch.setattr(
            nn.functional, "scaled_dot_product_attention", lambda *a, **k: used.append(1) or kernel(*a, **k)
        )
        with packed_passes(net, first_only=True):
            torch.testing.assert_close(logits_of(net, rows), expected, rtol=1e-5, atol=1e-5)
    assert len(used) == 2  # the last of three layers is computed for first tokens alone


def test_what_is_frozen_gets_no_gradient_and_the_rest_the_same():
    net = made("bert").eval()
    rows = batch(net)
    expected = scores_and_gradients(net, rows)
    for name, param in net.named_parameters():
        param.requires_grad_("layer.1." not in name and "key.weight" not in name and "embeddings" not in name)
    for first_only in (False, True):
        with packed_passes(net, first_only=first_only):
            scores, grads = scores_and_gradients(net, rows)
        assert set(grads) == {name for name, param in net.named_parameters() if param.requires_grad}
        assert_equal((scores, grads), (expected[0], {name: expected[1][name] for name in grads}))
