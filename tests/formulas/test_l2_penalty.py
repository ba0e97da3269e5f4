"""L2 penalty: by hand, against torch's optimizers; the same as weight decay under SGD and not under Adam."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import nn
from torch.nn import functional

from ftlab.errors import ArgumentError
from ftlab.experiments.tiny_run import batch, begun, go_on, gradients, model as small_bert
from ftlab.formulas.adamw import Moments, adamw
from ftlab.formulas.gradient_descent import gradient_descent
from ftlab.formulas.l2_penalty import L2Penalty, l2_penalty
from ftlab.formulas.weight_decay import weight_decay
from ftlab.rule import Now
from ftlab.training.loop import begin, step


@pytest.fixture
def params():
    generator = torch.Generator().manual_seed(0)
    shapes = {"weight": (4, 3), "bias": (3,), "scale": ()}
    return {name: torch.randn(shape, generator=generator, dtype=torch.double) for name, shape in shapes.items()}


def task(number, params):
    """Return the gradient of some loss that is no function of the parameters' size, larger for some than for others."""
    generator = torch.Generator().manual_seed(100 + number)
    sizes = {"weight": 10.0, "bias": 0.1, "scale": 1.0}
    return {
        name: sizes[name] * (1 + torch.rand(param.shape, generator=generator, dtype=torch.double))
        for name, param in params.items()
    }


def coupled(number, params, strength):
    """Return the gradient of task and penalty together, the latter's by autograd."""
    free = {name: param.clone().requires_grad_() for name, param in params.items()}
    l2_penalty(free, strength).backward()
    return {name: grad + free[name].grad for name, grad in task(number, params).items()}


def test_it_is_half_the_strength_times_the_squares_worked_by_hand():
    # 0.25 / 2 * (9 + 16 + 4 + 1) = 0.125 * 30
    assert l2_penalty({"a": torch.tensor([3.0, -4.0]), "b": torch.tensor([[2.0], [1.0]])}, 0.25) == 3.75
    assert l2_penalty({}, 1.0) == 0


def test_it_equals_half_the_squared_error_of_torch_against_zero(params):
    expected = sum(functional.mse_loss(param, torch.zeros_like(param), reduction="sum") for param in params.values())
    assert l2_penalty(params, 0.7).item() == pytest.approx(0.35 * expected.item(), rel=1e-12)


def test_its_gradient_is_the_strength_times_the_parameters(params):
    free = {name: param.requires_grad_() for name, param in params.items()}
    l2_penalty(free, 0.7).backward()
    for param in free.values():
        torch.testing.assert_close(param.grad, 0.7 * param.detach(), rtol=1e-12, atol=0)
    assert torch.autograd.gradcheck(lambda w: l2_penalty({"w": w}, 0.7), free["weight"])


def test_with_squares_of_residuals_its_minimum_is_the_ridge_of_scikit_learn():
    chance = np.random.default_rng(0)
    inputs, targets = chance.normal(size=(30, 4)), chance.normal(size=30)
    x, y, weights = torch.tensor(inputs), torch.tensor(targets), torch.zeros(4, dtype=torch.double)
    for _ in range(2000):
        free = weights.clone().requires_grad_()
        (0.5 * (y - x @ free).square().sum() + l2_penalty({"w": free}, 3.0)).backward()
        weights = weights - 0.01 * free.grad
    np.testing.assert_allclose(
        weights.numpy(), Ridge(alpha=3.0, fit_intercept=False).fit(inputs, targets).coef_, rtol=1e-9
    )


def test_under_sgd_coupled_and_decoupled_are_the_same(params):
    pulled = shrunk = params
    for number in range(10):
        pulled = gradient_descent(pulled, coupled(number, pulled, 0.7), 0.03)
        shrunk = gradient_descent(weight_decay(shrunk, dict.fromkeys(shrunk, 0.03), 0.7), task(number, shrunk), 0.03)
    torch.testing.assert_close(pulled, shrunk, rtol=1e-12, atol=1e-14)


def test_under_adam_coupled_and_decoupled_are_not_the_same(params):
    pulled, shrunk, alone = ((params, Moments()) for _ in range(3))
    for number in range(10):
        pulled = adamw(pulled[0], coupled(number, pulled[0], 0.7), pulled[1], 0.03, weight_decay=0.0)
        shrunk = adamw(shrunk[0], task(number, shrunk[0]), shrunk[1], 0.03, weight_decay=0.7)
        alone = adamw(alone[0], task(number, alone[0]), alone[1], 0.03, weight_decay=0.0)
    entry = params["weight"].abs().argmax()  # of the tensor whose gradients are large
    moved = {
        name: (one[0]["weight"].flatten()[entry] - alone[0]["weight"].flatten()[entry]).abs().item()
        for name, one in (("coupled", pulled), ("decoupled", shrunk))
    }
    assert moved["decoupled"] > 0.3  # 1 - (1 - 0.03 * 0.7)^10 = 19 % of an entry of about 2
    assert moved["coupled"] < moved["decoupled"] / 20
    theirs = []
    for cls in (torch.optim.Adam, torch.optim.AdamW):  # the two are told apart by torch in the same way
        free = {name: nn.Parameter(param.clone()) for name, param in params.items()}
        optimizer = cls(free.values(), lr=0.03, weight_decay=0.7)
        for number in range(10):
            for name, grad in task(number, params).items():
                free[name].grad = grad
            optimizer.step()
        mine = pulled if cls is torch.optim.Adam else shrunk
        torch.testing.assert_close({name: one.detach() for name, one in free.items()}, mine[0], rtol=1e-9, atol=1e-12)
        theirs.append(free["weight"])
    assert not torch.allclose(*theirs, rtol=0.01)


