"""SMART's smoothness: by hand, against a linear model whose worst direction is known, and its laws."""

import itertools
import math

import pytest
import torch
from torch.nn.functional import kl_div

from ftlab.formulas.smart import smart


def two_divergences(one, other):
    p, q = one.log_softmax(1), other.log_softmax(1)
    return kl_div(q, p, reduction="batchmean", log_target=True) + kl_div(p, q, reduction="batchmean", log_target=True)


class Spy:
    """A model of one hidden layer in double, as a function from what is added to its input; it counts and remembers."""

    def __init__(self, rows=4, width=5, classes=3):
        generator = torch.Generator().manual_seed(0)
        draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.double)  # noqa: E731
        self.x, self.first, self.second = draw(rows, 2, width), draw(width, 6), draw(6, classes)
        self.noise = 1e-3 * draw(rows, 2, width)
        self.asked = []

    def __call__(self, delta):
        self.asked.append(delta.detach().clone())
        return ((self.x + delta) @ self.first).tanh().sum(1) @ self.second

    @property
    def clean(self):
        return self(torch.zeros_like(self.x))


def test_smoothness_worked_by_hand():
    # scores (0, 3x), x = 0, δ = 0.2: p = σ(0.6) = 0.645656, (p - 1/2)·0.6 = 0.087394
    line = lambda delta: torch.cat([torch.zeros_like(delta), 3 * delta], dim=1)  # noqa: E731
    zero = torch.zeros(1, 1, dtype=torch.double)
    assert smart(line, line(zero), zero + 0.01, 0.2, 1.0).item() == pytest.approx(0.087394, abs=1e-6)
    # a step shorter than the radius ends where it ends: δ = 0.01 + 0.05, σ(0.18) = 0.544879, 0.044879·0.18 = 0.008078
    assert smart(line, line(zero), zero + 0.01, 0.2, 0.05).item() == pytest.approx(0.008078, abs=1e-6)


def test_the_worst_corner_of_a_linear_model_is_found():
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(5, generator=generator, dtype=torch.double)
    line = lambda delta: torch.stack([torch.zeros(len(delta)).double(), delta @ weight], dim=1)  # noqa: E731
    zero = torch.zeros(1, 5, dtype=torch.double)
    noise = 1e-4 * torch.randn(1, 5, generator=generator, dtype=torch.double)
    corners = torch.tensor(list(itertools.product([-0.1, 0.1], repeat=5)), dtype=torch.double)
    greatest = max(two_divergences(line(corner[None]), line(zero)).item() for corner in corners)
    assert smart(line, line(zero), noise, 0.1, 100.0).item() == pytest.approx(greatest, rel=1e-12)
    assert greatest == pytest.approx(two_divergences(line(0.1 * weight.sign()[None]), line(zero)).item(), rel=1e-12)


@pytest.mark.parametrize(("radius", "step"), [(0.01, 0.005), (0.01, 0.02), (0.5, 0.3)])
def test_smoothness_equals_the_definition_done_sample_by_sample(radius, step):
    model = Spy()
    clean = model.clean
    parts = []
    for row in range(4):
        one = lambda delta, row=row: ((model.x[row] + delta) @ model.first).tanh().sum(0, keepdim=True) @ model.second  # noqa: E731
        start = model.noise[row].clone().requires_grad_()
        two_divergences(one(start), clean[row : row + 1]).backward()
        moved = model.noise[row] + step * start.grad / start.grad.abs().max()
        moved = torch.where(moved.abs() > radius, radius * moved.sign(), moved)
        parts.append(two_divergences(one(moved), clean[row : row + 1]))
    expected = sum(parts) / 4
    torch.testing.assert_close(smart(model, clean, model.noise, radius, step), expected, rtol=1e-11, atol=0)


@pytest.mark.parametrize("step", [1e-3, 1.0])
def test_the_input_never_leaves_the_radius_unlike_in_the_published_code(step):
    model = Spy()
    clean = model.clean
    smart(model, clean, model.noise, 1e-5, step)
    assert model.asked[-1].abs().max() <= 1e-5
    start = model.noise.clone().requires_grad_()
    (grad,) = torch.autograd.grad(two_divergences(model(start), clean), start)
    published = step * grad / (grad.abs().amax(-1, keepdim=True) + 1e-6)  # 1e-6 is its "epsilon"; nothing is projected
    assert published.abs().max() > 0.9 * step > 50 * 1e-5 * 0.9


def test_it_is_more_than_the_noise_alone_does_and_never_negative():
    model = Spy()
    clean = model.clean
    found = smart(model, clean, model.noise, 0.05, 1.0)
    random = two_divergences(model(0.05 * model.noise.sign()), clean)
    assert found > 2 * random > 0
    for seed in range(20):
        noise = 1e-9 * torch.randn(4, 2, 5, generator=torch.Generator().manual_seed(seed)).double()
        assert smart(model, clean, noise, 1e-9, 1.0) >= 0


def test_no_radius_or_no_noise_gives_0_with_a_gradient_of_0():
    model = Spy()
    model.second.requires_grad_()
    for noise, radius in ((model.noise, 0.0), (torch.zeros_like(model.noise), 0.1)):
        model.second.grad = None
        found = smart(model, model.clean, noise, radius, 1.0)
        found.backward()
        assert found.item() == 0
        assert torch.equal(model.second.grad, torch.zeros_like(model.second))


def test_a_sample_that_the_input_does_not_move_gives_no_nan():
    zero = torch.zeros(2, 1, dtype=torch.double)
    only = lambda delta: torch.cat([zero, delta * torch.tensor([[1.0], [0.0]])], dim=1)  # noqa: E731
    found = smart(only, only(zero), zero + 0.01, 0.1, 1.0)
    assert found.item() == pytest.approx((1 / (1 + math.exp(-0.1)) - 0.5) * 0.1 / 2, rel=1e-9)  # half of one sample's


def test_two_passes_are_made_nothing_given_is_changed_and_no_gradient_is_left():
    model = Spy()
    model.second.requires_grad_()
    clean, noise = model.clean, model.noise.clone().requires_grad_()
    model.asked.clear()
    smart(model, clean, noise, 0.1, 1.0)
    assert len(model.asked) == 2
    assert torch.equal(model.asked[0], model.noise)
    assert torch.equal(noise, model.noise)
    assert noise.grad is None
    assert model.second.grad is None


def test_it_can_be_measured_without_gradients():
    model = Spy()
    expected = smart(model, model.clean, model.noise, 0.1, 1.0)
    with torch.no_grad():
        found = smart(model, model.clean, model.noise, 0.1, 1.0)
    assert torch.equal(found, expected)
    assert not found.requires_grad


def test_gradient_goes_through_both_answers_as_finite_differences_say():
    model = Spy()  # with a step far beyond the radius the direction is a corner, which a small change does not move

    def of(first, second):
        model.first, model.second = first, second
        return smart(model, model.clean, model.noise, 0.1, 1e4)

    assert torch.autograd.gradcheck(of, (model.first.clone().requires_grad_(), model.second.clone().requires_grad_()))


MUTANTS = (
    (".clamp(-radius, radius)", ""),
    ("grad / largest, 0.0", "grad, 0.0"),
    ("+ step * direction", "- step * direction"),
    ("direction = torch.where(largest > 0, grad / largest, 0.0)", "direction = grad / largest"),
    ("- q)).sum() / len(p)", "- q)).sum()"),
    ("radius)), clean)", "radius)), clean.detach())"),
    ("(start.detach() + step", "(step"),
    ("dim=tuple(range(1, grad.ndim))", "dim=grad.ndim - 1"),
)
