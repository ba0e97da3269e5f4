"""Head first: which gradients are left, that the body waits untouched, and that then all move."""

import math

import pytest
import torch

from ftlab.contract import STEPS, batch, begun, go_on, model
from ftlab.errors import Misused
from ftlab.formulas import HeadFirst, head_first
from ftlab.models import Pretrained
from ftlab.training import begin, step


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


def test_afterwards_it_is_the_plain_training_of_what_is_there():
    waiting, plain = begun([HeadFirst(0.5)]), begun([])
    go_on(waiting, 3)
    with torch.no_grad():
        for name, param in plain.model.named_parameters():
            param.copy_(dict(waiting.model.named_parameters())[name])
    record, expected = step(waiting, batch(1)), step(plain, batch(1))
    assert record["step"] == 4
    assert math.isfinite(record["loss"] + expected["loss"])
    assert len(waiting.optimizer.state) == len(plain.optimizer.state)


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan, "half"])
def test_a_share_outside_of_0_to_1_is_refused(share):
    with pytest.raises(Misused, match="HeadFirst: share must be a number at least 0 and at most 1"):
        HeadFirst(share)


MUTANTS = (
    ("if step >= alone or", "if step > alone or"),
    ("or name not in body}", "or name in body}"),
    ("math.ceil(self.share * now.steps)", "math.ceil(self.share * now.steps_per_epoch)"),
    ("= now.origin.keys()", "= set()"),
)
