"""The loop: it equals a hand-written one, splits batches without changing the update, repeats bit for bit, and stops."""

import copy
import math
from dataclasses import dataclass
from typing import final

import pytest
import torch
from datasets import DatasetDict
from torch import nn

import ftlab
from ftlab.data.batches import Batches, encode
from ftlab.errors import ArgumentError, DivergenceError
from ftlab.losses.classification import CrossEntropy, Focal
from ftlab.models.load import load_model
from ftlab.rule import GradientRule, Penalty, Prepare, Project, Schedule
from ftlab.training.optimizers import WEIGHT_DECAY
from tests.tiny import tiny_resnet


@pytest.fixture
def data(small):
    return small


@pytest.fixture
def model(bert, data):
    return load_model(bert, data)


def still(model):
    """Switch dropout off, so that two ways of computing the same thing can be compared."""
    for module in model.net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    for layer in model.net.base_model.encoder.layer:
        layer.attention.self.dropout.p = 0.0
    return model


def weights(net):
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_an_empty_recipe_is_a_hand_written_loop_exactly(model, data):
    batches = Batches(encode(model, data["train"], 64), 8)
    net = copy.deepcopy(still(model).net).train()
    decayed = [p for n, p in net.named_parameters() if not (n.endswith("bias") or "LayerNorm" in n)]
    others = [p for n, p in net.named_parameters() if n.endswith("bias") or "LayerNorm" in n]
    groups = [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, fused=True)
    state = ftlab.begin(copy.deepcopy(model), batches, lr=1e-3, loss=lambda net, batch: net(**batch).loss)
    for (batch,) in batches:
        optimizer.zero_grad()
        expected = net(**batch).loss
        expected.backward()
        optimizer.step()
        record = ftlab.step(state, batch)
        assert record["loss"] == expected.item()
    assert same(weights(state.model), weights(net))


@pytest.mark.parametrize("parts", [2, 3, 8])
def test_accumulation_makes_the_update_of_the_whole_batch(model, data, parts):
    whole = ftlab.finetune(still(model), data, epochs=1, lr=1e-2, batch_size=8, engine="reference", optimizer="sgd")
    split = ftlab.finetune(
        model, data, epochs=1, lr=1e-2, batch_size=8, engine="reference", optimizer="sgd", accumulate=parts
    )
    assert [one["loss"] for one in split.history] == pytest.approx([one["loss"] for one in whole.history], abs=1e-5)
    for name, tensor in split.model.net.state_dict().items():
        torch.testing.assert_close(tensor, whole.model.net.state_dict()[name], rtol=1e-4, atol=1e-6)


def test_decay_skips_biases_and_norms_by_type(model):
    state = ftlab.begin(model, [0])
    undecayed = {id(p) for group in state.optimizer.param_groups if not group["weight_decay"] for p in group["params"]}
    named = {name for name, param in state.params.items() if id(param) in undecayed}
    assert named == {name for name in state.params if name.endswith("bias") or "LayerNorm" in name}


def test_nan_loss_stops_before_the_update_with_step_last_loss_and_advice(model):
    state = ftlab.begin(model, [0, 1], lr=1e-3)
    batch = {
        "input_ids": torch.tensor([[5, 6, 7]]),
        "attention_mask": torch.ones(1, 3).long(),
        "labels": torch.tensor([1]),
    }
    ftlab.step(state, batch)
    before = weights(model.net)
    state.loss = lambda net, one: CrossEntropy()(net, one) * math.nan
    with pytest.raises(
        DivergenceError, match=r"loss must stay finite. Got nan at step 2, last finite loss 0\.\d+ at step 1. Lower lr"
    ):
        ftlab.step(state, batch)
    assert same(weights(model.net), before)


def test_fast_engine_follows_the_reference(model, data, monkeypatch):
    monkeypatch.setattr("ftlab.engines.fast.precision.has_bf16", lambda device: True)  # emulated where it is not
    runs = [
        ftlab.finetune(still(model), data, epochs=4, lr=1e-3, batch_size=8, engine=one) for one in ("fast", "reference")
    ]
    fast, reference = ([record["loss"] for record in run.history] for run in runs)
    assert fast != reference
    assert fast == pytest.approx(reference, abs=0.03)


