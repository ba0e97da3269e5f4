"""Prior decay: by hand, against AdamW's own decay and numpy, the reference's fault, its laws, and real steps."""

import numpy as np
import pytest
import torch
from torch import nn

from ftlab.experiments.tiny_run import batch, begun, go_on, model as small_bert
from ftlab.formulas.decay import Decay
from ftlab.formulas.head_first import HeadFirst
from ftlab.formulas.prior_decay import PriorDecay, prior_decay
from ftlab.models.load import Pretrained
from ftlab.rule import Now
from ftlab.training.loop import begin, step
from ftlab.training.optimizers import WEIGHT_DECAY

SHAPES = {"weight": (4, 3), "bias": (3,), "scale": ()}


def drawn(seed, dtype=torch.float32):
    chance = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=chance, dtype=dtype) for name, shape in SHAPES.items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_each_name_goes_back_by_its_own_rate_worked_by_hand():
    # 0.5 · 0.5 = 1/4 of the way from 8 to 4 is 7; 0.25 · 0.5 = 1/8 of the way from -8 to 0 is -7
    new = prior_decay(
        {"a": torch.tensor([8.0]), "b": torch.tensor([-8.0])},
        {"a": torch.tensor([4.0]), "b": torch.tensor([0.0])},
        {"a": 0.5, "b": 0.25},
        0.5,
    )
    assert same(new, {"a": torch.tensor([7.0]), "b": torch.tensor([-7.0])})


def test_it_equals_the_formula_entry_by_entry():
    params, origin = drawn(0, torch.float64), drawn(1, torch.float64)
    new = prior_decay(params, origin, {"weight": 0.1, "bias": 0.2, "scale": 0.0}, 3.0)
    for name, lr in (("weight", 0.1), ("bias", 0.2), ("scale", 0.0)):
        ours = np.atleast_1d(new[name].numpy())
        for index, value in np.ndenumerate(np.atleast_1d(params[name].numpy())):
            pulled = value - lr * 3.0 * (value - np.atleast_1d(origin[name].numpy())[index])
            assert ours[index] == pytest.approx(pulled, rel=1e-13)


def test_with_an_origin_of_zero_it_is_the_decay_of_torchs_adamw():
    params = drawn(0, torch.float64)
    theirs = {name: nn.Parameter(param.clone()) for name, param in params.items()}
    optimizer = torch.optim.AdamW(theirs.values(), lr=0.1, weight_decay=0.3)
    for param in theirs.values():
        param.grad = torch.zeros_like(param)
    zeros = {name: torch.zeros_like(param) for name, param in params.items()}
    for _ in range(5):
        optimizer.step()
        params = prior_decay(params, zeros, dict.fromkeys(params, 0.1), 0.3)
    expected = {name: param.detach() for name, param in theirs.items()}
    torch.testing.assert_close(params, expected, rtol=1e-13, atol=0)


@pytest.mark.parametrize("steps", [1, 7, 30])
def test_without_gradients_the_distance_shrinks_by_one_minus_rate_times_strength_a_step(steps):
    start, origin = drawn(0, torch.float64), drawn(1, torch.float64)
    params = start
    for _ in range(steps):
        params = prior_decay(params, origin, dict.fromkeys(params, 0.02), 5.0)
    left = {name: origin[name] + 0.9**steps * (start[name] - origin[name]) for name in start}
    torch.testing.assert_close(params, left, rtol=1e-12, atol=1e-14)


def test_it_is_the_gradient_step_of_half_the_squared_distance():
    params, origin = drawn(0, torch.float64), drawn(1, torch.float64)
    leaves = {name: param.clone().requires_grad_() for name, param in params.items()}
    sum(0.7 / 2 * (leaves[name] - origin[name]).square().sum() for name in leaves).backward()
    expected = {name: params[name] - 0.1 * leaf.grad for name, leaf in leaves.items()}
    torch.testing.assert_close(
        prior_decay(params, origin, dict.fromkeys(params, 0.1), 0.7), expected, rtol=1e-13, atol=0
    )


def test_zero_changes_nothing_one_arrives_and_what_is_there_stays():
    params, origin = drawn(0), drawn(1)
    ones = dict.fromkeys(params, 1.0)
    assert same(prior_decay(params, origin, ones, 0.0), params)
    assert same(prior_decay(params, origin, dict.fromkeys(params, 0.0), 1e9), params)
    assert same(prior_decay(params, origin, ones, 1.0), origin)
    assert same(prior_decay(origin, origin, ones, 0.3), origin)


def test_from_twice_the_inverse_rate_on_the_distance_grows():
    params, origin = {"w": torch.tensor([1.0])}, {"w": torch.tensor([0.0])}
    assert prior_decay(params, origin, {"w": 1.0}, 2.0)["w"].abs() == 1
    assert prior_decay(params, origin, {"w": 1.0}, 2.5)["w"].abs() == 1.5


