"""Mixout: by hand, against loops and torch's dropout, its gradient, its laws, and its life inside a model."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

from ftlab.errors import ArgumentError
from ftlab.experiments.tiny_run import batch, begun, go_on, model as small_bert
from ftlab.formulas.mixout import Mixout, mixout
from ftlab.models.load import Pretrained
from ftlab.rule import Now
from ftlab.seeding import derive_seed
from ftlab.training.loop import begin, finish, step


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def mask(columns, probability, seed=0):
    return (torch.rand(columns, generator=seeded(seed)) >= probability).double()


@pytest.fixture
def weights():
    generator = seeded(9)
    return tuple(torch.randn(5, 8, generator=generator, dtype=torch.double) for _ in range(2))


def test_each_column_is_the_loaded_one_or_farther_from_it_worked_by_hand():
    # p = 1/2, W = 3, W0 = 1. Column mixed: (0*3 + 1*1 - 0.5*1) / 0.5 = 1; column kept: (1*3 + 0*1 - 0.5*1) / 0.5 = 5
    weight, origin = torch.full((2, 200), 3.0), torch.ones(2, 200)
    mixed = mixout(weight, origin, 0.5, seeded())
    assert set(mixed.unique().tolist()) == {1.0, 5.0}
    # p = 3/4: (1 - 0.75) / 0.25 = 1 or (3 - 0.75) / 0.25 = 9
    assert set(mixout(weight, origin, 0.75, seeded()).unique().tolist()) == {1.0, 9.0}


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_mixout_equals_the_papers_formula_in_loops(weights, probability):
    weight, origin = (one.numpy() for one in weights)
    kept = mask(8, probability).numpy()
    expected = np.empty((5, 8))
    for row in range(5):
        for column in range(8):
            chosen = weight[row, column] if kept[column] == 1 else origin[row, column]
            expected[row, column] = (chosen - probability * origin[row, column]) / (1 - probability)
    mixed = mixout(*weights, probability, seeded())
    torch.testing.assert_close(mixed, torch.from_numpy(expected), rtol=1e-12, atol=1e-13)


def test_with_an_origin_of_zero_it_is_dropout_of_the_inputs(weights):
    weight, _ = weights
    inputs = torch.randn(3, 8, generator=seeded(1), dtype=torch.double)
    torch.manual_seed(4)
    mixed = mixout(weight, torch.zeros_like(weight), 0.5)
    torch.manual_seed(4)
    kept = (torch.rand(8) >= 0.5).double()
    expected = functional.linear(inputs * kept / 0.5, weight)
    torch.testing.assert_close(functional.linear(inputs, mixed), expected, rtol=1e-12, atol=0)
    dropped = functional.dropout(torch.ones(100_000), 0.5)
    alone = mixout(torch.ones(1, 100_000), torch.zeros(1, 100_000), 0.5)
    assert set(dropped.unique().tolist()) == set(alone.unique().tolist()) == {0.0, 2.0}
    assert abs(dropped.mean() - alone.mean()) < 0.02


@pytest.mark.parametrize("probability", [0.3, 0.9])
def test_its_mean_is_the_weight(weights, probability):
    weight, origin = weights
    generator, draws = seeded(), 20_000
    mean = sum(mixout(weight, origin, probability, generator) for _ in range(draws)) / draws
    spread = (weight - origin).abs() * math.sqrt(probability / (1 - probability) / draws)
    assert ((mean - weight).abs() < 5 * spread).all()


def test_a_column_is_mixed_for_all_outputs_at_once_as_in_the_authors_code(weights):
    weight, origin = weights
    moved = mixout(weight, origin, 0.5, seeded()) != origin
    assert torch.equal(moved, moved[:1].expand_as(moved))
    assert 0 < moved[0].sum() < 8
    vector = torch.ones(1000), torch.zeros(1000)
    assert 400 < (mixout(*vector, 0.5, seeded()) != 0).sum() < 600  # one dimension: entry by entry


def test_a_column_is_the_loaded_one_with_the_given_chance():
    mixed = mixout(torch.ones(1, 100_000), torch.zeros(1, 100_000), 0.9, seeded())
    share = (mixed == 0).double().mean().item()
    assert abs(share - 0.9) < 5 * math.sqrt(0.09 / 100_000)


def test_where_nothing_was_learned_yet_it_gives_the_loaded_weight_exactly(weights):
    weight = weights[0].float()
    assert torch.equal(mixout(weight, weight.clone(), 0.9, seeded()), weight)


def test_probability_zero_is_the_identity_and_draws_nothing(weights):
    before = torch.get_rng_state()
    assert torch.equal(mixout(*weights, 0), weights[0])
    assert torch.equal(torch.get_rng_state(), before)


def test_the_generator_decides_the_draw(weights):
    first, again, other = (mixout(*weights, 0.5, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("probability", [0.0, 0.5, 0.9])
def test_its_gradient_is_that_of_finite_differences(weights, probability):
    weight, origin = (one.clone().requires_grad_() for one in weights)
    assert torch.autograd.gradcheck(lambda a, b: mixout(a, b, probability, seeded(3)), (weight, origin))


class TheirMixout(torch.autograd.Function):
    """The forward as in the paper, the backward as the authors' code writes it: gradient times mask."""

    @staticmethod
    def forward(ctx, weight, origin, kept, probability):
        ctx.save_for_backward(kept)
        return ((1 - kept) * origin + kept * weight - probability * origin) / (1 - probability)

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.saved_tensors[0], None, None, None