def test_without_bf16_asking_for_it_is_refused_and_auto_is_fast_all_the_same(model, data, monkeypatch):
    monkeypatch.setattr("ftlab.engines.fast.precision.has_bf16", lambda device: False)
    with pytest.raises(ArgumentError, match="engine must be one that this device has"):
        ftlab.finetune(model, data, engine="fast", device="cpu")
    assert ftlab.finetune(model, data, epochs=1, device="cpu").facts["engine"] == "fast-fp32"


def test_an_optimizer_can_be_a_function_and_the_loss_and_step_too(model, data):
    steps = []

    def step(state, batch):
        steps.append(state.step)
        return ftlab.step(state, batch)

    run = ftlab.finetune(
        model,
        data,
        epochs=1,
        batch_size=8,
        optimizer=lambda groups: torch.optim.Adagrad(groups),
        loss=CrossEntropy(weight=(1.0, 2.0), smoothing=0.1),
        step=step,
    )
    assert steps == [0, 1, 2, 3, 4]
    assert run.facts["arguments"]["loss"] == "CrossEntropy(weight=(1.0, 2.0), smoothing=0.1)"


@final
@dataclass(frozen=True)
class Spy(Prepare, Penalty, GradientRule, Schedule, Project):
    """A rule of every kind, to see when each is called and with what."""

    needs_origin = True
    equation = description = "spy"

    def prepare(self, model, now):
        with torch.no_grad():
            model.classifier.bias.add_(1.0)
        CALLS.append(("prepare", now.step, sorted(now.origin)))
        return model

    def start(self, model, batches, loss, now):
        CALLS.append(("start", now.step, now.steps))
        return {"count": 0}

    def penalty(self, params, memory, now):
        CALLS.append(("penalty", now.step, None))
        return 0.5 * sum((params[name] - now.origin[name]).square().sum() for name in now.origin)

    def shape(self, grads, memory, now):
        CALLS.append(("shape", now.step, None))
        return {name: grad for name, grad in grads.items() if "query" not in name}, {"count": memory["count"] + 1}

    def schedule(self, rates, memory, now):
        CALLS.append(("schedule", now.step, None))
        return {name: rate * (0.5 if "classifier" in name else 1.0) for name, rate in rates.items()}, memory

    def project(self, params, memory, now):
        CALLS.append(("project", now.step, sorted(set(params) - set(now.grads))))
        return {name: param.clamp(-2, 2) for name, param in params.items()}, memory

    def finish(self, model, memory):
        CALLS.append(("finish", memory["count"], None))
        return model


CALLS: list = []


def test_rules_are_called_in_the_order_of_their_kinds_and_see_what_the_optimizer_sees(model, data):
    CALLS.clear()
    queries = {name: tensor for name, tensor in weights(model.net).items() if "query" in name}
    run = ftlab.finetune(model, data, epochs=1, batch_size=20, recipe=[Spy()], engine="reference")
    assert [call[0] for call in CALLS] == [
        "prepare",
        "start",
        *["penalty", "shape", "schedule", "project"] * 2,
        "finish",
    ]
    assert CALLS[-1][1] == 2  # its memory went from step to step
    left_out = next(call[2] for call in CALLS if call[0] == "project")
    assert left_out == sorted(queries)
    after = weights(run.model.net)
    assert all(torch.equal(after[name], tensor) for name, tensor in queries.items())  # no decay, no moments
    assert not any(name.startswith("classifier") for name in CALLS[0][2])  # the new head was not in the checkpoint
    assert run.history[0]["lr"] == 5e-5


def test_a_penalty_reaches_the_gradient(model, data):
    batches = Batches(encode(model, data["train"], 64), 8)
    state = ftlab.begin(still(model), batches, [Spy()], lr=1e-3, optimizer="sgd")
    with torch.no_grad():
        state.params["bert.pooler.dense.bias"].add_(3.0)
    batch = next(iter(batches))
    plain = copy.deepcopy(state.model)
    CrossEntropy()(plain, batch[0]).backward()
    ftlab.step(state, batch)
    extra = state.params["bert.pooler.dense.bias"].grad - plain.bert.pooler.dense.bias.grad
    torch.testing.assert_close(extra, torch.full_like(extra, 3.0), rtol=1e-4, atol=1e-4)  # the slope of ½(θ−θ₀)²


def test_rates_by_name_reach_the_optimizer(model, data):
    batches = Batches(encode(model, data["train"], 64), 8)
    state = ftlab.begin(model, batches, [Spy()], lr=1e-3)
    for _ in range(3):
        ftlab.step(state, next(iter(batches)))
    by_param = {id(p): group["lr"] for group in state.optimizer.param_groups for p in group["params"]}
    for name, param in state.params.items():
        assert by_param[id(param)] == (5e-4 if "classifier" in name else 1e-3)
    assert len(state.optimizer.param_groups) == 4  # decayed or not, times two rates


