"""L1 penalty: by hand, against torch and scikit-learn's Lasso, the zeros that it does not make, and its laws."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso
from torch.nn import functional

from ftlab.errors import ArgumentError
from ftlab.experiments.tiny_run import batch, begun, go_on, gradients, model as small_bert
from ftlab.formulas.l1_penalty import L1Penalty, l1_penalty
from ftlab.formulas.soft_threshold import soft_threshold
from ftlab.rule import Now
from ftlab.training.loop import begin, step


@pytest.fixture
def params():
    generator = torch.Generator().manual_seed(0)
    shapes = {"weight": (4, 3), "bias": (3,), "scale": ()}
    return {name: torch.randn(shape, generator=generator, dtype=torch.double) for name, shape in shapes.items()}


def slope(tensor, strength):
    """Return the penalty's gradient at a tensor, by autograd."""
    free = tensor.clone().requires_grad_()
    l1_penalty({"w": free}, strength).backward()
    return free.grad


def test_it_is_the_strength_times_the_sizes_worked_by_hand():
    # 0.25 * (3 + 4 + 2 + 1) = 2.5
    assert l1_penalty({"a": torch.tensor([3.0, -4.0]), "b": torch.tensor([[-2.0], [1.0]])}, 0.25) == 2.5
    assert l1_penalty({}, 1.0) == 0


def test_it_equals_the_l1_loss_of_torch_against_zero(params):
    expected = sum(functional.l1_loss(param, torch.zeros_like(param), reduction="sum") for param in params.values())
    assert l1_penalty(params, 0.7).item() == pytest.approx(0.7 * expected.item(), rel=1e-12)


def test_its_gradient_is_the_strength_times_the_sign_and_zero_at_zero(params):
    assert slope(torch.tensor([3.0, -0.001, 0.0, -0.0]), 0.5).tolist() == [0.5, -0.5, 0, 0]
    assert torch.autograd.gradcheck(lambda w: l1_penalty({"w": w}, 0.7), params["weight"].requires_grad_())


@pytest.fixture(scope="module")
def regression():
    chance = np.random.default_rng(0)
    inputs = chance.normal(size=(60, 12))
    targets = inputs[:, :3] @ np.array([2.0, -1.0, 0.5]) + 0.1 * chance.normal(size=60)
    return inputs, targets, Lasso(alpha=0.2, fit_intercept=False, tol=1e-12, max_iter=100_000).fit(inputs, targets)


def test_its_steps_come_near_the_lasso_but_make_none_of_its_zeros(regression):
    inputs, targets, lasso = regression
    x, y = torch.tensor(inputs), torch.tensor(targets)
    generator = torch.Generator().manual_seed(0)
    pulled = soft = torch.randn(12, generator=generator, dtype=torch.double)
    for _ in range(2000):
        gradient = x.T @ (x @ pulled - y) / len(y)  # of 1/(2N)·‖y − Xw‖², as Lasso has it
        pulled = pulled - 0.01 * (gradient + slope(pulled, 0.2))
        proximal = soft - 0.01 * (x.T @ (x @ soft - y) / len(y))
        soft = soft_threshold({"w": proximal}, 0.01 * 0.2)["w"]
    np.testing.assert_allclose(pulled.numpy(), lasso.coef_, rtol=0, atol=0.01)
    zeros = int((lasso.coef_ == 0).sum())
    assert zeros > 5
    assert int((soft == 0).sum()) == zeros
    assert int((pulled == 0).sum()) == 0


def test_the_lasso_is_a_minimum_of_loss_and_penalty(regression):
    inputs, targets, lasso = regression
    x, y, best = torch.tensor(inputs), torch.tensor(targets), torch.tensor(lasso.coef_)

    def objective(weights):
        return ((y - x @ weights).square().sum() / (2 * len(y)) + l1_penalty({"w": weights}, 0.2)).item()

    generator = torch.Generator().manual_seed(0)
    for size in (1e-3, 1e-2, 0.1, 1.0):
        for _ in range(20):
            assert objective(best + size * torch.randn(12, generator=generator, dtype=torch.double)) > objective(best)


def test_a_hundred_steps_make_almost_no_exact_zeros_where_soft_thresholding_makes_many():
    generator = torch.Generator().manual_seed(0)
    pulled = soft = torch.randn(1000, generator=generator)
    for _ in range(100):
        pulled = pulled - 0.001 * slope(pulled, 1.0)
        soft = soft_threshold({"w": soft}, 0.001)["w"]
    assert int((pulled == 0).sum()) <= 1
    assert int((pulled.abs() <= 0.001).sum()) > 50  # they go to and fro within one step of zero
    assert int((soft == 0).sum()) > 50


