"""Packed passes equal padded ones, and models that cannot be packed run padded."""

import copy
import functools

import pytest
import torch
from torch.utils.checkpoint import checkpoint

import ftlab
from ftlab.engines.fast import frozen_cache
from ftlab.engines.fast.packed_batch import PackedBatch
from ftlab.engines.fast.packing import packed_passes
from ftlab.engines.fast.parity import packed_context
from ftlab.formulas.lora import LoRA
from ftlab.formulas.mixout import Mixout
from ftlab.formulas.neftune import NEFTune
from ftlab.losses.logits import logits_of
from ftlab.rule import Now
from tests.engines.fast.models import (
    LENGTHS,
    MODELS,
    assert_equal,
    batch,
    made,
    other_models,
    padded_further,
    scores_and_gradients,
)


@pytest.mark.parametrize("first_only", [False, True])
@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("kind", MODELS)
def test_packed_scores_and_gradients_are_the_padded_ones(kind, lengths, first_only):
    net = made(kind).eval()
    rows = batch(net, lengths)
    expected = scores_and_gradients(net, rows)
    with packed_passes(net, first_only=first_only) as used:
        found = scores_and_gradients(net, rows)
    assert_equal(found, expected)
    assert used.packed


@pytest.mark.parametrize("first_only", [False, True])
@pytest.mark.parametrize("kind", MODELS)
def test_rows_padded_beyond_the_longest_text_cost_no_more_and_give_the_same(kind, first_only):
    net = made(kind).eval()
    rows = padded_further(net, batch(net), 20)
    assert PackedBatch(rows["attention_mask"]).max_seqlen == 16
    expected = scores_and_gradients(net, rows)
    with packed_passes(net, first_only=first_only) as used:
        assert_equal(scores_and_gradients(net, rows), expected)
        if not first_only:
            given = {name: rows[name] for name in ("input_ids", "attention_mask")}
            assert net.base_model(**given).last_hidden_state.shape[:2] == (6, 29)
    assert used.packed


def test_a_model_that_is_not_understood_runs_padded():
    for net in other_models():
        net.eval()
        rows = batch(net)
        expected = logits_of(net, rows)
        with packed_context(net, rows):
            assert torch.equal(logits_of(net, rows), expected)


def test_nothing_is_left_in_the_model():
    net = made("gpt2")
    attention = net.config._attn_implementation
    with packed_passes(net), pytest.raises(IndexError):
        logits_of(net, {**batch(net), "input_ids": torch.full((6, 9), 99)})
    assert not any("forward" in vars(module) for module in net.modules())
    assert net.config._attn_implementation == attention


def test_a_hook_in_the_body_sees_padded_rows():
    net = made("bert").eval()
    rows, seen = batch(net), []
    expected = logits_of(net, rows)
    net.bert.encoder.layer[1].output.register_forward_hook(lambda module, given, out: seen.append(out.shape))
    with packed_passes(net, first_only=True):
        assert torch.equal(logits_of(net, rows), expected)
    assert seen == [(6, 9, 16)]


@pytest.mark.parametrize(
    ("rule", "lengths"),
    [(NEFTune(5.0), "even"), (Mixout(0.5), "ragged"), (Mixout(0.5), "even"), (LoRA(rank=2), "ragged")],
)
def test_rules_that_change_the_model_act_under_the_fast_engine_as_under_the_reference(rule, lengths):
    losses = []
    for engine in ("reference", "fast-fp32"):
        net = made("bert", dropout=0.0)
        rows = [batch(net, lengths, number) for number in range(2)]
        origin = copy.deepcopy(net)
        state = ftlab.begin(net, rows, [rule], epochs=3, lr=1e-3, engine=engine)
        losses.append([ftlab.step(state, rows[number % 2])["loss"] for number in range(6)])
        assert any(
            not torch.equal(one, other) for one, other in zip(net.parameters(), origin.parameters(), strict=False)
        )
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_a_mixed_weight_is_packed(kind):
    net = made(kind, dropout=0.0).train()
    origin = {name: param.detach() * 0.5 for name, param in net.named_parameters()}
    mixed = Mixout(0.5).prepare(net, Now(origin=origin))
    torch.manual_seed(0)
    expected = scores_and_gradients(mixed, batch(net))
    torch.manual_seed(0)
    with packed_passes(mixed) as used:
        assert_equal(scores_and_gradients(mixed, batch(net)), expected)
    assert used.packed


