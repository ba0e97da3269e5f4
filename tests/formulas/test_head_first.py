"""Head first: which gradients are left, that the body waits untouched, and that then all move."""

import math

import pytest
import torch
from torch import nn

from ftlab.errors import ArgumentError
from ftlab.experiments.tiny_run import STEPS, batch, begun, go_on, model
from ftlab.formulas.freeze import Freeze
from ftlab.formulas.head_first import HeadFirst, head_first
from ftlab.formulas.lora import LoRA
from ftlab.formulas.prior_decay import PriorDecay
from ftlab.formulas.soft_threshold import SoftThreshold
from ftlab.models.load import Pretrained
from ftlab.rule import Now
from ftlab.training.loop import begin, step


@pytest.mark.parametrize(("now", "left"), [(0, ["head"]), (1, ["head"]), (2, ["body", "head"]), (9, ["body", "head"])])
def test_the_body_waits_for_two_updates(now, left):
    grads = {"body": torch.ones(2), "head": torch.ones(2)}
    kept = head_first(grads, {"body"}, now, 2)
    assert list(kept) == left
    assert all(kept[name] is grads[name] for name in kept)
    assert list(grads) == ["body", "head"]


def moved(state, before):
    return {name for name, param in state.model.named_parameters() if not torch.equal(param, before[name])}


@pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
def test_in_real_steps_only_the_head_moves_at_first_and_the_body_has_no_moments(share):
    state, before = begun([HeadFirst(share)]), {name: p.clone() for name, p in model().named_parameters()}
    alone = math.ceil(share * STEPS)
    go_on(state, alone)
    assert moved(state, before) == {"classifier.weight", "classifier.bias"}
    assert len(state.optimizer.state) == 2
    if alone < STEPS:
        go_on(state, alone + 1)
        assert len(moved(state, before)) > 20


def test_what_was_not_in_the_checkpoint_is_the_head():
    net = model()
    fresh = frozenset({"bert.pooler.dense.weight", "classifier.weight"})
    state = begin(Pretrained(net, None, "tiny", None, fresh), [batch(0)], [HeadFirst(1.0)], epochs=3)
    before = {name: param.detach().clone() for name, param in net.named_parameters()}
    step(state, batch(0))
    assert moved(state, before) == fresh


def without_dropout(net):
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return net


def by_requires_grad(alone):
    """LP-FT written by hand: the body is frozen, then it is not."""
    net = without_dropout(model()).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2, weight_decay=0.0)
    for number in range(STEPS):
        net.bert.requires_grad_(number >= alone)
        rows = batch(number % 2)
        optimizer.zero_grad()
        logits = net(rows["input_ids"], rows["attention_mask"]).logits
        nn.functional.cross_entropy(logits, rows["labels"]).backward()
        optimizer.step()
    return dict(net.named_parameters())


@pytest.mark.parametrize("alone", [0, 2, 3, 6])
def test_it_is_a_linear_probe_and_then_the_training_of_everything_written_by_hand(alone):
    state = begin(
        without_dropout(model()),
        [batch(0), batch(1)],
        [HeadFirst(alone / STEPS)],
        epochs=STEPS // 2,
        lr=1e-2,
        optimizer=lambda groups: torch.optim.AdamW([one | {"weight_decay": 0.0} for one in groups]),
    )
    go_on(state, STEPS)
    for name, param in by_requires_grad(alone).items():
        torch.testing.assert_close(state.params[name], param, rtol=1e-5, atol=1e-6)


def test_a_model_without_a_head_is_refused():
    with pytest.raises(
        ArgumentError, match="HeadFirst: model must have a head. Got none in Sequential. Leave HeadFirst out"
    ):
        begin(nn.Sequential(nn.Linear(2, 2)), [0], [HeadFirst(0.5)])
    with pytest.raises(ArgumentError, match="HeadFirst: model must have a head"):
        begun([Freeze("classifier.*"), HeadFirst(0.5)])
    assert begin(nn.Sequential(nn.Linear(2, 2)), [0], [HeadFirst(0.0)]).memory == [[]]


def test_rule_warns_of_what_it_makes_wait_and_of_what_moves_the_body():
    rule = HeadFirst(1.0)
    said = rule.cautions([LoRA(), rule, PriorDecay(0.1), SoftThreshold(0.1)])
    assert [one.split()[1] for one in said] == ["also", "may", "never"]
    assert said[1] == "SoftThreshold may move the body that HeadFirst still freezes."
    assert rule.cautions([rule]) == ["HeadFirst(1.0) never trains the body: it is a linear probe."]
    assert HeadFirst(0.5).cautions([HeadFirst(0.5)]) == HeadFirst(0.0).cautions([SoftThreshold(0.1)]) == []


@pytest.mark.parametrize("fresh", [frozenset(), frozenset({"classifier.weight", "classifier.bias"})])
def test_what_lora_adds_waits_with_the_body_whether_the_head_is_new_or_loaded(fresh):
    net = model()
    state = begin(Pretrained(net, None, "tiny", None, fresh), [batch(0)], [LoRA(rank=2), HeadFirst(0.5)], epochs=4)
    before = {name: param.detach().clone() for name, param in net.named_parameters()}
    for _ in range(2):
        step(state, batch(0))
    assert moved(state, before) == {"classifier.weight", "classifier.bias"}
    step(state, batch(0))
    assert any("lora_" in name for name in moved(state, before))


def test_the_head_of_a_loaded_model_is_the_same_where_the_body_is_frozen():
    state, before = (
        begun([Freeze("bert.*"), HeadFirst(1.0)]),
        {name: p.clone() for name, p in model().named_parameters()},
    )
    go_on(state, 1)
    assert moved(state, before) == {"classifier.weight", "classifier.bias"}


@pytest.mark.parametrize(("share", "steps", "alone"), [(0.07, 100, 7), (0.55, 100, 55), (0.3, 10, 3), (0.3, 9, 3)])
def test_a_share_is_so_many_updates_whatever_the_last_digit(share, steps, alone):
    params = {"body.weight": torch.ones(1), "head.weight": torch.ones(1)}
    for at, left in ((alone - 1, 1), (alone, 2)):
        now = Now(step=at, steps=steps, params=params, origin={"body.weight": torch.ones(1)})
        assert len(HeadFirst(share).shape(params, ["head.weight"], now)[0]) == left


MUTANTS = (
    ("if step >= alone or", "if step > alone or"),
    ("or name not in body}", "or name in body}"),
    ("round(self.share * now.steps, 9)", "round(self.share * now.steps_per_epoch, 9)"),
    ("round(self.share * now.steps, 9)", "self.share * now.steps"),
    (' if ".lora_" not in name]', "]"),
    ("not in name], now.origin)", "not in name], ())"),
    ("if not head and self.share:", "if False:"),
    ("if moving and self.share:", "if moving:"),
)