@pytest.mark.parametrize("probability", [0.5, 0.9])
def test_the_authors_backward_is_too_small_by_one_minus_p_and_ours_is_not(weights, probability):
    weight, origin = weights
    kept = mask(8, probability, 5)
    theirs, ours = weight.clone().requires_grad_(), weight.clone().requires_grad_()
    value = TheirMixout.apply(theirs, origin, kept, probability)
    mixed = mixout(ours, origin, probability, seeded(5))
    torch.testing.assert_close(value, mixed, rtol=1e-12, atol=1e-13)
    value.sum().backward()
    mixed.sum().backward()
    bump = torch.zeros_like(weight)
    bump[0, kept.argmax()] = 1e-3
    numeric = (mixout(weight + bump, origin, probability, seeded(5)) - mixed).sum() / 1e-3
    assert numeric.item() == pytest.approx(1 / (1 - probability), rel=1e-9)
    assert ours.grad[0, kept.argmax()].item() == pytest.approx(numeric.item(), rel=1e-9)
    assert theirs.grad[0, kept.argmax()].item() == 1
    torch.testing.assert_close(ours.grad * (1 - probability), theirs.grad, rtol=1e-12, atol=0)


def small(bias=False):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 4, bias=bias), nn.LayerNorm(4), nn.Linear(4, 3, bias=bias))


def prepared(rule, net, leave=()):
    origin = {name: param.detach().clone() for name, param in net.named_parameters() if name not in leave}
    return rule.prepare(net, Now(origin=origin)), origin


def shift(net, by=0.5):
    with torch.no_grad():
        for param in net.parameters():
            param.add_(by)


def test_rule_computes_with_mixed_weights_while_it_trains_and_with_its_own_otherwise():
    net, origin = prepared(Mixout(0.5, "0.*"), small())
    shift(net)
    inputs = torch.randn(2, 6)
    torch.manual_seed(7)
    mixed = mixout(net[0].weight, origin["0.weight"], 0.5)
    expected = net[2](net[1](inputs @ mixed.T))
    torch.manual_seed(7)
    torch.testing.assert_close(net(inputs), expected, rtol=1e-6, atol=1e-6)
    torch.manual_seed(7)
    assert not torch.equal(net(inputs), net.eval()(inputs))
    torch.testing.assert_close(net(inputs), net[2](net[1](inputs @ net[0].weight.T)), rtol=1e-6, atol=1e-6)