def test_a_loss_that_reads_every_token_gets_every_token():
    net = made("bert", dropout=0.0).train()
    rows = batch(net)

    def mean_of_tokens(model, rows):
        hidden = model.base_model(rows["input_ids"], attention_mask=rows["attention_mask"]).last_hidden_state
        return (hidden * rows["attention_mask"][..., None]).sum() / rows["attention_mask"].sum()

    expected = mean_of_tokens(net, rows)
    with packed_passes(net, first_only=True):
        torch.testing.assert_close(mean_of_tokens(net, rows), expected)
        states = net(rows["input_ids"], attention_mask=rows["attention_mask"], output_hidden_states=True).hidden_states
    assert [one.shape for one in states] == [(6, 9, 16)] * 4


def test_accumulated_parts_are_packed_each_for_itself():
    losses = []
    for parts in (1, 3):
        net = made("bert", dropout=0.0)
        rows = batch(net)
        pieces = [{name: tensor[part::parts] for name, tensor in rows.items()} for part in range(parts)]
        state = ftlab.begin(net, [rows], epochs=3, lr=1e-3, engine="fast-fp32")
        losses.append([ftlab.step(state, pieces)["loss"] for _ in range(3)])
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)


def test_who_listens_to_the_body_hears_every_token():
    net, heard = made("bert").eval(), []
    rows = batch(net)
    expected = logits_of(net, rows)
    net.bert.register_forward_hook(lambda module, given, out: heard.append(out.last_hidden_state.shape))
    with packed_passes(net, first_only=True) as used:
        torch.testing.assert_close(logits_of(net, rows), expected, rtol=1e-5, atol=1e-5)
    assert used.packed
    assert heard == [(6, 9, 16)]


def test_with_gradient_checkpointing_nothing_is_packed():
    net = made("bert", dropout=0.0).train()
    rows = batch(net)
    expected = scores_and_gradients(net, rows)
    for block in net.bert.encoder.layer:
        block.gradient_checkpointing = True
        block._gradient_checkpointing_func = functools.partial(checkpoint, use_reentrant=False)
    with packed_passes(net) as used:
        found = scores_and_gradients(net, rows)
    assert not used.packed
    assert_equal(found, expected)


@pytest.mark.parametrize("reentrant", [False, True])
def test_with_gradient_checkpointing_dropout_is_the_same_when_it_is_run_again(reentrant):
    weights = {}
    for engine in ("reference", "fast-fp32"):
        net = made("bert", dropout=0.3)
        for block in net.bert.encoder.layer:
            block.gradient_checkpointing = True
            block._gradient_checkpointing_func = functools.partial(checkpoint, use_reentrant=reentrant)
        rows = batch(net, "even")
        state = ftlab.begin(net, [rows], epochs=2, lr=0.1, engine=engine, optimizer="sgd")
        for _ in range(2):
            ftlab.step(state, rows)
        weights[engine] = torch.cat([param.detach().flatten() for param in net.parameters()])
    torch.testing.assert_close(weights["fast-fp32"], weights["reference"], rtol=1e-5, atol=1e-5)


def test_what_stood_in_for_a_module_before_stands_there_afterwards():
    net = made("electra", dropout=0.0)
    origin = {name: param.detach() * 0.5 for name, param in net.named_parameters()}
    net = Mixout(0.5).prepare(net, Now(origin=origin))
    for module in (*frozen_cache.input_modules(net.electra), net.electra.encoder.layer[0]):
        module.requires_grad_(False)
    state = ftlab.begin(net, [batch(net)], lr=1e-3, engine="fast-fp32")
    ftlab.step(state, batch(net))
    assert "forward" in vars(net.electra.embeddings_project)
