"""Optimizers: against optax, with each group's rate and decay, state by name; a reader's own."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from transformers import GPT2Config, GPT2ForSequenceClassification

from ftlab.errors import ArgumentError
from ftlab.experiments.tiny_run import (
    batch,
    go_on,
    gradients,
    model as small_bert,
    same,
)
from ftlab.formulas.decay import Decay
from ftlab.formulas.layerwise_decay import LayerwiseDecay
from ftlab.rule import Schedule
from ftlab.training.loop import begin, step
from ftlab.training.optimizers import WEIGHT_DECAY, load_state_by_name, make_optimizer, state_by_name
from tests.training.optimizer_runs import DECAYED, FORMULAS, RATE, LeaveOut, begun, each, values, weak

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


MUTANTS = (
    ('(role[name] == "weight") == of_weights', "(param.ndim > 1) == of_weights"),
    ("((WEIGHT_DECAY, True), (0.0, False))", "((WEIGHT_DECAY, True), (WEIGHT_DECAY, False))"),
    ("if optimizer in WITHOUT_DECAY:", "if False:"),
    ("families[family] | {", "group | {"),
    ('group["lr"] = rate', "pass"),
    ("    optimizer.state.clear()\n", ""),
    ("if param in optimizer.state}", "}"),
    ("return _check_optimizer(optimizer(groups))", "return optimizer(groups)"),
)
