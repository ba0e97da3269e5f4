"""SAM: by hand, against a search for the greatest loss nearby, and its laws."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from ftlab.formulas.sam import sam
from ftlab.parameters import joint_norm


@pytest.fixture
def tensors():
    generator = torch.Generator().manual_seed(0)
    shapes = {"weight": (4, 3), "bias": (3,), "scale": ()}
    params = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return params, {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def test_all_tensors_move_together_by_rho_up_the_slope_worked_by_hand():
    # the length of (2, 3, -6) is 7, so rho = 14 moves by twice the gradient
    params = {"a": torch.tensor([1.0, 1.0]), "b": torch.tensor([[1.0]])}
    new = sam(params, {"a": torch.tensor([2.0, 3.0]), "b": torch.tensor([[-6.0]])}, 14.0)
    torch.testing.assert_close(new, {"a": torch.tensor([5.0, 7.0]), "b": torch.tensor([[-11.0]])})


def test_it_equals_numpy_on_one_long_vector(tensors):
    params, grads = tensors
    point, slope = (np.concatenate([one.numpy().ravel() for one in some.values()]).astype(float) for some in tensors)
    expected = point + 0.3 * slope / np.sqrt((slope * slope).sum())
    found = torch.cat([one.flatten() for one in sam(params, grads, 0.3).values()])
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_within_a_small_ball_it_finds_the_greatest_loss():
    chance = np.random.default_rng(0)
    middle, shape = chance.normal(size=5), chance.normal(size=(5, 5))

    def loss(point):
        return float(np.sum((shape @ point) ** 2) + np.sin(point).sum())

    free = torch.tensor(middle, requires_grad=True)
    ((torch.tensor(shape) @ free).square().sum() + free.sin().sum()).backward()
    inside = {"type": "ineq", "fun": lambda way: 1 - way @ way}
    for rho in (1e-2, 1e-3, 1e-4):

        def rise(way, rho=rho):
            return (loss(middle + rho * way) - loss(middle)) / rho

        searched = minimize(lambda way: -rise(way), np.full(5, 0.2), constraints=inside, tol=1e-10)
        up = (sam({"w": free.detach()}, {"w": free.grad}, rho)["w"].numpy() - middle) / rho
        assert np.linalg.norm(up) == pytest.approx(1, rel=1e-6)
        assert rise(up) == pytest.approx(-searched.fun, rel=20 * rho)  # to first order


@pytest.mark.parametrize("rho", [1e-4, 0.05, 2.0])
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_the_distance_is_rho_whatever_the_size_of_the_gradient(rho, size, tensors):
    grads = {name: size * grad for name, grad in tensors[1].items()}
    zeros = {name: torch.zeros_like(grad) for name, grad in grads.items()}
    moved = sam(zeros, grads, rho)
    assert joint_norm(moved).item() == pytest.approx(rho, rel=1e-5)
    for name, grad in grads.items():
        assert torch.equal(moved[name].sign(), grad.sign())


def test_a_name_without_gradient_stays_and_a_gradient_without_parameter_does_not_count(tensors):
    params, grads = tensors
    expected = sam({"scale": params["scale"]}, {"scale": grads["scale"]}, 0.5)["scale"]
    new = sam(
        {"bias": params["bias"], "scale": params["scale"]}, {"scale": grads["scale"], "other": torch.ones(9)}, 0.5
    )
    assert list(new) == ["bias", "scale"]
    assert torch.equal(new["bias"], params["bias"])
    assert new["bias"].data_ptr() != params["bias"].data_ptr()
    assert torch.equal(new["scale"], expected)
    assert new["scale"] - params["scale"] == pytest.approx(math.copysign(0.5, grads["scale"]), rel=1e-5)


def test_nothing_to_move_stays_and_a_gradient_that_is_no_number_is_not_hidden(tensors):
    assert sam({}, {}, 0.1) == {}
    assert torch.equal(sam(tensors[0], {}, 0.1)["weight"], tensors[0]["weight"])
    for odd in (math.nan, math.inf):
        grads = tensors[1] | {"scale": torch.tensor(odd)}
        assert sam(tensors[0], grads, 0.1)["scale"].isnan()


MUTANTS = (
    ("param + factor", "param - factor"),
    (" + 1e-12)\n", ")\n"),
    (" + 1e-12)\n", " + 1e-3)\n"),
    ("factor = rho / (joint_norm", "factor = rho / (0 * joint_norm"),
    ("{name: grads[name] for name in params if name in grads}", "grads"),
    ("else param.clone()", "else param"),
)
