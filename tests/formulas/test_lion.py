"""Lion: by hand, against optax, beside sign steps, and its laws."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from ftlab.formulas.lion import lion
from ftlab.formulas.sign_prune import sign_prune

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
    # betas 1/2 and 3/4, rate 1/4, no decay; each step moves by 1/4 against the sign of c
    # g =  8: c = 4,             θ = 1 - 1/4 = 3/4;    m = 2
    # g = -3: c = 1 - 1.5 < 0,   θ = 3/4 + 1/4 = 1;    m = 1.5 - 0.75 = 0.75
    # g = -0.5: c = 0.375 - 0.25 > 0, although g < 0: θ = 1 - 1/4 = 3/4;  m = 0.5625 - 0.125 = 0.4375
    params, momentum, seen = one(1.0), {}, []
    for grad in (8.0, -3.0, -0.5):
        params, momentum = lion(params, one(grad), momentum, 0.25, betas=(0.5, 0.75))
        seen.append((params["w"].item(), momentum["w"].item()))
    assert seen == [(0.75, 2.0), (1.0, 0.75), (0.75, 0.4375)]


def test_decay_pulls_apart_from_the_sign_worked_by_hand():
    # 1 - 1/4 * 2 = 1/2: θ = 8/2 - 1/4 = 3.75, then 3.75/2 - 1/4 = 1.625; a gradient of 0 leaves the decay alone: 4
    params, momentum = lion(one(8.0), one(1.0), {}, 0.25, weight_decay=2.0)
    assert params["w"].item() == 3.75
    assert lion(params, one(1.0), momentum, 0.25, weight_decay=2.0)[0]["w"].item() == 1.625
    assert lion(one(8.0), one(0.0), {}, 0.25, weight_decay=2.0)[0]["w"].item() == 4


@pytest.mark.parametrize(
    ("betas", "decay"), [((0.9, 0.99), 0.0), ((0.9, 0.99), 0.3), ((0.95, 0.98), 0.1), ((0.0, 0.5), 0.0)]
)
def test_ten_steps_equal_those_of_optax_lion(params, betas, decay):
    theirs = {name: jnp.asarray(param.numpy()) for name, param in params.items()}
    optimizer, momentum = optax.lion(0.03, b1=betas[0], b2=betas[1], weight_decay=decay), {}
    state = optimizer.init(theirs)
    for step in range(10):
        grads = gradients(step)
        params, momentum = lion(params, grads, momentum, 0.03, betas=betas, weight_decay=decay)
        updates, state = optimizer.update({k: jnp.asarray(g.numpy()) for k, g in grads.items()}, state, theirs)
        theirs = optax.apply_updates(theirs, updates)
    for name, param in params.items():
        torch.testing.assert_close(param, torch.tensor(np.asarray(theirs[name])), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(momentum[name], torch.tensor(np.asarray(state[0].mu[name])), rtol=1e-5, atol=1e-6)


def test_without_decay_every_entry_moves_by_the_rate_at_every_step():
    generator = torch.Generator().manual_seed(0)
    params = {"w": torch.randint(-(2**12), 2**12, (1000,), generator=generator) / 2**10}  # such numbers add exactly
    momentum = {}
    for step in range(5):
        grad = torch.randn(1000, generator=generator) * 10.0 ** torch.randint(-15, 15, (1000,), generator=generator)
        new, momentum = lion(params, {"w": grad}, momentum, 2**-8)
        assert torch.equal((new["w"] - params["w"]).abs(), torch.full((1000,), 2**-8)), step
        params = new


def test_the_first_step_is_a_sign_step_and_with_a_first_beta_of_zero_each_one_is(params):
    mine, _ = lion(params, gradients(0), {}, 0.1)
    expected = sign_prune(params, gradients(0), 0.1)
    assert all(torch.equal(mine[name], expected[name]) for name in params)
    momentum = {}
    for step in range(5):
        expected = sign_prune(params, gradients(step), 0.1)
        params, momentum = lion(params, gradients(step), momentum, 0.1, betas=(0.0, 0.99))
        assert all(torch.equal(params[name], expected[name]) for name in params), step


def test_the_size_of_the_gradients_does_not_matter(params):
    large, small, large_momentum, small_momentum = params, params, {}, {}
    for step in range(10):
        tiny = {name: grad / 1024 for name, grad in gradients(step).items()}  # halving is exact
        large, large_momentum = lion(large, gradients(step), large_momentum, 0.1)
        small, small_momentum = lion(small, tiny, small_momentum, 0.1)
    assert all(torch.equal(small[name], large[name]) for name in params)
    assert all(torch.equal(1024 * small_momentum[name], large_momentum[name]) for name in params)


def test_rate_zero_changes_no_parameter_at_all_but_remembers_the_gradient(params):
    new, momentum = lion(params, gradients(0), {}, 0, weight_decay=0.5)
    assert all(torch.equal(new[name], params[name]) for name in params)
    torch.testing.assert_close(momentum["scale"], 0.01 * gradients(0)["scale"])


def test_a_name_without_gradient_stays_without_decay_and_keeps_its_momentum(params):
    grads = gradients(0)
    del grads["bias"]
    new, momentum = lion(params, grads, {}, 0.1, weight_decay=0.5)
    assert list(new) == list(params)
    assert torch.equal(new["bias"], params["bias"])
    assert new["bias"].data_ptr() != params["bias"].data_ptr()
    assert set(momentum) == {"weight", "scale"}
    kept = torch.ones(3)
    assert lion(params, grads, {"bias": kept}, 0.1)[1]["bias"] is kept


MUTANTS = (
    ("betas[0] * mean + (1 - betas[0]) * grad", "betas[1] * mean + (1 - betas[1]) * grad"),
    ("means[name] = betas[1] * mean + (1 - betas[1]) * grad", "means[name] = mixture"),
    ("lr * mixture.sign()", "lr * grad.sign()"),
    ("(1 - lr * weight_decay) * param", "(1 - weight_decay) * param"),
    ("dict(momentum)", "momentum"),
    ("new[name] = param.clone()", "new[name] = param"),
)