def test_nothing_to_train_is_refused(model):
    for param in model.net.parameters():
        param.requires_grad_(False)
    with pytest.raises(ArgumentError, match="begin: model must have parameters to train"):
        ftlab.begin(model, [0])


class Nothing(Penalty):
    """A reader's penalty that is a plain number."""

    def penalty(self, params, memory, now):
        return 0.0


@pytest.mark.parametrize("engine", ["reference", "fast-fp32"])
def test_a_penalty_may_be_a_plain_number_beside_another(model, data, engine):
    batches = Batches(encode(model, data["train"], 64), 8)
    (batch,) = next(iter(batches))
    state = ftlab.begin(model, batches, [Nothing(), ftlab.L2Penalty(0.1)], engine=engine)
    assert ftlab.step(state, batch)["penalty"] > 0
    alone = ftlab.begin(model, batches, [Nothing()], engine=engine)
    assert ftlab.step(alone, batch)["penalty"] == 0.0


@pytest.mark.parametrize(
    "loss", [CrossEntropy(weight=(1.0, 5.0)), Focal(weight=(1.0, 5.0))], ids=lambda loss: type(loss).__name__
)
def test_class_weights_in_micro_batches_make_the_update_of_the_whole_batch(model, data, loss):
    rows = encode(still(model), data["train"], 32)
    order = [place for place in range(16) if data["train"][place]["label"] == 0]
    order += [place for place in range(16) if data["train"][place]["label"] == 1]
    batch = rows.batch(order)  # the labels lie apart, so the parts have other sums of weights
    parts = [{name: tensor[part] for name, tensor in batch.items()} for part in (slice(0, 10), slice(10, 16))]
    updated = []
    for given in (batch, parts):
        state = ftlab.begin(model.copy(0), [0], lr=1e-3, loss=loss, optimizer="sgd")
        record = ftlab.step(state, given)
        updated.append((record["loss"], state.params))
    (one, params), (other, others) = updated
    assert other == pytest.approx(one, abs=1e-6)
    for name, param in params.items():
        torch.testing.assert_close(others[name], param, rtol=0, atol=1e-6)


def test_a_part_without_weight_adds_nothing(model, data):
    rows = encode(still(model), data["train"], 32)
    labels = data["train"]["label"]
    batch = rows.batch([*(i for i in range(16) if labels[i]), *(i for i in range(16) if not labels[i])])
    count = int(batch["labels"].sum())
    parts = [{name: tensor[part] for name, tensor in batch.items()} for part in (slice(0, count), slice(count, 16))]
    state = ftlab.begin(model.copy(0), [0], loss=CrossEntropy(weight=(0.0, 1.0)))
    alone = ftlab.begin(model.copy(0), [0], loss=CrossEntropy())
    assert ftlab.step(state, parts)["loss"] == pytest.approx(ftlab.step(alone, parts[0])["loss"], abs=1e-6)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    digits = ftlab.load_data("digits")
    data = DatasetDict({"train": digits["train"].select(range(33)), "test": digits["test"].select(range(20))})
    return load_model(tiny_resnet(tmp_path_factory.mktemp("resnet")), data), data


def test_a_last_batch_of_one_picture_is_trained(pictures):
    model, data = pictures
    run = ftlab.finetune(model, data, epochs=1, batch_size=16, progress=False)
    assert sorted(record["samples"] for record in run.history) == [1, 16, 16]
    run = ftlab.finetune(model, data, epochs=1, batch_size=16, accumulate=16, progress=False)
    assert math.isfinite(run.metrics["loss"])


def test_a_frozen_body_keeps_the_statistics_of_its_batch_normalisation(pictures):
    model, data = pictures
    before = {name: tensor.clone() for name, tensor in model.net.state_dict().items()}
    for recipe, moves in ((["Freeze('resnet.*')"], False), ([], True)):
        run = ftlab.finetune(model, data, epochs=1, batch_size=16, lr=1e-3, recipe=recipe, progress=False)
        after = run.model.net.state_dict()
        running = [name for name in before if name.startswith("resnet.") and "running" in name]
        assert running
        assert any(not torch.equal(after[name], before[name]) for name in running) == moves
