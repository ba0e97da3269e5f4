"""A model is packed only if packed and padded passes agree."""

import copy
import pickle

import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
)

import ftlab
from ftlab.engines.fast import encoder_layer, parity
from ftlab.engines.fast.parity import check_parity, packed_context, parity_of
from tests.engines.fast.models import SIZES, batch, made, other_models, scores_and_gradients


def test_a_model_that_comes_out_otherwise_is_found_out(monkeypatch):
    net = made("bert")
    rows = batch(net)
    assert check_parity(net, rows).shortcut
    monkeypatch.setattr("ftlab.engines.fast.packing.first_position", lambda body: 1)
    assert not check_parity(net, rows).same


def test_a_wrong_gradient_alone_is_found_out(monkeypatch):
    net = made("bert")
    monkeypatch.setattr(encoder_layer, "_norm_backward", lambda *given: tuple(2 * one for one in norm_backward(*given)))
    assert not check_parity(net, batch(net)).same


norm_backward = encoder_layer._norm_backward


def test_trying_leaves_gradients_modes_and_chance_as_they_were():
    net = made("bert").train()
    net.bert.encoder.layer[0].eval()
    scores_and_gradients(net, batch(net))
    grads, chance = {name: param.grad.clone() for name, param in net.named_parameters()}, torch.get_rng_state()
    assert check_parity(net, batch(net)).shortcut
    assert all(torch.equal(param.grad, grads[name]) for name, param in net.named_parameters())
    assert torch.equal(torch.get_rng_state(), chance)
    assert net.training
    assert not net.bert.encoder.layer[0].training


def test_nothing_is_concluded_from_a_trial_that_was_not_packed():
    net = other_models()[1]
    hook = net.base_model.layers[0].register_forward_hook(lambda *_: None)
    assert check_parity(net, batch(net)) is None
    hook.remove()
    net = made("bert")
    hook = net.bert.encoder.layer[0].register_forward_hook(lambda *_: None)
    with packed_context(net, batch(net)):
        pass
    assert parity_of(net) is None
    hook.remove()
    with packed_context(net, batch(net)):
        pass
    assert parity_of(net).shortcut


def test_a_hook_never_sees_the_texts_of_a_trial():
    net, seen = made("bert", dropout=0.0), []
    net.bert.encoder.layer[0].register_forward_hook(lambda module, given, out: seen.append(out[0].shape[-2:]))
    rows = batch(net)
    state = ftlab.begin(net, [rows], epochs=3, lr=1e-3, engine="fast-fp32")
    for _ in range(3):
        ftlab.step(state, rows)
    assert seen == [(9, 16)] * 3


def test_a_model_that_cannot_be_tried_runs_padded():
    net = made("gpt2", dropout=0.0)
    net.config.pad_token_id = None  # then it takes no more than one text at a time
    one = {name: tensor[1:2] for name, tensor in batch(made("gpt2")).items()}
    state = ftlab.begin(net, [one], lr=1e-3, engine="fast-fp32")
    assert ftlab.step(state, one)["loss"] > 0
    assert not parity_of(net).same


@pytest.mark.parametrize(("length", "rows"), [(3, (84, 3)), (9, (4, 64)), (100, (4, 128)), (300, (2, 300))])
def test_a_trial_is_of_a_size_that_any_training_has_room_for(length, rows, monkeypatch):
    with torch.random.fork_rng():
        net = BertForSequenceClassification(BertConfig(**{**SIZES, "max_position_embeddings": 512}))
    if length == 3:
        net.config.max_position_embeddings = 3
    shapes = []
    scores = parity._scores_and_gradients
    monkeypatch.setattr(
        parity, "_scores_and_gradients", lambda net, rows: shapes.append(rows["input_ids"].shape) or scores(net, rows)
    )
    ones = torch.ones(2, length, dtype=torch.long)
    assert check_parity(net, {"input_ids": ones, "attention_mask": ones}).shortcut
    assert set(shapes) == {rows}


def test_with_longer_texts_a_model_is_tried_again():
    with torch.random.fork_rng():
        net = BertForSequenceClassification(BertConfig(**{**SIZES, "max_position_embeddings": 100}))
    for length, longest in ((9, 64), (60, 64), (65, 100), (3, 100)):
        ones = torch.ones(2, length, dtype=torch.long)
        with packed_context(net, {"input_ids": ones, "attention_mask": ones}):
            assert parity_of(net).longest == longest


def test_a_result_holds_for_the_model_as_it_was_checked_and_not_for_a_copy_or_another_head(monkeypatch):
    net, checks = made("bert"), []
    rows = batch(net)
    monkeypatch.setattr(parity, "check_parity", lambda *given: checks.append(given[0]) or check_parity(*given))

    def times_checked(model):
        checks.clear()
        for _ in range(2):
            with packed_context(model, rows):
                pass
        return len(checks)

    assert times_checked(net) == 1
    assert times_checked(net) == 0
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert times_checked(other) == 1
    net.classifier = copy.deepcopy(net.classifier)
    assert times_checked(net) == 1
