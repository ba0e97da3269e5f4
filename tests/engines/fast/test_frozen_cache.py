"""Frozen lower layers are computed once for each text."""

import pytest
import torch
from torch import nn

import ftlab
from ftlab.engines.fast import frozen_cache
from ftlab.engines.fast.encoder_layer import forward_layer
from ftlab.engines.fast.frozen_cache import FrozenCache
from ftlab.engines.fast.packing import packed_passes
from ftlab.losses.classification import CrossEntropy
from ftlab.losses.logits import logits_of
from tests.engines.fast.models import batch, frozen_below, made


@pytest.mark.parametrize("trained", [("classifier",), ("classifier", "layer.2.", "pooler"), ("classifier", "layer.1.")])
@pytest.mark.parametrize("kind", ["bert", "roberta", "electra", "distilbert"])
def test_frozen_lower_layers_are_computed_once_and_the_updates_stay_the_same(kind, trained, monkeypatch):
    losses, runs = {}, []
    monkeypatch.setattr(
        frozen_cache, "forward_layer", lambda *given, **more: runs.append(given[1]) or forward_layer(*given, **more)
    )
    for engine in ("reference", "fast-fp32"):
        net = frozen_below(made(kind, dropout=0.0), trained)
        rows = [batch(net, "ragged", number) for number in range(3)]
        state = ftlab.begin(net, rows, epochs=4, lr=1e-2, engine=engine)
        losses[engine] = [ftlab.step(state, rows[number % 3])["loss"] for number in range(12)]
    assert losses["fast-fp32"] == pytest.approx(losses["reference"], abs=1e-5)
    below = next((layer for layer in range(3) if any(f"layer.{layer}." in word for word in trained)), 3)
    texts = {tuple(ids[mask == 1].tolist()) for one in rows for ids, mask in zip(*list(one.values())[:2], strict=True)}
    assert len(runs) == below * len(texts)  # each text once, in three epochs of four for nothing


def test_a_frozen_weight_with_another_value_is_noticed():
    net = frozen_below(made("bert", dropout=0.0), ("classifier",))
    rows = batch(net)
    state = ftlab.begin(net, [rows], lr=1e-12, engine="fast-fp32")
    before = ftlab.step(state, rows)["loss"]
    with torch.no_grad():
        net.bert.encoder.layer[0].output.dense.weight.mul_(2)
    after = ftlab.step(state, rows)["loss"]
    assert after == pytest.approx(float(CrossEntropy()(net.eval(), rows).detach()), abs=1e-5)
    assert abs(after - before) > 1e-4


def test_beyond_the_limit_texts_are_computed_anew(monkeypatch):
    monkeypatch.setattr(frozen_cache, "LIMIT", 3 * 16 * 4)
    net = frozen_below(made("bert", dropout=0.0), ("classifier",))
    rows = batch(net)
    state = ftlab.begin(net, [rows], epochs=2, lr=1e-9, engine="fast-fp32")
    with state.engine.session(net):
        one, other = (ftlab.step(state, rows)["loss"] for _ in range(2))
        assert one == pytest.approx(other, abs=1e-6)
        assert len(state.engine.session_of(net).frozen.outputs) == 3
    assert not state.engine.session_of(net).frozen.outputs


def test_only_what_is_trained_has_dropout():
    net = frozen_below(made("bert", dropout=0.5), ("classifier",)).train()
    for module in net.children():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    rows = batch(net)
    with packed_passes(net, first_only=True):
        one, other = (logits_of(net, rows).detach() for _ in range(2))
    assert torch.equal(one, other)
    torch.testing.assert_close(one, logits_of(net.eval(), rows).detach(), rtol=1e-5, atol=1e-5)


def test_what_is_kept_of_a_text_does_not_depend_on_its_batch():
    net = frozen_below(made("bert"), ("classifier",)).train()
    rows, found = batch(net), []
    for order in ([0, 1, 2, 3, 4, 5], [3, 0], [4]):
        cache = FrozenCache()
        some = {name: tensor[order] for name, tensor in rows.items()}
        with packed_passes(net, first_only=True, cache=cache):
            logits_of(net, some)
        found.append(cache.outputs)
    for fewer in found[1:]:
        assert all(torch.equal(output, found[0][key]) for key, output in fewer.items())


def test_of_frozen_layers_each_precision_has_its_own():
    net = frozen_below(made("bert", dropout=0.0), ("classifier",)).train()
    rows, found, cache = batch(net), [], FrozenCache()
    for exact in (False, True, False):
        with packed_passes(net, first_only=True, cache=cache), torch.autocast("cpu", torch.bfloat16, enabled=not exact):
            found.append(logits_of(net, rows).detach())
    assert torch.equal(found[0], found[2])
    assert not torch.equal(found[0], found[1])
    torch.testing.assert_close(found[1], logits_of(net.eval(), rows).detach(), rtol=1e-5, atol=1e-5)
