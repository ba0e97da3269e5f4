"""AdamW: by hand, against torch and optax, its bias correction, and its laws."""

import math

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from ftlab.formulas.adamw import Moments, adamw

SHAPES = {"weight": (4, 3), "bias": (3,), "scale": ()}


@pytest.fixture
def params():
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator, dtype=torch.double) for name, shape in SHAPES.items()}


def gradients(step):
    generator = torch.Generator().manual_seed(100 + step)
    return {name: torch.randn(shape, generator=generator, dtype=torch.double) for name, shape in SHAPES.items()}


def one(value):
    return {"w": torch.tensor([value], dtype=torch.double)}


def test_two_steps_worked_by_hand():
    # rate 0.1, betas 0.5 and 0.75, eps 1, decay 0.2, so that each step first shrinks θ by 1 - 0.1 * 0.2 = 0.98
    # g = 4: m = 2, v = 4; m^ = 2 / 0.5 = 4, v^ = 4 / 0.25 = 16;          θ = 0.98 * 1 - 0.1 * 4 / (4 + 1) = 0.9
    # g = 0: m = 1, v = 3; m^ = 1 / 0.75 = 4/3, v^ = 3 / 0.4375 = 6.857143; √v^ = 2.618615
    #        θ = 0.98 * 0.9 - 0.1 * 1.333333 / 3.618615 = 0.882 - 0.036847 = 0.845153
    settings = {"betas": (0.5, 0.75), "eps": 1.0, "weight_decay": 0.2}
    params, moments = adamw(one(1.0), one(4.0), Moments(), 0.1, **settings)
    assert params["w"].item() == pytest.approx(0.9, rel=1e-12)
    assert (moments.first["w"].item(), moments.second["w"].item(), moments.steps) == (2, 4, {"w": 1})
    params, moments = adamw(params, one(0.0), moments, 0.1, **settings)
    assert params["w"].item() == pytest.approx(0.845153, abs=1e-6)
    assert (moments.first["w"].item(), moments.second["w"].item(), moments.steps) == (1, 3, {"w": 2})


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"weight_decay": 0.0},
        {"weight_decay": 0.3, "eps": 0.1},
        {"betas": (0.0, 0.0)},
        {"betas": (0.5, 0.9), "eps": 1e-6},
    ],
)
def test_ten_steps_equal_those_of_torch_adamw(params, settings):
    theirs = {name: torch.nn.Parameter(param.clone()) for name, param in params.items()}
    optimizer, moments = torch.optim.AdamW(theirs.values(), lr=0.03, **settings), Moments()
    for step in range(10):
        for name, grad in gradients(step).items():
            theirs[name].grad = grad
        optimizer.step()
        params, moments = adamw(params, gradients(step), moments, 0.03, **settings)
    torch.testing.assert_close(params, {name: param.detach() for name, param in theirs.items()}, rtol=1e-10, atol=1e-12)


def test_five_steps_equal_those_of_optax_adamw(params):
    params = {name: param.float() for name, param in params.items()}
    theirs = {name: jnp.asarray(param.numpy()) for name, param in params.items()}
    optimizer, moments = optax.adamw(0.03, weight_decay=0.01), Moments()
    state = optimizer.init(theirs)
    for step in range(5):
        grads = {name: grad.float() for name, grad in gradients(step).items()}
        params, moments = adamw(params, grads, moments, 0.03)
        updates, state = optimizer.update({k: jnp.asarray(g.numpy()) for k, g in grads.items()}, state, theirs)
        theirs = optax.apply_updates(theirs, updates)
    for name, param in params.items():
        torch.testing.assert_close(param, torch.tensor(np.asarray(theirs[name])), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("step", "ratio"), [(1, 3.16), (10, 6.53), (100, 3.24), (1000, 1.26)])
def test_without_bias_correction_the_early_steps_are_too_long(step, ratio):
    lengths = []
    for corrected in (True, False):
        moments = Moments()
        for _ in range(step):  # a constant gradient, and an eps so small that it plays no part
            new, moments = adamw(
                one(0.0), one(0.7), moments, 1.0, eps=1e-200, weight_decay=0, bias_correction=corrected
            )
        lengths.append(-new["w"].item())
    assert lengths[0] == pytest.approx(1, rel=1e-9)
    assert lengths[1] == pytest.approx((1 - 0.9**step) / math.sqrt(1 - 0.999**step), rel=1e-9)
    assert lengths[1] == pytest.approx(ratio, abs=0.005)


