"""Optimizers that are formulas: equal to the pure functions, in pieces as a whole; a training with them resumes."""

import pytest
import torch

from ftlab.experiments.tiny_run import (
    STEPS,
    batch,
    go_on,
    gradients,
    same,
    tie,
    weights,
)
from ftlab.formulas.decay import Decay
from ftlab.formulas.layerwise_decay import LayerwiseDecay
from ftlab.training import checkpoint
from ftlab.training.formula_optimizers import UPDATES, FormulaOptimizer
from ftlab.training.loop import step
from ftlab.training.optimizers import NAMES, WEIGHT_DECAY
from tests.training.optimizer_runs import DECAYED, FORMULAS, RATE, LeaveOut, begun, each, values, weak


def test_there_is_a_formula_for_every_name_but_those_of_torch():
    assert set(NAMES) - {"adamw", "sgd"} == set(UPDATES) == set(FORMULAS)


@each
def test_a_large_parameter_is_updated_in_pieces_bit_for_bit_as_a_whole(name, monkeypatch):
    ended = []
    for piece in (1 << 18, 7):
        monkeypatch.setattr("ftlab.training.formula_optimizers.PIECE", piece)
        chance = torch.Generator().manual_seed(0)
        params = [torch.nn.Parameter(torch.randn(shape, generator=chance)) for shape in ((5, 9), (7,), (3, 4, 2))]
        params.append(torch.nn.Parameter(torch.randn(6, 4, generator=chance).t()))  # it lies otherwise in memory
        optimizer = FormulaOptimizer([{"params": params, "weight_decay": 0.1}], RATE, UPDATES[name])
        for _ in range(3):
            for param in params:
                param.grad = torch.randn(param.shape, generator=chance)
            optimizer.step()
        ended.append([*params, *(one for kept in optimizer.state.values() for one in kept.values())])
    for first, second in zip(*ended, strict=True):
        assert torch.equal(torch.as_tensor(first), torch.as_tensor(second))


@each
def test_ten_steps_equal_the_pure_function_with_no_decay_of_biases_and_gains(name):
    state = begun(name)
    groups = {
        decay: [one for one in state.params if weak(one) != bool(decay)]
        for decay in (WEIGHT_DECAY if name in DECAYED else 0.0, 0.0)
    }
    if name not in DECAYED:
        groups = {0.0: list(state.params)}
    expected = values(state)
    kept = {decay: {} for decay in groups}
    for number in range(10):
        step(state, batch(number))
        grads = gradients(state)
        for decay, names in groups.items():
            params = {one: expected[one] for one in names}
            new, kept[decay] = FORMULAS[name](params, {one: grads[one] for one in names}, kept[decay], RATE, decay)
            expected |= new
        assert same(values(state), expected), number


@each
def test_a_parameter_without_gradient_stays_and_so_does_what_is_remembered_of_it(name):
    left_out = "classifier.weight"
    state = begun(name, [LeaveOut(left_out)])
    before = values(state)
    step(state, batch(0))
    param = state.params[left_out]
    assert torch.equal(param, before[left_out])
    assert param not in state.optimizer.state
    step(state, batch(1))
    after, kept = param.detach().clone(), dict(state.optimizer.state[param])
    assert not torch.equal(after, before[left_out])
    step(state, batch(2))
    assert torch.equal(param, after)
    assert same(dict(state.optimizer.state[param]), kept)


@each
@pytest.mark.parametrize("half", [1, 3])
def test_a_training_resumes_bit_for_bit(name, half, tmp_path):
    recipe = [Decay(0.9, per="step"), LayerwiseDecay(0.9)]
    whole, first, second = (begun(name, recipe) for _ in range(3))
    go_on(whole, STEPS)
    go_on(first, half)
    checkpoint.restore(second, checkpoint.save(first, tmp_path))
    assert second.step == half
    go_on(second, STEPS)
    assert same(weights(second), weights(whole))
    assert not same(weights(first), weights(whole))


@each
def test_tied_weights_stay_tied_and_move_once(name):
    state = begun(name, change=tie)
    layers = state.model.base_model.encoder.layer
    before = layers[0].output.dense.weight.detach().clone()
    step(state, batch(0))
    assert layers[0].output.dense.weight is layers[1].output.dense.weight
    grad = {"": layers[0].output.dense.weight.grad}
    decay = WEIGHT_DECAY if name in DECAYED else 0.0
    new, _ = FORMULAS[name]({"": before}, grad, {}, RATE, decay)
    assert torch.equal(layers[0].output.dense.weight, new[""])


def test_signsgd_remembers_nothing_signum_and_lion_one_tensor_a_parameter_and_adabound_two_and_a_count():
    for name, count in (("signsgd", 0), ("signum", 1), ("lion", 1), ("adabound", 3)):
        state = begun(name)
        step(state, batch(0))
        kept = [list(state.optimizer.state[param].values()) for param in state.params.values()]
        assert {len(one) for one in kept} == {count}


def test_an_update_may_be_a_readers_own():
    param = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    param.grad = torch.tensor([1.0, -1.0])

    def halve(param, grad, kept, group):
        return param - group["lr"] * grad / 2, {"count": kept.get("count", 0) + 1}

    optimizer = FormulaOptimizer([{"params": [param]}], 0.5, halve)
    optimizer.step()
    optimizer.step()
    assert param.tolist() == [0.5, 2.5]
    assert optimizer.state[param] == {"count": 2}
