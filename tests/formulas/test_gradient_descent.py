"""Gradient descent, formula (2): by hand, against torch and optax, on a quadratic, and its laws."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from ftlab.formulas.gradient_descent import gradient_descent


@pytest.fixture
def tensors():
    generator = torch.Generator().manual_seed(0)
    shapes = {"weight": (4, 3), "bias": (3,), "scale": ()}
    params = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return params, {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def descend(lr, curvature, steps):
    """Return the path of descent on J = L x²/2, whose gradient is L x, from x = 1."""
    path = [torch.tensor(1.0, dtype=torch.double)]
    for _ in range(steps):
        path.append(gradient_descent({"x": path[-1]}, {"x": curvature * path[-1]}, lr)["x"])
    return torch.stack(path)


def test_step_goes_against_the_gradient_worked_by_hand():
    # 1 - 0.5 * 4 = -1, 2 - 0.5 * -6 = 5, 3 - 0.5 * 0 = 3
    new = gradient_descent({"w": torch.tensor([1.0, 2.0, 3.0])}, {"w": torch.tensor([4.0, -6.0, 0.0])}, 0.5)
    assert torch.equal(new["w"], torch.tensor([-1.0, 5.0, 3.0]))


def test_five_steps_equal_those_of_torch_sgd(tensors):
    params, _ = tensors
    theirs = {name: torch.nn.Parameter(param.clone()) for name, param in params.items()}
    optimizer = torch.optim.SGD(theirs.values(), lr=0.03)
    for step in range(5):
        grads = {name: (step + 1) * param.cos() for name, param in params.items()}
        for name, param in theirs.items():
            param.grad = grads[name].clone()
        optimizer.step()
        params = gradient_descent(params, grads, 0.03)
    torch.testing.assert_close(params, {name: param.detach() for name, param in theirs.items()}, rtol=1e-6, atol=1e-7)


def test_step_equals_that_of_optax_sgd(tensors):
    params, grads = ({name: jnp.asarray(one.numpy()) for name, one in some.items()} for some in tensors)
    sgd = optax.sgd(0.03)
    expected = optax.apply_updates(params, sgd.update(grads, sgd.init(params))[0])
    for name, new in gradient_descent(*tensors, 0.03).items():
        torch.testing.assert_close(new, torch.tensor(np.asarray(expected[name])), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("curvature", [0.5, 2.0, 8.0])
class TestOnAQuadratic:
    @pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
    def test_falls_without_overshooting_up_to_one_over_the_curvature(self, curvature, share):
        path = descend(share / curvature, curvature, 200)
        assert (path >= 0).all()
        assert (path.diff() <= 0).all()
        assert path[-1] < 1e-6

    @pytest.mark.parametrize("share", [1.1, 1.5, 1.9])
    def test_overshoots_yet_converges_below_two_over_the_curvature(self, curvature, share):
        path = descend(share / curvature, curvature, 200)
        assert (path[1:11] * path[:10] < 0).all()
        assert path[-1].abs() < 1e-6

    def test_swings_for_ever_at_two_over_the_curvature(self, curvature):
        assert torch.equal(descend(2 / curvature, curvature, 4), torch.tensor([1.0, -1, 1, -1, 1], dtype=torch.double))

    @pytest.mark.parametrize("share", [2.1, 4.0])
    def test_diverges_beyond_two_over_the_curvature(self, curvature, share):
        path = descend(share / curvature, curvature, 200).abs()
        assert (path.diff() > 0).all()
        assert path[-1] > 1e6


def test_a_name_without_gradient_stays_and_keeps_its_place(tensors):
    params, grads = tensors
    del grads["bias"]
    new = gradient_descent(params, grads, 0.1)
    assert list(new) == ["weight", "bias", "scale"]
    assert torch.equal(new["bias"], params["bias"])
    assert new["bias"].data_ptr() != params["bias"].data_ptr()


def test_the_step_can_be_differentiated():
    x = torch.tensor([0.3, -1.2], dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: gradient_descent({"x": x}, {"x": x.sin()}, 0.1)["x"], x)


MUTANTS = (
    ("param - lr * grads[name]", "param + lr * grads[name]"),
    ("param - lr * grads[name]", "param - grads[name]"),
    ("else param.clone()", "else param"),
    ("at_least=0)", "above=0)"),
)
