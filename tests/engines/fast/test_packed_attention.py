"""Causal models on packed texts give the scores and gradients of padded ones, at the targets alone."""

import copy

import pytest
import torch
from torch import nn

import ftlab
from ftlab.data.conversations import IGNORE
from ftlab.engines.fast.packed_attention import attend
from ftlab.engines.fast.packed_row import shared_row
from ftlab.engines.fast.packing import packed_passes
from ftlab.engines.fast.parity import packed_context, parity_of
from ftlab.formulas.lora import LoRA
from ftlab.losses.next_token import NextToken, target_logits
from tests.engines.fast.models import LANGUAGE_MODELS, assert_equal, made_language_model, next_token_batch

ALIKE = (0, 1, 4)


def scores_and_gradients(net, rows):
    net.zero_grad()
    scores, _ = target_logits(net, rows)
    scores.square().sum().backward()
    grads = {name: param.grad.clone() for name, param in net.named_parameters() if param.grad is not None}
    return scores.detach(), grads


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("alike", ALIKE)
@pytest.mark.parametrize("kind", LANGUAGE_MODELS)
def test_scores_and_gradients_are_the_padded_ones(kind, alike, share):
    net = made_language_model(kind).eval()
    rows = next_token_batch(alike)
    expected = scores_and_gradients(net, rows)
    with packed_passes(net, share=share) as used:
        assert_equal(scores_and_gradients(net, rows), expected)
    assert used.packed


@pytest.mark.parametrize("alike", ALIKE)
@pytest.mark.parametrize("kind", LANGUAGE_MODELS)
def test_the_kernel_for_long_texts_computes_the_same(kind, alike, monkeypatch):
    monkeypatch.setattr("ftlab.engines.fast.packed_attention.LONG_ENOUGH", 1)
    test_scores_and_gradients_are_the_padded_ones(kind, alike, True)


@pytest.mark.parametrize("kind", LANGUAGE_MODELS)
def test_every_such_model_passes_the_check(kind):
    net = made_language_model(kind)
    with packed_context(net, next_token_batch(4)):
        pass
    assert parity_of(net).same
    assert parity_of(net).shortcut


def test_only_targets_reach_the_head_and_common_tokens_the_layers_once():
    net, seen = made_language_model("llama").eval(), {}
    rows = next_token_batch(4)
    net.lm_head.register_forward_hook(lambda module, given, out: seen.update(head=given[0].shape[1]))
    forward = net.model.embed_tokens.forward

    def embedded(ids):
        seen["tokens"] = ids.numel()
        return forward(ids)

    targets = int((rows["labels"][:, 1:] != IGNORE).sum())
    tokens, texts = int(rows["attention_mask"].sum()), len(rows["labels"])
    with packed_passes(net, share=True) as used:
        target_logits(net, rows)
    assert used.packed
    assert seen["head"] == targets
    net.model.embed_tokens.forward = embedded  # a replaced forward: the model runs padded
    with packed_passes(net, share=True) as used:
        target_logits(net, rows)
    assert not used.packed
    assert seen["tokens"] == rows["input_ids"].numel()
    assert (
        len(shared_row(rows["input_ids"], rows["attention_mask"]).pack(rows["input_ids"]))
        < tokens - 3 * (texts - 1) + 8
    )


def test_with_dropout_nothing_is_shared():
    net = made_language_model("gpt2", dropout=0.1).train()
    torch.manual_seed(0)
    rows = next_token_batch(4)
    twice = {name: torch.cat([tensor[:1]] * 2) for name, tensor in rows.items()}
    with packed_passes(net, share=True) as used:
        scores, _ = target_logits(net, twice)
    assert used.packed
    assert not torch.allclose(*scores.chunk(2))  # each text has masks of its own


@pytest.mark.parametrize("recipe", [[], [LoRA(rank=2)]], ids=["all", "lora"])
@pytest.mark.parametrize("kind", LANGUAGE_MODELS)
def test_training_has_the_losses_of_the_reference(kind, recipe):
    losses = []
    for engine in ("reference", "fast-fp32"):
        net = copy.deepcopy(made_language_model(kind))
        batches = [next_token_batch(4, number) for number in range(2)]
        state = ftlab.begin(net, batches, recipe, epochs=3, lr=1e-3, loss=NextToken(), engine=engine)
        parts = [[{name: tensor[part::2] for name, tensor in batch.items()} for part in range(2)] for batch in batches]
        losses.append([ftlab.step(state, parts[number % 2])["loss"] for number in range(6)])
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)
    assert losses[0][-1] != losses[0][0]


def test_an_argument_that_would_change_the_attention_is_refused():
    rows = next_token_batch(0)
    q = torch.zeros(1, 2, 8, 4)
    with pytest.raises(NotImplementedError, match="packed attention does not know softcap"):
        attend(
            nn.Identity(),
            q,
            q,
            q,
            None,
            ftlab_packed=shared_row(rows["input_ids"], rows["attention_mask"]),
            softcap=5.0,
        )
