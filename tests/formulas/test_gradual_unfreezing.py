"""Gradual unfreezing: which gradients are left, against ULMFiT's own way with requires_grad, and in real steps."""

import pytest
import torch
from torch import nn

from ftlab.experiments.tiny_run import PER_EPOCH, STEPS, batch, begun, go_on, model as small_bert
from ftlab.formulas.freeze import Freeze
from ftlab.formulas.gradual_unfreezing import GradualUnfreezing, gradual_unfreezing
from ftlab.formulas.prior_decay import PriorDecay
from ftlab.formulas.soft_threshold import SoftThreshold
from ftlab.losses.classification import CrossEntropy
from ftlab.parameters import depths
from ftlab.rule import Now
from ftlab.training.loop import begin, finish, step


def moved(state, before):
    return {name for name, param in state.model.named_parameters() if not torch.equal(param, before[name])}


def values(model):
    return {name: param.detach().clone() for name, param in model.named_parameters()}


def above(model, groups):
    """The names of the upper groups, by the modules themselves."""
    parts = [model.bert.embeddings, *model.bert.encoder.layer, nn.ModuleList([model.bert.pooler, model.classifier])]
    chosen = {id(param) for part in parts[max(0, len(parts) - groups) :] for param in part.parameters()}
    return {name for name, param in model.named_parameters() if id(param) in chosen}


