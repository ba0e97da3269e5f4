"""EWC: by hand, its gradient, and its place in a step."""

import numpy as np
import pytest
import torch
from torch import nn

from ftlab.experiments.tiny_run import batch, begun, go_on, model
from ftlab.formulas.ewc import EWC, ewc
from ftlab.formulas.fisher_information import fisher_information
from ftlab.formulas.lora import LoRA
from ftlab.losses.classification import CrossEntropy
from ftlab.models.load import Pretrained
from ftlab.rule import microbatches
from ftlab.training.loop import begin, step
from tests.formulas.classifiers import Mlp


def draw(seed):
    chance = torch.Generator().manual_seed(seed)
    shapes = {"weight": (4, 3), "bias": (3,)}
    return {name: torch.randn(shape, generator=chance, dtype=torch.double) for name, shape in shapes.items()}


def test_three_numbers_by_hand():
    # 3 / 2 * (2 * 1^2 + 0 * 5^2 + 1 * 2^2) = 9; the parameter without origin is free
    params = {"w": torch.tensor([2.0, 6.0, -1.0]), "new": torch.tensor([7.0])}
    origin = {"w": torch.tensor([1.0, 1.0, 1.0])}
    assert ewc(params, origin, {"w": torch.tensor([2.0, 0.0, 1.0])}, 3.0) == 9


def test_it_is_numpys_weighed_distance():
    params, origin, fisher = draw(0), draw(1), {name: one.square() for name, one in draw(2).items()}
    expected = sum((fisher[n].numpy() * np.subtract(params[n].numpy(), origin[n].numpy()) ** 2).sum() for n in params)
    assert ewc(params, origin, fisher, 0.8).item() == pytest.approx(0.4 * expected, rel=1e-12)


def test_gradcheck_and_the_pull():
    params, origin, fisher = draw(0), draw(1), {name: one.square() for name, one in draw(2).items()}
    leaves = [param.requires_grad_() for param in params.values()]
    assert torch.autograd.gradcheck(
        lambda *values: ewc(dict(zip(params, values, strict=True)), origin, fisher, 0.8), tuple(leaves)
    )
    ewc(params, origin, fisher, 0.8).backward()
    for name, leaf in params.items():
        torch.testing.assert_close(leaf.grad, 0.8 * fisher[name] * (leaf.detach() - origin[name]))


def test_with_equal_importance_it_is_half_the_squared_distance_and_at_the_origin_0():
    params, origin = draw(0), draw(1)
    ones = {name: torch.ones_like(one) for name, one in params.items()}
    distance = sum((params[name] - origin[name]).norm() ** 2 for name in params)
    assert ewc(params, origin, ones, 1.0).item() == pytest.approx(distance.item() / 2)
    assert ewc(origin, origin, ones, 1.0) == 0
    assert ewc(params, {}, {}, 1.0) == 0


def test_the_rule_remembers_the_fisher_of_its_first_samples_and_holds_the_parameters():
    rule, free = begun([EWC(1e3, samples=10)]), begun([])
    expected = fisher_information(model(), [batch(0), batch(1)], CrossEntropy(), list(rule.params), 10)
    assert all(torch.equal(rule.memory[0][name], expected[name]) for name in expected)
    assert len(list(microbatches([batch(0), batch(1)]))) == 2
    go_on(rule, 4)
    go_on(free, 4)
    origin, weights = dict(model().named_parameters()), [dict(one.model.named_parameters()) for one in (rule, free)]
    held, moved = (sum((expected[n] * (one[n] - origin[n]).square()).sum() for n in expected) for one in weights)
    assert held < moved


def test_a_strength_of_0_measures_nothing_and_gives_no_gradient():
    net = Mlp()
    net.idle = nn.Linear(3, 3)
    rows, before = {"x": torch.ones(2, 3), "labels": torch.tensor([0, 1])}, net.idle.weight.detach().clone()
    state = begin(net, [rows], [EWC(0.0)], lr=0.1)
    assert state.memory == [None]
    step(state, rows)
    assert torch.equal(net.idle.weight, before)  # a gradient of 0 would have let AdamW's decay at it
    params = {"w": torch.ones(2, requires_grad=True)}
    assert not ewc(params, {"w": torch.zeros(2)}, {"w": torch.ones(2)}, 0.0).requires_grad


def test_without_parameters_or_with_nothing_that_was_loaded_it_is_0():
    assert ewc({}, {}, {}, 1.0) == 0
    fresh = frozenset({"classifier.weight", "classifier.bias"})
    state = begin(Pretrained(model(), None, "tiny", None, fresh), [batch(0)], [LoRA(rank=2), EWC(1.0, samples=4)])
    assert state.memory[1] == {}
    assert step(state, batch(0))["penalty"] == 0


MUTANTS = (
    ("(params[name] - origin[name]).square()", "(params[name] - origin[name]).abs()"),
    ("fisher[name] * (params", "fisher[name].square() * (params"),
    ("return strength / 2 *", "return strength *"),
    ("names, self.samples)", "names, 1)"),
    ("for name in params if name in origin and", "for name in list(fisher)[:1] if name in origin and"),
    ("if name in origin and strength]", "if name in origin]"),
    ("        if not self.strength:", "        if False:"),
)