def test_rule_gives_the_gradient_of_the_formula_to_the_dense_weight():
    net, origin = prepared(Mixout(0.5, "0.*"), small())
    shift(net)
    inputs = torch.randn(2, 6)
    torch.manual_seed(7)
    net[0](inputs).square().sum().backward()
    weight = net[0].weight.detach().clone().requires_grad_()
    torch.manual_seed(7)
    (inputs @ mixout(weight, origin["0.weight"], 0.5).T).square().sum().backward()
    torch.testing.assert_close(net[0].weight.grad, weight.grad, rtol=1e-6, atol=1e-6)


def test_rule_treats_the_conv1d_of_gpt2_by_its_inputs_too():
    torch.manual_seed(0)
    net = nn.Sequential(Conv1D(3, 200))
    net, _ = prepared(Mixout(0.5), net)
    shift(net)
    torch.manual_seed(1)
    outputs = net(torch.eye(200))  # row i is what input i gives
    plain = net.eval()(torch.eye(200)) - net[0].bias
    mixed = outputs - net[0].bias
    gap = ((mixed - plain) / 0.5).round()  # 1 where the input is kept, -1 where it has its loaded weights
    assert set(gap.unique().tolist()) == {-1.0, 1.0}
    assert torch.equal(gap, gap[:, :1].expand_as(gap))


def test_rule_keeps_names_parameters_and_state_and_goes_without_a_trace():
    net = small(bias=True)
    before, names, classes = copy.deepcopy(net.state_dict()), dict(net.named_parameters()), [*map(type, net)]
    net, _ = prepared(Mixout(0.9), net)
    net(torch.ones(1, 6)).sum().backward()
    assert dict(net.named_parameters()) == names
    assert list(net.state_dict()) == list(before)
    assert "forward" in net[0].__dict__
    net = Mixout(0.9).finish(net, None)
    assert not any({"forward", "weight"} & set(module.__dict__) for module in net.modules())
    assert [*map(type, net)] == classes
    assert all(torch.equal(net.state_dict()[name], tensor) for name, tensor in before.items())
    torch.manual_seed(0)
    assert torch.equal(net.train()(torch.ones(1, 6)), net.eval()(torch.ones(1, 6)))


def test_a_pass_that_fails_leaves_the_dense_weight_in_its_place():
    net, _ = prepared(Mixout(0.5), small())
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        net(torch.ones(1, 5))
    assert net[0].weight is dict(net.named_parameters())["0.weight"]


def test_a_copy_of_a_mixed_model_is_mixed_with_its_own_weights():
    net, origin = prepared(Mixout(0.5), small())
    other = copy.deepcopy(net)
    shift(other)
    torch.manual_seed(3)
    expected = torch.ones(1, 6) @ mixout(other[0].weight, origin["0.weight"], 0.5).T
    torch.manual_seed(3)
    torch.testing.assert_close(other[0](torch.ones(1, 6)), expected, rtol=1e-6, atol=1e-6)


def test_what_has_no_origin_is_frozen_or_does_not_match_is_not_mixed():
    def mixed(rule, leave=(), frozen=()):
        net = small()
        for name in frozen:
            net.get_parameter(name).requires_grad_(False)
        net, _ = prepared(rule, net, leave)
        return [index for index, module in enumerate(net) if "forward" in module.__dict__]

    assert mixed(Mixout(0.5)) == [0, 2]
    assert mixed(Mixout(0.5), leave=["2.weight"]) == [0]
    assert mixed(Mixout(0.5), frozen=["0.weight"]) == [2]
    assert mixed(Mixout(0.5, "2.*")) == [2]
    assert mixed(Mixout(0.0)) == []


