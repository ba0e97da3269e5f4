"""L2-SP: by hand, against numpy, its gradient, and its place in a step."""

import numpy as np
import pytest
import torch
from torch import nn

from ftlab.experiments.tiny_run import batch, begun, go_on, model
from ftlab.formulas.l2_sp import L2SP, l2_sp
from ftlab.formulas.lora import LoRA
from ftlab.models.load import Pretrained
from ftlab.training.loop import begin, step


@pytest.fixture
def both():
    chance = torch.Generator().manual_seed(0)
    shapes = {"body.weight": (4, 3), "body.bias": (3,), "head": (2, 3)}
    params = {name: torch.randn(shape, generator=chance, dtype=torch.double) for name, shape in shapes.items()}
    origin = {name: torch.randn(shapes[name], generator=chance, dtype=torch.double) for name in list(shapes)[:2]}
    return params, origin


def test_two_numbers_by_hand():
    # 0.2 / 2 * (5 - 2)^2 = 0.9 and 0.5 / 2 * 4^2 = 4
    params = {"body": torch.tensor([5.0]), "head": torch.tensor([4.0])}
    assert l2_sp(params, {"body": torch.tensor([2.0])}, 0.2, 0.5).item() == pytest.approx(4.9)


def test_it_is_numpys_squared_distance(both):
    params, origin = both
    near = sum(float(np.linalg.norm(params[name].numpy() - origin[name].numpy()) ** 2) for name in origin)
    new = float(np.linalg.norm(params["head"].numpy()) ** 2)
    assert l2_sp(params, origin, 0.3, 0.7).item() == pytest.approx(0.15 * near + 0.35 * new, rel=1e-12)


def test_its_gradient_is_the_pull_and_gradcheck_agrees(both):
    params, origin = both
    leaves = {name: param.requires_grad_() for name, param in params.items()}
    l2_sp(leaves, origin, 0.3, 0.7).backward()
    for name, leaf in leaves.items():
        expected = 0.3 * (leaf - origin[name]) if name in origin else 0.7 * leaf
        torch.testing.assert_close(leaf.grad, expected.detach())
    assert torch.autograd.gradcheck(
        lambda *values: l2_sp(dict(zip(params, values, strict=True)), origin, 0.3, 0.7), tuple(params.values())
    )


def test_at_the_origin_it_is_0_and_nothing_changes_what_came_in(both):
    params, origin = both
    del params["head"]
    kept = {name: tensor.clone() for name, tensor in origin.items()}
    assert l2_sp(origin, origin, 1.0, 1.0) == 0
    assert l2_sp(params, origin, 0.0, 1.0) == 0
    assert all(torch.equal(kept[name], origin[name]) for name in kept)


def test_under_plain_descent_a_step_is_the_gradient_and_the_pull():
    """θ ← θ − η(∇J + α(θ − θ₀)), and for the new head θ ← θ − η(∇J + βθ); from the second step on both pull."""
    fresh = frozenset({"classifier.weight", "classifier.bias"})
    nets = [model(), model()]
    for net in nets:
        for module in net.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
    how = {"epochs": 3, "lr": 0.1, "optimizer": "sgd"}
    ours = begin(Pretrained(nets[0], None, "tiny", None, fresh), [batch(0)], [L2SP(0.4, 0.2)], **how)
    plain = nets[1].train()
    origin = {name: param.detach().clone() for name, param in plain.named_parameters()}
    for _ in range(2):
        record = step(ours, batch(0))
        loss = torch.nn.functional.cross_entropy(
            plain(**{k: v for k, v in batch(0).items() if k != "labels"}).logits, batch(0)["labels"]
        )
        plain.zero_grad()
        loss.backward()
        with torch.no_grad():
            for name, param in plain.named_parameters():
                param -= 0.1 * (param.grad + (0.2 * param if name in fresh else 0.4 * (param - origin[name])))
    assert record["penalty"] > 0
    for name, param in plain.named_parameters():
        torch.testing.assert_close(dict(nets[0].named_parameters())[name], param, rtol=1e-5, atol=1e-7)


def test_the_record_keeps_the_penalty_apart_from_the_loss():
    assert step(begun([L2SP(0.4, 0.2)]), batch(0))["penalty"] == 0  # nothing is new here, and nothing has moved


class Idle(nn.Module):
    """A model with a part that no loss reaches."""

    def __init__(self):
        super().__init__()
        self.used, self.idle = nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, x):
        return self.used(x)


def test_a_strength_of_0_gives_no_gradient_at_all_so_that_the_optimizer_passes_an_idle_part_over(both):
    params, origin = both
    leaves = {name: param.requires_grad_() for name, param in params.items()}
    assert not l2_sp(leaves, origin, 0.0, 0.0).requires_grad
    for strengths, reached in (((0.1, 0.0), set(origin)), ((0.0, 0.1), {"head"})):
        grads = torch.autograd.grad(l2_sp(leaves, origin, *strengths), list(leaves.values()), allow_unused=True)
        assert {name for name, grad in zip(leaves, grads, strict=True) if grad is not None} == reached
    net, rows = Idle(), {"x": torch.ones(2, 3), "labels": torch.tensor([0, 1])}
    before = net.idle.weight.detach().clone()
    step(begin(net, [rows], [L2SP(0.0, 0.0)], lr=0.1), rows)
    assert torch.equal(net.idle.weight, before)  # a gradient of 0 would have let AdamW's decay at it


def test_a_batch_in_parts_has_the_penalty_once():
    how = {"epochs": 3, "lr": 0.05, "optimizer": "sgd"}
    whole, parts = (begin(without_dropout(model()), [batch(0)], [L2SP(9.0, 0.0)], **how) for _ in range(2))
    go_on(whole, 3)
    go_on(parts, 3, parts=4)
    for name, param in whole.params.items():
        torch.testing.assert_close(param, parts.params[name], rtol=1e-5, atol=1e-6)
    assert step(whole, batch(0))["penalty"] == pytest.approx(step(parts, batch(0))["penalty"], rel=1e-4)


def without_dropout(net):
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return net


def test_without_parameters_it_is_0():
    assert l2_sp({}, {}, 0.1, 0.1) == 0


def test_beside_lora_the_head_alone_is_held_and_what_lora_adds_counts_as_new():
    net = model()
    fresh = frozenset({"classifier.weight", "classifier.bias"})
    state = begin(Pretrained(net, None, "tiny", None, fresh), [batch(0)], [LoRA(rank=2), L2SP(9.0, 0.5)])
    new = sum(float(np.linalg.norm(param.detach().numpy()) ** 2) for param in state.params.values())
    assert step(state, batch(0))["penalty"] == pytest.approx(0.25 * new, rel=1e-5)


MUTANTS = (
    ("(param - origin[name]).square()", "(param + origin[name]).square()"),
    ("strength / 2 * _total(near", "strength * _total(near"),
    ("head_strength / 2 * _total(new", "strength / 2 * _total(new"),
    ("if name not in origin and head_strength]", "if head_strength]"),
    ("if name in origin and strength]", "if name in origin]"),
    ("if name not in origin and head_strength]", "if name not in origin]"),
    ("return l2_sp(params, now.origin,", "return l2_sp(params, {},"),
)
