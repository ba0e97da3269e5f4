"""Freezing: which names are frozen, that the frozen stay bit for bit, and that the end gives everything back."""

import pytest
import torch
from torch import nn

from ftlab.errors import ArgumentError
from ftlab.experiments.tiny_run import begun, go_on, model, trained
from ftlab.formulas.bitfit import BitFit
from ftlab.formulas.freeze import Freeze, freeze
from ftlab.formulas.lora import LoRA
from ftlab.rule import Now
from ftlab.training.loop import finish

NAMES = ["embeddings.weight", "layer.1.weight", "layer.10.weight", "head.bias"]


@pytest.mark.parametrize(
    ("pattern", "frozen"),
    [
        ("layer.1.*", ["layer.1.weight"]),
        (("layer.*", "*.bias"), ["layer.1.weight", "layer.10.weight", "head.bias"]),
        ((), []),
        ("*", NAMES),
    ],
)
def test_the_names_that_are_frozen(pattern, frozen):
    assert freeze(NAMES, pattern) == frozen


def test_a_pattern_that_matches_nothing_is_refused():
    with pytest.raises(ArgumentError, match="must match a parameter"):
        freeze(NAMES, "layer.2.*")
    with pytest.raises(ArgumentError, match="must match a parameter"):
        begun([Freeze("*.layer.7.*")])


def test_frozen_parameters_stay_bit_for_bit_and_all_others_move():
    before, after = dict(model().named_parameters()), dict(trained([Freeze("bert.*")], 3).model.named_parameters())
    for name, param in before.items():
        assert torch.equal(param, after[name]) == name.startswith("bert."), name


def test_nothing_frozen_has_a_gradient_or_a_place_in_the_optimizer():
    state = begun([Freeze("bert.*")])
    go_on(state, 2)
    assert sorted(state.params) == ["classifier.bias", "classifier.weight"]
    assert sum(len(group["params"]) for group in state.optimizer.param_groups) == 2
    assert all(param.grad is None for name, param in state.model.named_parameters() if name.startswith("bert."))


def test_two_rules_and_what_was_frozen_before_each_give_back_their_own():
    net = trained(
        [Freeze("*.embeddings.*"), Freeze("*embeddings.word*")],
        1,
        change=lambda net: net.requires_grad_(True) and _hold(net, "bert.embeddings.word_embeddings.weight"),
    ).model
    assert [name for name, param in net.named_parameters() if not param.requires_grad] == [
        "bert.embeddings.word_embeddings.weight"
    ]


def test_it_gives_everything_back_around_other_rules_that_freeze():
    recipe = [Freeze("*.embeddings.*"), LoRA(rank=2), Freeze("classifier.*"), BitFit()]
    state = begun(recipe)
    assert not any("embeddings" in name or "classifier" in name for name in state.params)
    assert all(param.requires_grad for param in finish(state).parameters())


def test_what_is_tied_is_frozen_with_it():
    net = nn.ModuleDict({"words": nn.Embedding(4, 2), "out": nn.Linear(2, 4)})
    net["out"].weight = net["words"].weight
    Freeze("words.*").prepare(net, Now())
    assert [name for name, param in net.named_parameters() if param.requires_grad] == ["out.bias"]


def test_rule_tells_its_patterns_in_words():
    assert Freeze(("a.*", "b")).equation == "θ[a.*, b] = θ₀"
    assert Freeze(("a.*", "b")).description == "freeze a.*, b"
    assert Freeze(()).equation == "θ = θ"
    assert Freeze(()).description == "freeze nothing"


def test_everything_frozen_is_refused():
    with pytest.raises(ArgumentError, match="model must have parameters to train"):
        begun([Freeze("*")])


def _hold(net, name):
    dict(net.named_parameters())[name].requires_grad_(False)
    return net


MUTANTS = (
    ("return select(names, pattern) if", "return list(names) if"),
    ("if pattern else []", "if pattern else list(names)"),
    ("for name in freeze(params, self.pattern))", "for name in params.keys() - set(freeze(params, self.pattern)))"),
    ("        unfreeze_params(model)\n", ""),
    ('if self.pattern else "θ = θ"', 'if True else ""'),
)