def test_it_grows_with_the_scale_and_is_nothing_at_strength_zero(params):
    doubled = {name: -2 * param for name, param in params.items()}
    assert l1_penalty(doubled, 0.7) == 2 * l1_penalty(params, 0.7)
    assert l1_penalty(params, 0) == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_in_half_precision_the_sum_is_neither_rounded_nor_too_large_for_its_type(dtype):
    free = torch.full((300, 1000), 1.0, dtype=dtype, requires_grad=True)
    found = l1_penalty({"w": free, "b": torch.tensor([3.0], dtype=dtype)}, 1.0)
    assert found.item() == 300_003
    found.backward()
    assert torch.equal(free.grad, torch.ones_like(free))


def test_rule_takes_the_weights_that_it_remembers_and_no_graph_at_strength_zero():
    free = {name: torch.tensor([-2.0], requires_grad=True) for name in ("a", "b")}
    assert L1Penalty(0.5).penalty(free, ["a"], Now()).item() == 1.0
    nothing = L1Penalty(0).penalty(free, ["a"], Now())
    assert (nothing.item(), nothing.requires_grad) == (0, False)
    names = begun([L1Penalty(0.1)]).memory[0]
    assert names == [name for name in names if name.endswith("weight") and "LayerNorm" not in name]
    assert len(names) == 17  # three embeddings, six matrices in each of two layers, the pooler, the head


def test_rule_adds_the_strength_times_the_signs_to_the_gradient_of_a_real_step():
    pulled, plain = begun([L1Penalty(0.5)]), begun([])
    before = {name: param.detach().clone() for name, param in plain.params.items()}
    record = step(pulled, batch(0))
    go_on(plain, 1)
    names = pulled.memory[0]
    assert record["penalty"] == pytest.approx(0.5 * sum(before[name].abs().sum().item() for name in names), rel=1e-6)
    expected = gradients(plain)
    for name, grad in gradients(pulled).items():
        extra = 0.5 * before[name].sign() if name in names else 0
        torch.testing.assert_close(grad, expected[name] + extra, rtol=1e-6, atol=1e-7)


def test_rule_in_real_steps_makes_no_zeros():
    state = begin(small_bert(), [0] * 30, [L1Penalty(0.1, "*.layer.*.weight")], lr=0.01, optimizer="sgd")
    before = sum(state.params[name].abs().sum().item() for name in state.memory[0])
    for number in range(30):
        step(state, batch(number))
    assert sum(state.params[name].abs().sum().item() for name in state.memory[0]) < before - 30
    assert sum(int((state.params[name] == 0).sum()) for name in state.memory[0]) == 0


def test_rule_keeps_to_its_pattern_and_to_what_is_trainable():
    assert begun([L1Penalty(0.1, "*.query.*")]).memory[0] == [
        f"bert.encoder.layer.{layer}.attention.self.query.weight" for layer in (0, 1)
    ]
    for pattern in ("*.bias", "*LayerNorm.weight"):
        with pytest.raises(ArgumentError, match="^L1Penalty: pattern .* must match a trainable weight. Got none"):
            begun([L1Penalty(0.1, pattern)])
    net = small_bert()
    net.classifier.weight.requires_grad_(False)
    assert "classifier.weight" not in begin(net, [batch(0)], [L1Penalty(0.1)]).memory[0]


def test_rule_tells_its_strength_and_that_it_makes_no_zeros():
    assert L1Penalty(0.5).equation == "Ω = 0.5·Σ|θ|"
    assert "add 0.5 times the absolute value of every weight" in L1Penalty(0.5).description
    assert "among a.*, b (no" in L1Penalty(0.5, ("a.*", "b")).description
    assert "makes almost no exact zeros" in L1Penalty(0.5).cautions([])[0]


MUTANTS = (
    ("dtype=torch.promote_types(param.dtype, torch.float32)", "dtype=param.dtype"),
    ("strength * torch.stack", "strength / 2 * torch.stack"),
    ("param.abs().sum(", "param.square().sum("),
    ("param.abs().sum(", "param.sum("),
    ("for name in memory if self.strength}", "for name in memory}"),
    ("penalised(model, now.params, self.pattern", "penalised(model, now.params, '*'"),
    ('penalised(model, now.params, self.pattern, "L1Penalty")', "list(now.params)"),
    ("at_least=0)\n    norms", "at_least=-1)\n    norms"),
)
