"""Signum: by hand, against optax, its edge signSGD, and its laws."""

import math

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from ftlab.formulas.sign_prune import sign_prune
from ftlab.formulas.signum import signum

SHAPES = {"weight": (4, 3), "bias": (3,), "scale": ()}


@pytest.fixture
def params():
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}


def gradients(step):
    generator = torch.Generator().manual_seed(100 + step)
    return {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}


def one(*values):
    return {"w": torch.tensor(values, dtype=torch.double)}


def test_three_steps_worked_by_hand():
    # beta 3/4, rate 1/4
    # g = (8, 0):  m = (2, 0),               θ = (1 - 1/4, 1) = (3/4, 1): an entry without slope stays
    # g = (-4, 1): m = (1.5 - 1, 1/4),       θ = (1/2, 3/4): the first goes on against its own gradient
    # g = (-4, 0): m = (0.375 - 1, 3/16),    θ = (3/4, 1/2): the second goes on without one
    params, momentum, seen = one(1.0, 1.0), {}, []
    for grad in ((8.0, 0.0), (-4.0, 1.0), (-4.0, 0.0)):
        params, momentum = signum(params, one(*grad), momentum, 0.25, beta=0.75)
        seen.append((params["w"].tolist(), momentum["w"].tolist()))
    assert seen == [([0.75, 1.0], [2, 0]), ([0.5, 0.75], [0.5, 0.25]), ([0.75, 0.5], [-0.625, 0.1875])]


@pytest.mark.parametrize("beta", [0.9, 0.5, 0.99])
def test_ten_steps_equal_those_of_optax_signum(params, beta):
    compare(params, beta, optax.signum(0.03, beta=beta))


def test_with_a_beta_of_zero_ten_steps_equal_those_of_optax_sign_sgd(params):
    compare(params, 0.0, optax.sign_sgd(0.03))


def compare(params, beta, optimizer):
    theirs, momentum = {name: jnp.asarray(param.numpy()) for name, param in params.items()}, {}
    state = optimizer.init(theirs)
    for step in range(10):
        grads = gradients(step)
        params, momentum = signum(params, grads, momentum, 0.03, beta=beta)
        updates, state = optimizer.update({k: jnp.asarray(g.numpy()) for k, g in grads.items()}, state, theirs)
        theirs = optax.apply_updates(theirs, updates)
    for name, param in params.items():
        torch.testing.assert_close(param, torch.tensor(np.asarray(theirs[name])), rtol=1e-5, atol=1e-6)


def test_with_a_beta_of_zero_it_is_sign_prune_and_needs_no_memory(params):
    for step in range(3):
        expected = sign_prune(params, gradients(step), 0.1)
        for before in ({}, gradients(7)):
            new, momentum = signum(params, gradients(step), before, 0.1, beta=0.0)
            assert all(torch.equal(new[name], expected[name]) for name in params)
            assert all(torch.equal(momentum[name], grad) for name, grad in gradients(step).items())
        params = expected


def test_every_entry_moves_by_the_rate_at_every_step():
    generator = torch.Generator().manual_seed(0)
    params = {"w": torch.randint(-(2**12), 2**12, (1000,), generator=generator) / 2**10}  # such numbers add exactly
    momentum = {}
    for _ in range(5):
        grad = torch.randn(1000, generator=generator) * 10.0 ** torch.randint(-15, 15, (1000,), generator=generator)
        new, momentum = signum(params, {"w": grad}, momentum, 2**-8)
        assert torch.equal((new["w"] - params["w"]).abs(), torch.full((1000,), 2**-8))
        assert (new["w"] - params["w"]).norm() == pytest.approx(2**-8 * math.sqrt(1000), rel=1e-6)
        params = new


def test_the_size_of_the_gradients_does_not_matter(params):
    large, small, large_momentum, small_momentum = params, params, {}, {}
    for step in range(10):
        tiny = {name: grad / 1024 for name, grad in gradients(step).items()}  # halving is exact
        large, large_momentum = signum(large, gradients(step), large_momentum, 0.1)
        small, small_momentum = signum(small, tiny, small_momentum, 0.1)
    assert all(torch.equal(small[name], large[name]) for name in params)


def test_rate_zero_changes_no_parameter_at_all_but_remembers_the_gradient(params):
    new, momentum = signum(params, gradients(0), {}, 0)
    assert all(torch.equal(new[name], params[name]) for name in params)
    torch.testing.assert_close(momentum["scale"], 0.1 * gradients(0)["scale"])


def test_a_name_without_gradient_stays_and_keeps_its_momentum(params):
    grads = gradients(0)
    del grads["bias"]
    new, momentum = signum(params, grads, {}, 0.1)
    assert list(new) == list(params)
    assert torch.equal(new["bias"], params["bias"])
    assert new["bias"].data_ptr() != params["bias"].data_ptr()
    assert set(momentum) == {"weight", "scale"}
    kept = torch.ones(3)
    assert signum(params, grads, {"bias": kept}, 0.1)[1]["bias"] is kept


MUTANTS = (
    ("means[name].sign()", "grad.sign()"),
    ("param - lr * means[name].sign()", "param + lr * means[name].sign()"),
    ("(1 - beta) * grad", "grad"),
    ("lr * means[name].sign()", "lr * means[name]"),
    ("dict(momentum)", "momentum"),
    ("new[name] = param.clone()", "new[name] = param"),
)
