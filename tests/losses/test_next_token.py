"""The loss of a language model: against transformers' own, the mean over target tokens, and accumulation."""

import pytest
import torch
from datasets import Dataset, DatasetDict

import ftlab
from ftlab.data.batches import count_targets, encode
from ftlab.losses.next_token import NextToken
from tests.tiny import WORDS, tiny_llama


@pytest.fixture(scope="module")
def data():
    rows = [{"prompt": f"{WORDS[i]} {WORDS[2 * i]}", "response": " ".join(WORDS[i : i + 1 + i % 9])} for i in range(24)]
    return DatasetDict({"train": Dataset.from_list(rows[:16]), "test": Dataset.from_list(rows[16:])})


@pytest.fixture(scope="module")
def model(tmp_path_factory, data):
    return ftlab.load_model(tiny_llama(tmp_path_factory.mktemp("llama")), data)


def test_it_is_the_loss_that_transformers_computes_for_the_same_labels(model, data):
    batch = encode(model, data["train"], 64).batch(range(16))
    expected = model.net(**batch).loss
    torch.testing.assert_close(NextToken()(model.net, batch), expected, rtol=1e-5, atol=1e-6)


def test_padding_and_prompts_are_no_targets(model, data):
    encoded = encode(model, data["train"], 64)
    batch = encoded.batch(range(16))
    labels = batch["labels"]
    assert torch.equal(labels[labels >= 0], batch["input_ids"][labels >= 0])
    assert (labels[batch["attention_mask"] == 0] == -100).all()
    responses = [model.processor.decode(row[row >= 0]) for row in labels]
    assert responses == [f"{response} [SEP]" for response in data["train"]["response"]]
    changed = dict(batch, input_ids=batch["input_ids"].masked_fill(batch["attention_mask"] == 0, 9))
    torch.testing.assert_close(NextToken()(model.net, changed), NextToken()(model.net, batch))


def test_accumulation_weighs_micro_batches_by_their_target_tokens(model, data):
    """The mean over the micro-batches' means is another number: a short response would count as much as a long one."""
    losses = {}
    for accumulate in (1, 2, 4, 8):
        run = ftlab.finetune(
            model, data, epochs=1, lr=1e-2, batch_size=8, accumulate=accumulate, engine="reference", progress=False
        )
        losses[accumulate] = [record["loss"] for record in run.history]
    for accumulate in (2, 4, 8):
        assert losses[accumulate] == pytest.approx(losses[1], rel=1e-5)
    encoded = encode(model, data["train"], 64)
    parts = [encoded.batch([0, 1]), encoded.batch([8, 7])]
    counts = [count_targets(part) for part in parts]
    assert counts[0] < counts[1] / 3
    with torch.no_grad():
        whole = NextToken()(model.net, encoded.batch([0, 1, 8, 7]))
        each = [NextToken()(model.net, part) for part in parts]
    weighted = sum(count * loss for count, loss in zip(counts, each, strict=True)) / sum(counts)
    torch.testing.assert_close(weighted, whole)
    assert abs(float(sum(each) / 2 - whole)) > 1e-4


def test_the_gradient_of_an_update_is_that_of_all_its_target_tokens(model, data):
    encoded = encode(model, data["train"], 64)
    rows = list(range(8))
    state = ftlab.begin(model.copy(), [0], lr=1e-3, loss=NextToken())
    ftlab.step(state, [encoded.batch(rows[part::4]) for part in range(4)])
    whole = ftlab.begin(model.copy(), [0], lr=1e-3, loss=NextToken())
    ftlab.step(whole, encoded.batch(rows))
    for name, param in state.params.items():
        torch.testing.assert_close(param.grad, whole.params[name].grad, rtol=1e-4, atol=1e-6)