def test_a_pattern_that_chooses_no_loaded_matrix_is_refused():
    with pytest.raises(ArgumentError, match=r"Mixout: pattern '1\.\*' must match a loaded matrix. Got none of 2"):
        prepared(Mixout(0.5, "1.*"), small())
    with pytest.raises(ArgumentError, match="must match a loaded matrix"):
        prepared(Mixout(0.5, "2.*"), small(), leave=["2.weight"])
    with pytest.raises(ArgumentError, match=r"select: pattern '9\.\*' must match a parameter"):
        prepared(Mixout(0.5, "9.*"), small())


def test_a_real_step_is_that_of_the_formula_by_hand():
    rule, task = Mixout(0.5), {"inputs": torch.randn(4, 6, generator=seeded(2)), "labels": torch.tensor([0, 1, 2, 0])}

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = small()[0]

        def forward(self, inputs):
            return self.layer(inputs)

    net = Net()
    loaded = net.layer.weight.detach().clone()
    state = begin(net, [task], [rule], epochs=2, lr=0.1, optimizer="sgd", seed=3)
    weight = loaded.clone().requires_grad_()
    for number in range(2):
        step(state, task)
        torch.manual_seed(derive_seed(3, number))
        loss = functional.cross_entropy(task["inputs"] @ mixout(weight, loaded, 0.5).T, task["labels"])
        (grad,) = torch.autograd.grad(loss, weight)
        weight = (weight - 0.1 * grad).detach().requires_grad_()
        torch.testing.assert_close(state.params["layer.weight"], weight, rtol=1e-6, atol=1e-7)
    assert not torch.equal(weight, loaded)
    assert torch.equal(finish(state).layer.weight, state.params["layer.weight"])


def test_the_new_head_is_left_alone_in_a_pretrained_model():
    net = small_bert()
    fresh = frozenset({"classifier.weight", "classifier.bias"})
    pretrained = Pretrained(net, None, "small", None, fresh)
    state = begin(pretrained, [batch(0)], [Mixout(0.9)])
    mixed = {name for name, module in state.model.named_modules() if "forward" in module.__dict__}
    assert "classifier" not in mixed
    assert {"bert.pooler.dense", "bert.encoder.layer.1.attention.self.query"} <= mixed
    assert len(mixed) == 2 * 6 + 1


def test_it_keeps_the_weights_nearer_to_where_they_began():
    lengths = []
    for recipe in ([], [Mixout(0.9)]):
        state = begun(recipe)
        first = {name: param.detach().clone() for name, param in state.params.items()}
        go_on(state, 1)
        name = "bert.encoder.layer.0.output.dense.weight"
        lengths.append(int((state.params[name].grad.abs().sum(0) == 0).sum()))
        assert not torch.equal(first[name], state.params[name])
    assert lengths[0] == 0  # every input learns
    assert lengths[1] > 20  # of 32 inputs about 29 have no gradient


def test_rule_tells_what_it_does_and_warns():
    assert Mixout(0.75).equation == "W̃ = W₀ + M⊙(W − W₀)/0.25,  M ~ Bernoulli(0.25)"
    assert "the loaded weights of every linear module for 90%" in Mixout(0.9).description
    assert "among a.*" in Mixout(0.9, "a.*").description
    assert Mixout(0.0).cautions([Mixout(0.0)]) == []
    assert "own dropout on" in Mixout(0.9).cautions([Mixout(0.9)])[0]
    assert "only the later one acts" in Mixout(0.9).cautions([Mixout(0.9), Mixout(0.1)])[0]


MUTANTS = (
    ("kept / (1 - probability)", "kept"),
    (">= probability)", ">= 1 - probability)"),
    ("torch.rand(weight.shape[-1],", "torch.rand(weight.shape,"),
    ("torch.addcmul(origin,", "torch.addcmul(weight,"),
    ("if not module.training:", "if module.training:"),
    ("if name in now.origin}", "}"),
    ("return mixed.T if self.transposed else mixed", "return mixed"),
    ('            del module.__dict__["weight"]', "            pass"),
)