def test_only_names_on_both_sides_come_back_and_what_came_in_is_not_changed():
    params, origin = drawn(0), drawn(1)
    params["head"] = torch.ones(2)
    origin["frozen"] = torch.ones(2)
    before = [{name: one.clone() for name, one in some.items()} for some in (params, origin)]
    new = prior_decay(params, origin, dict.fromkeys(params, 0.1), 0.5)
    assert list(new) == ["weight", "bias", "scale"]
    for one in new.values():
        one.zero_()
    assert same(params, before[0])
    assert same(origin, before[1])
    for one in prior_decay(params, origin, dict.fromkeys(params, 0.1), 0.0).values():
        one.zero_()
    assert same(params, before[0])


def test_rule_pulls_by_the_rates_of_the_step():
    params, origin = drawn(0), drawn(1)
    rates = {"weight": 0.1, "bias": 0.2, "scale": 0.0}
    new, memory = PriorDecay(0.5).project(params, "memory", Now(origin=origin, rates=rates))
    assert same(new, prior_decay(params, origin, rates, 0.5))
    assert memory == "memory"
    assert PriorDecay.needs_origin


def hand_written(net, strength, rates, decay):
    """AdamW as torch has it, then the pull, written out: the steps that the rule must give."""
    origin = {name: param.detach().clone() for name, param in net.named_parameters()}
    plain = [param for name, param in net.named_parameters() if name.endswith("bias") or "LayerNorm" in name]
    weights = [param for param in net.parameters() if not any(param is one for one in plain)]
    groups = [{"params": weights, "weight_decay": decay}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, fused=True)
    for number, lr in enumerate(rates):
        rows = batch(number % 2)
        logits = net(**{name: one for name, one in rows.items() if name != "labels"}).logits
        optimizer.zero_grad()
        nn.functional.cross_entropy(logits, rows["labels"]).backward()
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.step()
        with torch.no_grad():
            for name, param in net.named_parameters():
                param.sub_(lr * strength * (param - origin[name]))
    return {name: param.detach() for name, param in net.named_parameters()}


def without_dropout(net):
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return net


def test_in_real_steps_it_equals_a_loop_written_by_hand_in_which_adamw_still_decays_to_zero():
    """The authors' PriorWD sets every group's weight_decay to 0; here the optimizer's own decay stays."""
    state = begun([PriorDecay(5.0), Decay(0.5, per="step")], change=without_dropout)
    go_on(state, 4)
    assert sorted({group["weight_decay"] for group in state.optimizer.param_groups}) == [0.0, WEIGHT_DECAY]
    found = {name: param.detach() for name, param in state.model.named_parameters()}
    rates = [1e-2 * 0.5**t for t in range(4)]
    expected = hand_written(without_dropout(small_bert()), 5.0, rates, WEIGHT_DECAY)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    dropped = hand_written(without_dropout(small_bert()), 5.0, rates, 0.0)
    name = "bert.embeddings.word_embeddings.weight"
    assert (found[name] - expected[name]).norm() < 0.01 * (found[name] - dropped[name]).norm()


def test_a_new_head_is_not_pulled_and_a_frozen_weight_stays():
    net = small_bert()
    net.bert.embeddings.word_embeddings.weight.requires_grad_(False)
    fresh = frozenset({"classifier.weight", "classifier.bias"})
    before = {name: param.detach().clone() for name, param in net.named_parameters()}
    state = begin(Pretrained(net, None, "tiny", None, fresh), [batch(0)], [PriorDecay(1 / 0.125)], epochs=2, lr=0.125)
    step(state, batch(0))
    moved = {name for name, param in net.named_parameters() if not torch.equal(param, before[name])}
    assert moved == fresh  # rate times strength is 1: what has an origin is back at it


def test_what_an_earlier_rule_leaves_out_stays_bit_for_bit():
    state = begun([HeadFirst(1.0), PriorDecay(5.0)])
    go_on(state, 2)
    before = dict(small_bert().named_parameters())
    assert all(torch.equal(param, before[name]) == ("bert." in name) for name, param in state.params.items())


def test_rule_tells_its_strength_and_warns_of_the_decay_beside_it():
    assert PriorDecay(0.5).equation == "θ ← θ − α·0.5·(θ − θ₀)"
    assert "the learning rate times 0.5 of their distance" in PriorDecay(0.5).description
    assert "AdamW's own decay" in PriorDecay(0.5).cautions([])[0]
    assert PriorDecay(0.0).cautions([]) == []


MUTANTS = (
    ("rates[name] * strength)", "strength)"),
    ("rates[name] * strength)", "rates[name] * strength / 2)"),
    ("torch.lerp(param, origin[name],", "torch.lerp(origin[name], param,"),
    ("torch.lerp(param, origin[name],", "torch.lerp(param, 0 * origin[name],"),
    ("now.origin, now.rates, self.strength", "now.params, now.rates, self.strength"),
    ("params[name].shape != origin[name].shape", "params[name].ndim != origin[name].ndim"),
    ("        if name in origin\n    }", "        if name in origin and strength\n    }"),
)