def test_ten_steps_of_sgd_equal_torch_with_its_own_weight_decay(params):
    theirs = {name: nn.Parameter(param.clone()) for name, param in params.items()}
    optimizer = torch.optim.SGD(theirs.values(), lr=0.03, weight_decay=0.7)
    for number in range(10):
        for name, grad in task(number, params).items():
            theirs[name].grad = grad
        optimizer.step()
        params = gradient_descent(params, coupled(number, params, 0.7), 0.03)
    torch.testing.assert_close(params, {name: one.detach() for name, one in theirs.items()}, rtol=1e-12, atol=1e-14)


def test_it_grows_with_the_square_of_the_scale_and_is_nothing_at_strength_zero(params):
    doubled = {name: 2 * param for name, param in params.items()}
    assert l2_penalty(doubled, 0.7) == 4 * l2_penalty(params, 0.7)
    assert l2_penalty(params, 0) == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_in_half_precision_the_sum_is_neither_rounded_nor_too_large_for_its_type(dtype):
    free = torch.full((300, 1000), 1.0, dtype=dtype, requires_grad=True)
    found = l2_penalty({"w": free, "b": torch.tensor([3.0], dtype=dtype)}, 1.0)
    assert found.item() == 300_009 / 2
    found.backward()
    assert torch.equal(free.grad, torch.ones_like(free))


def test_rule_takes_the_weights_that_it_remembers_and_no_graph_at_strength_zero():
    free = {name: torch.tensor([2.0], requires_grad=True) for name in ("a", "b")}
    assert L2Penalty(0.5).penalty(free, ["a"], Now()).item() == 1.0
    nothing = L2Penalty(0).penalty(free, ["a"], Now())
    assert (nothing.item(), nothing.requires_grad) == (0, False)
    names = begun([L2Penalty(0.1)]).memory[0]
    assert names == [name for name in names if name.endswith("weight") and "LayerNorm" not in name]
    assert len(names) == 17  # three embeddings, six matrices in each of two layers, the pooler, the head


def test_rule_adds_the_strength_times_the_weights_to_the_gradient_of_a_real_step():
    pulled, plain = begun([L2Penalty(0.5)]), begun([])
    before = {name: param.detach().clone() for name, param in plain.params.items()}
    record = step(pulled, batch(0))
    go_on(plain, 1)
    names = pulled.memory[0]
    assert record["penalty"] == pytest.approx(
        0.25 * sum(before[name].square().sum().item() for name in names), rel=1e-6
    )
    expected = gradients(plain)
    for name, grad in gradients(pulled).items():
        extra = 0.5 * before[name] if name in names else 0
        torch.testing.assert_close(grad, expected[name] + extra, rtol=1e-6, atol=1e-8)


def test_rule_under_sgd_is_the_decayed_step_and_under_adamw_is_not():
    ends = {}
    for optimizer in ("sgd", "adamw"):
        states = [begin(small_bert(), [0], recipe, lr=0.1, optimizer=optimizer) for recipe in ([L2Penalty(0.5)], [])]
        names = states[0].memory[0]
        with torch.no_grad():
            states[0].optimizer.param_groups[0]["weight_decay"] = 0.0  # AdamW's own
            states[1].optimizer.param_groups[0]["weight_decay"] = 0.5 if optimizer == "adamw" else 0.0
        before = states[1].params[names[5]].detach().clone()
        for state in states:
            step(state, batch(0))
        if optimizer == "sgd":  # decay the weights as they were, then take the plain step
            states[1].params[names[5]].data -= 0.1 * 0.5 * before
        ends[optimizer] = [state.params[names[5]].detach() for state in states]
    torch.testing.assert_close(*ends["sgd"], rtol=1e-5, atol=1e-7)
    assert (ends["adamw"][0] - ends["adamw"][1]).abs().max() > 0.01


def test_rule_keeps_to_its_pattern_and_to_what_is_trainable():
    assert begun([L2Penalty(0.1, "*.query.*")]).memory[0] == [
        f"bert.encoder.layer.{layer}.attention.self.query.weight" for layer in (0, 1)
    ]
    for pattern in ("*.bias", "*LayerNorm.weight"):
        with pytest.raises(ArgumentError, match="^L2Penalty: pattern .* must match a trainable weight. Got none"):
            begun([L2Penalty(0.1, pattern)])
    net = small_bert()
    net.classifier.weight.requires_grad_(False)
    assert "classifier.weight" not in begin(net, [batch(0)], [L2Penalty(0.1)]).memory[0]


def test_rule_tells_its_strength_and_that_it_is_no_decay_under_adam():
    assert L2Penalty(0.5).equation == "Ω = 0.25·Σθ²"
    assert "add 0.25 times the square of every weight" in L2Penalty(0.5).description
    assert "among a.*, b (no" in L2Penalty(0.5, ("a.*", "b")).description
    assert "Under Adam an L2 penalty is not weight decay" in L2Penalty(0.5).cautions([])[0]


MUTANTS = (
    ("dtype=torch.promote_types(param.dtype, torch.float32)", "dtype=param.dtype"),
    ("strength / 2 * torch", "strength * torch"),
    ("param.square().sum(", "param.abs().sum("),
    ("param.square().sum(", "param.square().mean("),
    ("for name in memory if self.strength}", "for name in memory}"),
    ("penalised(model, now.params, self.pattern", "penalised(model, now.params, '*'"),
    ('penalised(model, now.params, self.pattern, "L2Penalty")', "list(now.params)"),
    ("at_least=0)\n    squares", "at_least=-1)\n    squares"),
)
