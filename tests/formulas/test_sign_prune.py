"""Sign prune, formula (5): by hand, against optax, in real steps, what it does not do, and its laws."""

import math

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from ftlab.experiments.tiny_run import batch, gradients, model as small_bert
from ftlab.formulas.clip_norm import ClipNorm
from ftlab.formulas.sign_prune import SignPrune, sign_prune
from ftlab.rule import Now
from ftlab.training.loop import begin, step


@pytest.fixture
def tensors():
    generator = torch.Generator().manual_seed(0)
    shapes = {"weight": (4, 3), "bias": (3,), "scale": ()}
    params = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return params, {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def test_every_entry_moves_by_the_strength_against_its_gradient_worked_by_hand():
    # gradients 9, -0.1, 0 have the signs 1, -1, 0: 1 - 0.5, -2 + 0.5, 3
    new = sign_prune({"w": torch.tensor([1.0, -2.0, 3.0])}, {"w": torch.tensor([9.0, -0.1, 0.0])}, 0.5)
    assert torch.equal(new["w"], torch.tensor([0.5, -1.5, 3.0]))


def test_five_steps_equal_those_of_optax_sign_sgd(tensors):
    params, _ = tensors
    theirs = {name: jnp.asarray(param.numpy()) for name, param in params.items()}
    optimizer = optax.sign_sgd(0.03)
    state = optimizer.init(theirs)
    for number in range(5):
        grads = {name: (param * (number + 1)).cos() for name, param in params.items()}
        updates, state = optimizer.update({k: jnp.asarray(g.numpy()) for k, g in grads.items()}, state, theirs)
        theirs, params = optax.apply_updates(theirs, updates), sign_prune(params, grads, 0.03)
    for name, param in params.items():
        torch.testing.assert_close(param, torch.tensor(np.asarray(theirs[name])), rtol=1e-6, atol=1e-7)


def test_it_makes_no_zeros_in_a_hundred_steps():
    generator = torch.Generator().manual_seed(0)
    params = {"w": torch.randn(1000, generator=generator)}
    for _ in range(100):
        params = sign_prune(params, {"w": torch.randn(1000, generator=generator)}, 0.01)
    assert (params["w"] != 0).all()


def test_each_entry_moves_by_exactly_the_strength_whatever_its_size_or_gradient():
    generator = torch.Generator().manual_seed(0)
    before = torch.randint(-(2**12), 2**12, (1000,), generator=generator) / 2**10  # such numbers add without rounding
    grad = torch.randn(1000, generator=generator) * 10.0 ** torch.randint(-20, 20, (1000,), generator=generator)
    moved = before - sign_prune({"w": before}, {"w": grad}, 2**-8)["w"]
    assert torch.equal(moved.abs(), torch.full((1000,), 2**-8))
    assert torch.equal(moved > 0, grad > 0)
    assert moved.norm() == pytest.approx(2**-8 * math.sqrt(1000), rel=1e-6)


def test_an_entry_whose_gradient_is_zero_stays():
    before = torch.tensor([1.0, -2.0, 0.0])
    assert torch.equal(sign_prune({"w": before}, {"w": torch.tensor([0.0, -0.0, 0.0])}, 0.5)["w"], before)


def test_a_name_without_gradient_stays_and_keeps_its_place(tensors):
    params, grads = tensors
    del grads["bias"]
    new = sign_prune(params, grads, 0.1)
    assert list(new) == ["weight", "bias", "scale"]
    assert torch.equal(new["bias"], params["bias"])
    assert new["bias"].data_ptr() != params["bias"].data_ptr()


def test_rule_moves_the_parameters_by_the_gradients_that_the_optimizer_saw(tensors):
    params, grads = tensors
    now = Now(params={name: param + 1 for name, param in params.items()}, grads=grads, rates=dict.fromkeys(params, 0.0))
    new, memory = SignPrune(0.1).project(params, "memory", now)
    torch.testing.assert_close(new, sign_prune(params, grads, 0.1), rtol=0, atol=0)
    assert memory == "memory"


def test_real_steps_after_plain_descent_are_torchs_along_the_gradient_and_its_sign():
    state = begin(small_bert(), [0] * 3, [ClipNorm(0.1), SignPrune(0.01)], lr=0.5, optimizer="sgd")
    theirs = {name: torch.nn.Parameter(param.detach().clone()) for name, param in state.params.items()}
    optimizer = torch.optim.SGD(theirs.values(), lr=0.5)
    for number in range(3):
        step(state, batch(number))
        for name, grad in gradients(state).items():  # as ClipNorm left them
            theirs[name].grad = grad + (0.01 / 0.5) * grad.sign()
        optimizer.step()
    for name, param in theirs.items():
        torch.testing.assert_close(state.params[name], param, rtol=1e-5, atol=1e-6)
        assert torch.equal(state.params[name] == 0, param == 0)


def test_rule_warns_that_it_does_not_prune_and_tells_its_strength():
    assert "makes no zeros and removes no parameters: it is a sign step" in SignPrune(1e-5).cautions([])[0]
    assert SignPrune(0.5).equation == "θ ← θ − 0.5·sign(∇J)"
    assert "by 0.5 against the sign of the gradient" in SignPrune(0.5).description


MUTANTS = (
    ("param - strength * grads[name].sign()", "param + strength * grads[name].sign()"),
    ("grads[name].sign()", "grads[name]"),
    ("grads[name].sign()", "param.sign()"),
    ("else param.clone()", "else param"),
)