def test_the_first_step_is_a_sign_step_of_the_length_of_the_rate(params):
    grads = gradients(0)
    new, _ = adamw(params, grads, Moments(), 0.1, weight_decay=0.0)
    for name, param in params.items():
        torch.testing.assert_close(new[name] - param, -0.1 * grads[name].sign(), rtol=1e-5, atol=0)


def test_the_size_of_the_gradient_does_not_matter_where_eps_is_small(params):
    large, small, large_moments, small_moments = params, params, Moments(), Moments()
    for step in range(10):
        grads = gradients(step)
        tiny = {name: grad / 1024 for name, grad in grads.items()}
        large, large_moments = adamw(large, grads, large_moments, 0.1, eps=1e-200)
        small, small_moments = adamw(small, tiny, small_moments, 0.1, eps=1e-200)
    torch.testing.assert_close(small, large, rtol=1e-12, atol=0)


def test_decay_pulls_by_rate_times_weight_decay_apart_from_the_gradient():
    params, moments = one(8.0), Moments()
    for _ in range(3):  # 1 - 0.5 * 1 = 1/2 at each step, exactly: 8, 4, 2, 1
        params, moments = adamw(params, one(0.0), moments, 0.5, weight_decay=1.0)
    assert params["w"].item() == 1


def test_rate_zero_changes_no_parameter_at_all_but_remembers_the_gradient(params):
    new, moments = adamw(params, gradients(0), Moments(), 0.0)
    assert all(torch.equal(new[name], params[name]) for name in params)
    assert moments.steps == dict.fromkeys(params, 1)
    torch.testing.assert_close(moments.first["scale"], 0.1 * gradients(0)["scale"])


def test_a_name_without_gradient_stays_without_decay_and_without_moments(params):
    grads = gradients(0)
    del grads["bias"]
    new, moments = adamw(params, grads, Moments(), 0.1, weight_decay=0.5)
    assert list(new) == list(params)
    assert torch.equal(new["bias"], params["bias"])
    assert new["bias"].data_ptr() != params["bias"].data_ptr()
    assert set(moments.first) == set(moments.second) == set(moments.steps) == {"weight", "scale"}


def test_a_name_whose_gradient_comes_later_counts_its_own_steps_as_torch_does(params):
    theirs = {name: torch.nn.Parameter(param.clone()) for name, param in params.items()}
    optimizer, moments = torch.optim.AdamW(theirs.values(), lr=0.03), Moments()
    for step in range(8):
        grads = {name: grad for name, grad in gradients(step).items() if name != "bias" or step in (3, 4, 7)}
        for name, param in theirs.items():
            param.grad = grads.get(name)
        optimizer.step()
        params, moments = adamw(params, grads, moments, 0.03)
    assert moments.steps == {"weight": 8, "bias": 3, "scale": 8}
    torch.testing.assert_close(params, {name: param.detach() for name, param in theirs.items()}, rtol=1e-10, atol=1e-12)


MUTANTS = (
    (
        "new[name] = (1 - lr * weight_decay) * param - lr * direction",
        "new[name] = (1 - weight_decay) * param - lr * direction",
    ),
    ("correct_first = 1 - betas[0] ** steps[name] if bias_correction else 1.0", "correct_first = 1.0"),
    ("correct_second = 1 - betas[1] ** steps[name] if bias_correction else 1.0", "correct_second = 1.0"),
    ("1 - betas[0] ** steps[name] if", "1 - betas[0] ** max(steps.values()) if"),
    ("(1 - betas[1]) * grad.square()", "(1 - betas[1]) * grad.abs()"),
    (").sqrt() + eps)", " + eps).sqrt())"),
    ("steps.get(name, 0) + 1", "steps.get(name, 0) + 2"),
    ("dict(moments.first), dict(moments.second)", "moments.first, moments.second"),
    ("new[name] = param.clone()", "new[name] = param"),
)
