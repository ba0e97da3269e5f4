"""AdaBound: by hand, against torch's Adam with its rates clipped, its bounds and both of its ends, and its laws."""

import math

import numpy as np
import pytest
import torch

from ftlab.formulas.adabound import adabound
from ftlab.formulas.adamw import Moments, adamw

SHAPES = {"weight": (4, 3), "bias": (3,), "scale": ()}


@pytest.fixture
def params():
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator, dtype=torch.double) for name, shape in SHAPES.items()}


def gradients(step):
    generator = torch.Generator().manual_seed(100 + step)
    return {
        name: torch.randn(shape, generator=generator, dtype=torch.double)
        * 10.0 ** torch.randint(-3, 4, shape, generator=generator)
        for name, shape in SHAPES.items()
    }


def one(*values):
    return {"w": torch.tensor(values, dtype=torch.double)}


def test_two_steps_worked_by_hand():
    # rate 0.5, final rate 1, gamma 1, betas 0.5 and 0.75, eps 1e-12, three entries
    # step 1, bounds 1 - 1/2 = 0.5 and 1 + 1/1 = 2; √(1 - 0.75) / (1 - 0.5) = 1
    #   g = (8, 0.8, 0.1):  m = (4, 0.4, 0.05), √v = g/2 = (4, 0.4, 0.05)
    #   0.5 · 1 / √v = (0.125, 1.25, 10), clipped (0.5, 1.25, 2); θ = 10 - (2, 0.5, 0.1)
    # step 2, bounds 1 - 1/3 = 2/3 and 1 + 1/2 = 1.5; √(1 - 0.5625) / (1 - 0.25) = 0.881917
    #   g = 0:  m = (2, 0.2, 0.025), √v = √0.75 · (4, 0.4, 0.05) = (3.464102, 0.346410, 0.043301)
    #   0.5 · 0.881917 / √v = (0.127294, 1.272938, 10.18), clipped (2/3, 1.272938, 1.5)
    #   θ = (8 - 4/3, 9.5 - 0.254588, 9.9 - 0.0375)
    settings = {"final_rate": 1.0, "gamma": 1.0, "betas": (0.5, 0.75), "eps": 1e-12}
    params, past = adabound(one(10.0, 10.0, 10.0), one(8.0, 0.8, 0.1), {}, 0.5, **settings)
    assert params["w"].tolist() == pytest.approx([8, 9.5, 9.9], rel=1e-9)
    assert past["w"][2] == 1
    params, past = adabound(params, one(0.0, 0.0, 0.0), past, 0.5, **settings)
    assert params["w"].tolist() == pytest.approx([8 - 4 / 3, 9.245412, 9.8625], abs=1e-6)
    assert past["w"][0].tolist() == pytest.approx([2, 0.2, 0.025])
    assert past["w"][1].tolist() == pytest.approx([12, 0.12, 0.001875])
    assert past["w"][2] == 2


