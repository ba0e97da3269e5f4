"""Soft threshold: by hand, against torch, scikit-learn and scipy, beside sign steps, and its life in a training."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from sklearn.linear_model import Lasso
from torch.nn import functional

from ftlab.errors import ArgumentError
from ftlab.experiments.tiny_run import batch, begun, freeze, go_on, model as small_bert
from ftlab.formulas.sign_prune import sign_prune
from ftlab.formulas.soft_threshold import SoftThreshold, soft_threshold
from ftlab.rule import Now
from ftlab.training.loop import begin, step


@pytest.fixture
def params():
    generator = torch.Generator().manual_seed(0)
    shapes = {"weight": (40, 30), "bias": (30,), "scale": ()}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def test_entries_move_towards_zero_and_stop_there_worked_by_hand():
    # by 1/2: 2 becomes 1.5, -1 becomes -0.5; 0.5, -0.25 and 0 are within 1/2 of zero and become 0
    new = soft_threshold({"w": torch.tensor([2.0, -1.0, 0.5, -0.25, 0.0])}, 0.5)
    assert torch.equal(new["w"], torch.tensor([1.5, -0.5, 0.0, 0.0, 0.0]))


def test_each_name_has_its_own_strength_worked_by_hand():
    given = {"a": torch.tensor([1.0]), "b": torch.tensor([1.0]), "c": torch.tensor([1.0])}
    new = soft_threshold(given, {"b": 0.25, "a": 2.0})
    assert {name: float(one) for name, one in new.items()} == {"a": 0.0, "b": 0.75, "c": 1.0}
    assert list(new) == ["a", "b", "c"]
    assert new["c"].data_ptr() != given["c"].data_ptr()


@pytest.mark.parametrize("strength", [0.0, 1e-6, 0.3, 1.0, 100.0])
def test_it_equals_softshrink_of_torch(params, strength):
    for name, new in soft_threshold(params, strength).items():
        assert torch.equal(new, functional.softshrink(params[name], strength))


@pytest.mark.parametrize("start", [-2.0, -0.1, 0.05, 0.7, 3.0])
def test_it_minimises_half_the_squared_distance_plus_the_l1_norm(start):
    found = minimize_scalar(lambda x: (x - start) ** 2 / 2 + 0.4 * abs(x), bounds=(-4, 4), options={"xatol": 1e-9})
    new = soft_threshold({"w": torch.tensor([start], dtype=torch.float64)}, 0.4)["w"]
    assert float(new) == pytest.approx(found.x, abs=1e-6)


def test_after_gradient_steps_its_end_point_is_the_lasso_of_scikit_learn():
    chance = np.random.default_rng(0)
    inputs = chance.normal(size=(60, 12))
    targets = inputs[:, :3] @ np.array([2.0, -1.0, 0.5]) + 0.1 * chance.normal(size=60)
    lasso = Lasso(alpha=0.2, fit_intercept=False, tol=1e-12, max_iter=100_000).fit(inputs, targets)
    x, y = torch.tensor(inputs), torch.tensor(targets)
    lr = 0.3
    weights = {"w": torch.zeros(12, dtype=torch.float64)}
    for _ in range(2000):
        gradient = x.T @ (x @ weights["w"] - y) / len(y)  # of 1/(2N)·‖y − Xw‖², as Lasso has it
        weights = soft_threshold({"w": weights["w"] - lr * gradient}, lr * 0.2)
    np.testing.assert_allclose(weights["w"].numpy(), lasso.coef_, rtol=0, atol=1e-8)
    assert (weights["w"] == 0).sum() == (lasso.coef_ == 0).sum() > 5


def test_a_hundred_steps_make_exact_zeros_where_a_hundred_sign_steps_make_none():
    generator = torch.Generator().manual_seed(0)
    soft = sign = {"w": torch.randn(1000, generator=generator)}
    near = int((soft["w"].abs() < 0.0999).sum())
    for _ in range(100):
        sign = sign_prune(sign, {"w": torch.randn(1000, generator=generator)}, 0.001)
        soft = soft_threshold(soft, 0.001)
    assert int((sign["w"] == 0).sum()) == 0
    assert int((soft["w"] == 0).sum()) >= near > 50


def test_two_steps_are_one_of_the_joint_length():
    given = torch.randint(-(2**12), 2**12, (1000,), generator=torch.Generator().manual_seed(0)) / 2**10
    twice = soft_threshold(soft_threshold({"w": given}, 2**-8), 2**-7)
    assert torch.equal(twice["w"], soft_threshold({"w": given}, 2**-8 + 2**-7)["w"])


def test_it_is_odd_never_grows_and_never_parts_two_vectors(params):
    one, other = params["weight"], params["weight"].flip(0)
    new, turned, far = (soft_threshold({"w": given}, 0.3)["w"] for given in (one, -one, other))
    assert torch.equal(turned, -new)
    assert (new.abs() <= one.abs()).all()
    assert (new * one >= 0).all()
    assert (new - far).norm() <= (one - other).norm()


def test_nan_and_infinity_are_not_hidden():
    new = soft_threshold({"w": torch.tensor([math.nan, math.inf, -math.inf])}, 1.0)["w"]
    assert new[0].isnan()
    assert new[1:].tolist() == [math.inf, -math.inf]


def test_its_gradient_is_one_outside_and_zero_inside():
    given = torch.tensor([-2.0, -0.1, 0.1, 3.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda w: soft_threshold({"w": w}, 0.5)["w"], given)
    (gradient,) = torch.autograd.grad(soft_threshold({"w": given}, 0.5)["w"].sum(), given)
    assert gradient.tolist() == [1, 0, 0, 1]


def test_rule_moves_the_matrices_alone_by_the_rate_of_each():
    state = begun([SoftThreshold(0.5)])
    names = state.memory[0]
    others = ("embeddings", "LayerNorm", "bias")
    assert names == [name for name in state.params if not any(one in name for one in others)]
    assert len(names) == 14  # six in each of two layers, the pooler, the head
    params = {name: param.detach() for name, param in state.params.items()}
    rates = {name: 0.01 * (index + 1) for index, name in enumerate(params)}
    left_out = names[3]
    grads = {name: param for name, param in params.items() if name != left_out}
    new, memory = SoftThreshold(0.5).project(params, names, Now(params=params, grads=grads, rates=rates))
    assert memory is names
    assert list(new) == [name for name in names if name != left_out]
    for name, tensor in new.items():
        assert torch.equal(tensor, functional.softshrink(params[name], 0.5 * rates[name]))


def test_rule_in_real_steps_is_the_plain_step_and_then_the_formula():
    soft, plain = begun([SoftThreshold(0.1)]), begun([])
    go_on(soft, 1)
    go_on(plain, 1)
    for name, param in plain.params.items():
        expected = functional.softshrink(param, 0.1 * 1e-2) if name in soft.memory[0] else param
        assert torch.equal(soft.params[name], expected), name
    assert sum(int((soft.params[name] == 0).sum()) for name in soft.memory[0]) > 100


def test_rule_keeps_to_its_pattern_and_to_what_is_trainable():
    assert begun([SoftThreshold(0.1, "*.query.*")]).memory[0] == [
        f"bert.encoder.layer.{layer}.attention.self.query.weight" for layer in (0, 1)
    ]
    for pattern in ("*.bias", "*embeddings*", "*LayerNorm.weight"):
        with pytest.raises(ArgumentError, match="^SoftThreshold: pattern .* must match a trainable matrix. Got none"):
            begun([SoftThreshold(0.1, pattern)])
    with pytest.raises(ArgumentError, match="must match a parameter"):
        begun([SoftThreshold(0.1, "decoder.*")])
    net = freeze(small_bert())
    net.classifier.weight.requires_grad_(False)
    state = begin(net, [batch(0)], [SoftThreshold(0.1)])
    before = net.classifier.weight.clone()
    step(state, batch(0))
    assert torch.equal(net.classifier.weight, before)


def test_rule_tells_its_strength_and_what_it_moves():
    assert SoftThreshold(0.5).equation == "θ ← sign(θ)·max(|θ| − 0.5·α, 0)"
    assert "every weight matrix by 0.5 times the learning rate" in SoftThreshold(0.5).description
    assert "among a.*, b by" in SoftThreshold(0.5, ("a.*", "b")).description
    assert SoftThreshold(0.5).cautions([]) == []


MUTANTS = (
    ("param - param.clamp(-by_name[name], by_name[name])", "param - by_name[name] * param.sign()"),
    ("param - param.clamp(-by_name[name], by_name[name])", "param.clamp(-by_name[name], by_name[name])"),
    ("else param.clone()", "else param"),
    ("self.strength * now.rates[name]", "self.strength"),
    ("for name in memory if name in now.grads}", "for name in memory}"),
    ("if name in chosen]", "]"),
)
