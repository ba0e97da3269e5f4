"""Optimizers: against optax and the pure functions, with each group's rate and decay; a reader's own; runs resume."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from transformers import GPT2Config, GPT2ForSequenceClassification

from ftlab.errors import ArgumentError
from ftlab.experiments.tiny_run import (
    PER_EPOCH,
    STEPS,
    batch,
    go_on,
    gradients,
    model as small_bert,
    same,
    tie,
    weights,
)
from ftlab.formulas.adabound import adabound
from ftlab.formulas.decay import Decay
from ftlab.formulas.layerwise_decay import LayerwiseDecay
from ftlab.formulas.lion import lion
from ftlab.formulas.signum import signum
from ftlab.rule import GradientRule, Schedule
from ftlab.training import checkpoint
from ftlab.training.formula_optimizers import UPDATES, FormulaOptimizer
from ftlab.training.loop import begin, step
from ftlab.training.optimizers import NAMES, WEIGHT_DECAY, load_state_by_name, make_optimizer, state_by_name

RATE = 1e-3
FORMULAS = {
    "signsgd": lambda params, grads, kept, rate, decay: signum(params, grads, kept, rate, beta=0.0),
    "signum": lambda params, grads, kept, rate, decay: signum(params, grads, kept, rate),
    "lion": lambda params, grads, kept, rate, decay: lion(params, grads, kept, rate, weight_decay=decay),
    "adabound": lambda params, grads, kept, rate, decay: adabound(
        params, grads, kept, rate, final_rate=0.1 * rate / RATE, weight_decay=decay
    ),
}
DECAYED = ("lion", "adabound")
each = pytest.mark.parametrize("name", FORMULAS)


@dataclass(frozen=True)
class LeaveOut(GradientRule):
    """Leave out the gradient of one parameter, in every second step."""

    name: str

    def shape(self, grads, memory, now):
        return {name: grad for name, grad in grads.items() if name != self.name or now.step % 2}, memory


def begun(name, recipe=(), change=None):
    net = change(small_bert()) if change else small_bert()
    return begin(net, [0] * PER_EPOCH, recipe, epochs=STEPS // PER_EPOCH, lr=RATE, optimizer=name)


def values(state):
    return {name: param.detach().clone() for name, param in state.params.items()}


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


def weak(name):
    return name.endswith("bias") or "LayerNorm" in name


OPTAX = {
    "sgd": lambda mask: optax.sgd(RATE),
    "adamw": lambda mask: optax.adamw(RATE, weight_decay=WEIGHT_DECAY, mask=mask),
    "signsgd": lambda mask: optax.sign_sgd(RATE),
    "signum": lambda mask: optax.signum(RATE, beta=0.9),
    "lion": lambda mask: optax.lion(RATE, b1=0.9, b2=0.99, weight_decay=WEIGHT_DECAY, mask=mask),
}


@pytest.mark.parametrize("name", OPTAX)
def test_a_real_training_equals_that_of_optax_over_all_tensors(name):
    state = begun(name)
    theirs = {one: jnp.asarray(param.detach().numpy()) for one, param in state.params.items()}
    optimizer = OPTAX[name]({one: not weak(one) for one in theirs})
    memory = optimizer.init(theirs)
    for number in range(8):
        step(state, batch(number))
        grads = {one: jnp.asarray(grad.numpy()) for one, grad in gradients(state).items()}
        updates, memory = optimizer.update(grads, memory, theirs)
        theirs = optax.apply_updates(theirs, updates)
    for one, param in state.params.items():
        torch.testing.assert_close(param.detach(), torch.tensor(np.asarray(theirs[one])), rtol=1e-4, atol=2e-6)


def test_decay_is_told_by_the_types_of_modules_whatever_they_are_called():
    net = GPT2ForSequenceClassification(GPT2Config(vocab_size=9, n_embd=4, n_layer=1, n_head=1, n_positions=5))
    made = make_optimizer("adamw", net, dict(net.named_parameters()), RATE)
    name_of = {id(param): name for name, param in net.named_parameters()}
    decayed, free = ([name_of[id(param)] for param in group["params"]] for group in made.param_groups)
    assert [group["weight_decay"] for group in made.param_groups] == [WEIGHT_DECAY, 0.0]
    inside = [f"transformer.h.0.{one}.weight" for one in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")]
    assert decayed == ["transformer.wte.weight", "transformer.wpe.weight", *inside, "score.weight"]
    assert {"transformer.h.0.ln_1.weight", "transformer.ln_f.weight", "transformer.h.0.attn.c_attn.bias"} <= set(free)
    assert len(decayed) + len(free) == len(name_of)
    odd = torch.nn.ModuleDict({"gain": torch.nn.LayerNorm((2, 3)), "slope": torch.nn.PReLU(4)})
    slope, gains = make_optimizer("lion", odd, dict(odd.named_parameters()), RATE).param_groups
    assert slope["params"] == [odd["slope"].weight]  # of one dimension, yet a weight; the gain of two is none
    assert gains["weight_decay"] == 0


def test_a_rate_that_all_share_reaches_both_groups():
    state = begun("lion", [Decay(0.5, per="step")])
    go_on(state, 3)
    assert [group["lr"] for group in state.optimizer.param_groups] == [RATE / 4] * 2


def test_what_is_remembered_names_the_parameters_that_have_memory_and_takes_the_place_of_all_that_was():
    left_out = "classifier.weight"
    state = begun("lion", [LeaveOut(left_out)])
    step(state, batch(0))
    early = state_by_name(state.optimizer, state.params)
    assert set(early) == set(state.params) - {left_out}
    step(state, batch(1))
    assert left_out in state_by_name(state.optimizer, state.params)
    load_state_by_name(state.optimizer, state.params, early)
    assert state_by_name(state.optimizer, state.params).keys() == early.keys()
    assert all(same(one, early[name]) for name, one in state_by_name(state.optimizer, state.params).items())


def test_a_readers_function_gets_the_groups_with_their_decay_and_rates_reach_it():
    state = begin(
        small_bert(), [0] * 2, [LayerwiseDecay(0.5)], lr=RATE, optimizer=lambda groups: torch.optim.Rprop(groups)
    )
    step(state, batch(0))
    assert isinstance(state.optimizer, torch.optim.Rprop)
    assert {group["lr"] for group in state.optimizer.param_groups} == {RATE / 2**depth for depth in range(4)}
    assert {group["weight_decay"] for group in state.optimizer.param_groups} == {WEIGHT_DECAY, 0.0}


@pytest.mark.parametrize(
    "wrong",
    [
        lambda groups: torch.optim.SGD([param for group in groups for param in group["params"]], lr=0.1),
        lambda groups: None,
    ],
)
def test_a_function_that_drops_the_groups_is_refused(wrong):
    with pytest.raises(ArgumentError, match="^begin: optimizer must return a torch optimizer of its groups. Got "):
        begin(small_bert(), [0], optimizer=wrong)
    with pytest.raises(ArgumentError, match="^begin: optimizer must be one of 'adamw', .* Got 'adam'"):
        begin(small_bert(), [0], optimizer="adam")


@dataclass(frozen=True)
class Forget(Schedule):
    """Give back no rates."""

    def schedule(self, rates, memory, now):
        return {}, memory


def test_a_schedule_that_leaves_a_parameter_out_is_refused():
    state = begin(small_bert(), [0], [Forget()])
    with pytest.raises(
        ArgumentError, match=r"^step: rates must hold every trainable parameter. Got none for bert\.embeddings"
    ):
        step(state, batch(0))


@each
def test_the_decay_is_that_of_the_group_and_none_where_the_formula_has_none(name):
    decays = {group["weight_decay"] for group in begun(name).optimizer.param_groups}
    assert decays == ({WEIGHT_DECAY, 0.0} if name in DECAYED else {0.0})


@each
def test_rates_by_name_regroup_and_reach_the_formula(name):
    state = begun(name, [LayerwiseDecay(0.5)])
    before = values(state)
    step(state, batch(0))
    rates = {id(param): group["lr"] for group in state.optimizer.param_groups for param in group["params"]}
    assert len(set(rates.values())) == 4  # embeddings, two layers, what stands above them
    grads = gradients(state)
    decays = {id(param): group["weight_decay"] for group in state.optimizer.param_groups for param in group["params"]}
    for one, param in state.params.items():
        given = {one: before[one]}, {one: grads[one]}, {}
        new, _ = FORMULAS[name](*given, rates[id(param)], decays[id(param)])
        assert torch.equal(param, new[one]), one


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


MUTANTS = (
    ('(role[name] == "weight") == wanted', "(param.ndim > 1) == wanted"),
    ("((WEIGHT_DECAY, True), (0.0, False))", "((WEIGHT_DECAY, True), (WEIGHT_DECAY, False))"),
    ("if optimizer in WITHOUT_DECAY:", "if False:"),
    ("families[family] | {", "group | {"),
    ('group["lr"] = rate', "pass"),
    ("    optimizer.state.clear()\n", ""),
    ("if param in optimizer.state}", "}"),
    ("return _of_groups(optimizer(groups))", "return optimizer(groups)"),
)