def bounded(params, number, lr, *, final_rate=0.1, gamma=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
    """Let torch's Adam run, read the rate of every entry off its steps, and move by that rate as numpy clips it.

    Returns the parameters, how many rates were below, within and above their bounds, and torch's memory by name.
    """
    theirs = {name: torch.nn.Parameter(torch.zeros_like(param)) for name, param in params.items()}
    adam, met = torch.optim.Adam(theirs.values(), lr=lr, betas=betas), [0, 0, 0]
    for step in range(1, number + 1):
        adam.param_groups[0]["eps"] = eps / math.sqrt(1 - betas[1] ** step)  # torch adds it after the correction
        for name, grad in gradients(step - 1).items():
            theirs[name].data.zero_()
            theirs[name].grad = grad
        adam.step()
        low, high = final_rate - final_rate / (gamma * step + 1), final_rate + final_rate / (gamma * step)
        for name, param in theirs.items():
            mean = adam.state[param]["exp_avg"].numpy()
            rates = -param.detach().numpy() / mean
            for index, where in enumerate((rates < low, (low <= rates) & (rates <= high), rates > high)):
                met[index] += where.sum()
            moved = params[name].numpy() * (1 - lr * weight_decay) - np.clip(rates, low, high) * mean
            params = params | {name: torch.as_tensor(moved)}
    return params, met, {name: adam.state[param] for name, param in theirs.items()}


@pytest.mark.parametrize(
    "settings",
    [
        {"final_rate": 10.0, "gamma": 0.01},
        {"final_rate": 0.01, "gamma": 0.1},
        {"final_rate": 0.03, "gamma": 2.0, "betas": (0.5, 0.9), "eps": 1e-3},
        {"weight_decay": 0.3, "gamma": 0.5, "betas": (0.0, 0.0)},
        {},
    ],
)
def test_ten_steps_equal_those_of_torchs_adam_with_its_rates_clipped_by_numpy(params, settings):
    expected, met, memory = bounded(params, 10, 0.01, **settings)
    past = {}
    for step in range(10):
        params, past = adabound(params, gradients(step), past, 0.01, **settings)
    torch.testing.assert_close(params, expected, rtol=1e-10, atol=1e-12)
    for name, (first, second, count) in past.items():
        torch.testing.assert_close(first, memory[name]["exp_avg"], rtol=1e-12, atol=0)
        torch.testing.assert_close(second, memory[name]["exp_avg_sq"], rtol=1e-12, atol=0)
        assert count == memory[name]["step"] == 10
    assert min(met[0] + met[2], met[1]) > 0  # some rates were clipped and some were not


def test_the_clipped_rates_of_torchs_adam_meet_both_bounds_and_what_lies_between(params):
    _, met, _ = bounded(params, 10, 0.01, final_rate=0.03, gamma=2.0, betas=(0.5, 0.9))
    assert min(met) > 0


def rate_of(step, slope, **settings):
    """Return the rate of one entry at a step, when its gradient was always the same."""
    past = {"w": (*(torch.tensor([power], dtype=torch.double) for power in (slope, slope**2)), step - 1)}
    new, _ = adabound(one(0.0), one(slope), past, 1e-3, **settings)
    return -new["w"].item() / slope


def test_the_bounds_close_in_on_the_final_rate():
    # rate 0.001 with √v = 1e-9 or 1e9 would be 1e6 and 1e-12: it lies on the bounds, whose distance is at most 2·0.1/(γt)
    for step, gap in ((10, 20.0), (1000, 0.2), (10**5, 2e-3), (10**8, 2e-6)):
        low, high = rate_of(step, 1e9), rate_of(step, 1e-9, eps=1e-30)
        assert low == pytest.approx(0.1 * (1 - 1 / (1e-3 * step + 1)), rel=1e-9)
        assert high == pytest.approx(0.1 * (1 + 1 / (1e-3 * step)), rel=1e-9)
        assert low < 0.1 < high
        assert high - low <= gap
    assert rate_of(1000, 1e9) == pytest.approx(0.05, rel=1e-9)  # at step 1/γ half of it,
    assert rate_of(1000, 1e-9, eps=1e-30) == pytest.approx(0.2, rel=1e-9)  # and twice


def test_with_bounds_that_are_far_it_is_adam(params):
    bounded, adam, past, moments = params, params, {}, Moments()
    for step in range(10):
        bounded, past = adabound(
            bounded, gradients(step), past, 0.01, final_rate=1.0, gamma=1e-12, eps=1e-200, weight_decay=0.3
        )
        adam, moments = adamw(adam, gradients(step), moments, 0.01, eps=1e-200, weight_decay=0.3)
    torch.testing.assert_close(bounded, adam, rtol=1e-9, atol=1e-12)


def test_with_bounds_that_have_met_it_is_gradient_descent_with_momentum(params):
    theirs = {name: torch.nn.Parameter(param.clone()) for name, param in params.items()}
    optimizer = torch.optim.SGD(theirs.values(), lr=0.02, momentum=0.9, dampening=0.9)  # its first step is not dampened
    past = {}
    for step in range(10):
        for name, grad in gradients(step).items():
            theirs[name].grad = grad if step else 0.1 * grad
        optimizer.step()
        params, past = adabound(params, gradients(step), past, 0.01, final_rate=0.02, gamma=1e15)
    torch.testing.assert_close(params, {name: param.detach() for name, param in theirs.items()}, rtol=1e-10, atol=1e-12)


def test_a_rate_of_zero_is_held_up_by_the_lower_bound_and_a_final_rate_of_zero_stands_still(params):
    new, _ = adabound(params, gradients(0), {}, 0.0, final_rate=0.1, gamma=1.0)
    for name, grad in gradients(0).items():
        torch.testing.assert_close(params[name] - new[name], 0.05 * 0.1 * grad, rtol=1e-9, atol=1e-12)
    new, past = adabound(params, gradients(0), {}, 0.1, final_rate=0.0)
    assert all(torch.equal(new[name], params[name]) for name in params)
    torch.testing.assert_close(past["scale"][0], 0.1 * gradients(0)["scale"])


def test_decay_pulls_by_rate_times_weight_decay_apart_from_the_gradient():
    params, past = one(8.0), {}
    for _ in range(3):  # 1 - 0.5 * 1 = 1/2 at each step, exactly: 8, 4, 2, 1
        params, past = adabound(params, one(0.0), past, 0.5, weight_decay=1.0)
    assert params["w"].item() == 1


def test_a_name_without_gradient_stays_and_its_steps_are_not_counted(params):
    grads = gradients(0)
    del grads["bias"]
    new, past = adabound(params, grads, {}, 0.1, weight_decay=0.5)
    assert list(new) == list(params)
    assert torch.equal(new["bias"], params["bias"])
    assert new["bias"].data_ptr() != params["bias"].data_ptr()
    assert set(past) == {"weight", "scale"}
    _, past = adabound(params, gradients(1), past, 0.1)
    assert {name: kept[2] for name, kept in past.items()} == {"weight": 2, "bias": 1, "scale": 2}


MUTANTS = (
    ("(1 - 1 / (gamma * step + 1))", "(1 - 1 / (gamma * step + 2))"),
    ("(1 + 1 / (gamma * step))", "(1 + 1 / (gamma * step + 1))"),
    (".clamp_(low, high)", ".clamp_(max=high)"),
    (".clamp_(low, high)", ".clamp_(min=low)"),
    ("lr * math.sqrt(1 - betas[1] ** step)", "lr * (1 - betas[1] ** step)"),
    ("addcmul_(rates, first,", "addcmul_(rates, grad,"),
    ("(1 - lr * weight_decay)", "(1 - weight_decay)"),
    ("dict(past)", "past"),
    ("    step += 1\n", "    step = len(past) + 1\n"),
    (".add_(eps)", ""),
    ("addcmul_(grad, grad, value=1 - betas[1])", "add_(grad, alpha=1 - betas[1])"),
    ("(betas[1] * second)", "second.mul_(betas[1])"),
    ("(betas[0] * first)", "first.mul_(betas[0])"),
    ("new[name] = param.clone()", "new[name] = param"),
)