def chain(tokens):
    """A classifier without a list of layers; its depths are 0, 1, 2, 3."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(tokens, 4), nn.Flatten(), nn.Linear(28, 4), nn.Linear(4, 4), nn.Linear(4, 2))


def loss(net, rows):
    return nn.functional.cross_entropy(net(rows["input_ids"]), rows["labels"])


@pytest.mark.parametrize(
    ("groups", "left"),
    [(0, []), (1, ["head"]), (2, ["b", "c", "head"]), (3, ["a", "b", "c", "head"]), (4, ["a", "b", "c", "head"])],
)
def test_the_upper_groups_are_left_worked_by_hand(groups, left):
    # a stands at 0, b and c at 1, the head at 2: n groups are those deeper than 2 - n
    grads = {name: torch.ones(2) for name in ("a", "b", "c", "head")}
    kept = gradual_unfreezing(grads, {"a": 0, "b": 1, "c": 1, "head": 2}, groups)
    assert list(kept) == left
    assert all(kept[name] is grads[name] for name in kept)
    assert list(grads) == ["a", "b", "c", "head"]


def test_a_head_that_is_not_trained_is_still_the_top():
    assert gradual_unfreezing({"b": torch.ones(1)}, {"b": 1, "head": 2}, 1) == {}
    assert gradual_unfreezing({}, {}, 1) == {}


@pytest.mark.parametrize("groups", [0, 1, 2, 3, 4, 9])
def test_the_groups_of_a_bert_are_its_modules_from_the_top(groups):
    model = small_bert()
    assert set(gradual_unfreezing(values(model), depths(model), groups)) == above(model, groups)


def by_requires_grad(epochs):
    """ULMFiT as its authors train: freeze, unfreeze a group at each epoch; a frozen one has no gradient at all."""
    net = chain(50)
    groups = [list(net[index].parameters()) for index in (4, 3, 2, 0)]
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2, weight_decay=0.0)
    for epoch in range(epochs):
        for index, group in enumerate(groups):
            for param in group:
                param.requires_grad_(index <= epoch)
        for number in range(PER_EPOCH):
            optimizer.zero_grad()
            loss(net, batch(number)).backward()
            optimizer.step()
    return values(net)


@pytest.mark.parametrize("epochs", [1, 2, 4, 5])
def test_real_steps_equal_those_with_requires_grad(epochs):
    state = begin(
        chain(50),
        [batch(number) for number in range(PER_EPOCH)],
        [GradualUnfreezing()],
        epochs=5,
        lr=1e-2,
        loss=loss,
        optimizer=lambda groups: torch.optim.AdamW([one | {"weight_decay": 0.0} for one in groups]),
    )
    for number in range(epochs * PER_EPOCH):
        step(state, batch(number % PER_EPOCH))
    found, expected = values(state.model), by_requires_grad(epochs)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_in_real_steps_a_group_joins_with_each_epoch_and_one_that_waits_has_no_moments():
    state = begun([GradualUnfreezing()])
    before = values(state.model)
    for epoch in range(STEPS // PER_EPOCH):
        go_on(state, PER_EPOCH * (epoch + 1))
        learning = above(state.model, epoch + 1)
        assert moved(state, before) <= learning
        assert {name for name in moved(state, before) if name.endswith("weight")} == {
            name for name in learning if name.endswith("weight")
        }
        assert {id(param) for param in state.optimizer.state} == {id(state.params[name]) for name in learning}
    assert all(param.requires_grad for param in finish(state).parameters())


@pytest.mark.parametrize(
    ("epochs_per_layer", "groups"),
    [
        (0.0, [4, 4, 4, 4, 4, 4]),
        (0.1, [1, 2, 3, 4, 4, 4]),  # at least one update each
        (0.5, [1, 2, 3, 4, 4, 4]),
        (1, [1, 1, 2, 2, 3, 3]),
        (1.5, [1, 1, 1, 2, 2, 2]),
        (100.0, [1, 1, 1, 1, 1, 1]),
    ],
)
def test_groups_join_after_so_many_epochs_worked_by_hand(epochs_per_layer, groups):
    # two updates make an epoch; a BERT of two layers has four groups
    model = small_bert()
    grads, rule = values(model), GradualUnfreezing(epochs_per_layer)
    for number, count in enumerate(groups):
        now = Now(step=number, steps=6, steps_per_epoch=2, params=grads)
        kept, memory = rule.shape(grads, depths(model), now)
        assert set(kept) == above(model, count)
        assert memory == depths(model)


def test_a_run_that_ends_before_all_learn_is_mentioned(mentioned):
    begun([GradualUnfreezing(0.5)])
    begun([Freeze("*embeddings*"), GradualUnfreezing(1.0)])
    begun([GradualUnfreezing(0.0)])
    assert mentioned() == ""
    begun([GradualUnfreezing(1.0)])
    assert "GradualUnfreezing: the run is too short: it will train 3 of 4 groups." in mentioned()


def test_rule_tells_when_a_group_joins_and_what_may_move_those_that_wait():
    assert GradualUnfreezing(2).equation == "g_k ← none while k ≤ D − 1 − ⌊epochs/2⌋"
    assert GradualUnfreezing(0).equation == "g ← g"
    assert "the next layer below after every epoch" in GradualUnfreezing().description
    assert "the next layer below after every 0.5 epochs" in GradualUnfreezing(0.5).description
    assert "train everything from the start" in GradualUnfreezing(0).description
    recipe = [GradualUnfreezing(), SoftThreshold(0.1)]
    assert GradualUnfreezing().cautions(recipe) == [
        "SoftThreshold may move layers that GradualUnfreezing still freezes."
    ]
    assert GradualUnfreezing().cautions([PriorDecay(0.1)]) == []  # what waits is where PriorDecay pulls to
    assert GradualUnfreezing().cautions([GradualUnfreezing()]) == []
    assert GradualUnfreezing(0).cautions(recipe) == []


def test_the_depths_are_remembered_from_the_start():
    model = small_bert()
    now = Now(steps=8, steps_per_epoch=2, params=values(model))
    assert GradualUnfreezing().start(model, [batch(0)], CrossEntropy(), now) == depths(model)


MUTANTS = (
    ("if depths[name] > bottom}", "if depths[name] >= bottom}"),
    ("if depths[name] > bottom}", "if depths[name] < groups}"),
    ("max(depths.values(), default=0) - groups", "len(grads) - groups"),
    ("1 + max(0, step) // max(", "max(0, step) // max("),
    ("* now.steps_per_epoch)", "* now.steps)"),
    ("self._groups(now.step, now, top)), memory", "self._groups(now.steps - 1, now, top)), memory"),
    ("reached < top - lowest + 1", "reached < top + 1"),
)
