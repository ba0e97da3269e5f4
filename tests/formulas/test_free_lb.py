"""FreeLB: by hand, against the paper's algorithm with its K backward passes, and its laws."""

import math

import pytest
import torch

from ftlab.formulas.free_lb import free_lb

LABELS = torch.tensor([0, 2, 1, 0])


class Spy:
    """The mean loss of a model of one hidden layer in double; it remembers what was added to its input."""

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.double)  # noqa: E731
        self.x, self.first, self.second = draw(4, 2, 5), draw(5, 6), draw(6, 3)
        self.zero = torch.zeros_like(self.x)
        self.asked = []

    def __call__(self, delta):
        self.asked.append(delta.detach().clone())
        scores = ((self.x + delta) @ self.first).tanh().sum(1) @ self.second
        return torch.nn.functional.cross_entropy(scores, LABELS)


def test_mean_loss_worked_by_hand():
    # L = δ² from 1, steps of 1/2: the walk is 1, 3/2, 2 and the losses are 1, 9/4, 4 with the mean 29/12
    square = lambda delta: delta.square().sum()  # noqa: E731
    assert free_lb(square, torch.ones(1, 1).double(), 0.5, 3).item() == pytest.approx(29 / 12, rel=1e-12)
    # L = 3a + 4b from (0, 0), a step of 1 along (3, 4)/5: the losses are 0 and 9/5 + 16/5 = 5
    line = lambda delta: (delta @ torch.tensor([3.0, 4.0])).sum()  # noqa: E731
    assert free_lb(line, torch.zeros(1, 2), 1.0, 2).item() == pytest.approx(2.5, rel=1e-6)


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_loss_and_gradient_equal_the_papers_algorithm_with_k_backward_passes(steps):
    model = Spy()
    start = 0.01 * torch.randn(4, 2, 5, generator=torch.Generator().manual_seed(1)).double()
    model.first.requires_grad_()
    loss = free_lb(model, start, 0.3, steps)
    loss.backward()
    ours, model.first.grad = model.first.grad, None
    delta, total = start.clone(), 0.0
    for _ in range(steps):
        delta.requires_grad_()
        one = model(delta) / steps
        one.backward()  # adds the gradient of this pass, a K-th of it, to those before
        total += one.item()
        moved = [row + 0.3 * grad / math.sqrt((grad**2).sum()) for row, grad in zip(delta, delta.grad, strict=True)]
        delta = torch.stack(moved).detach()
    assert loss.item() == pytest.approx(total, rel=1e-12)
    torch.testing.assert_close(ours, model.first.grad, rtol=1e-10, atol=1e-14)


def test_each_sample_goes_exactly_its_rate_a_step():
    model = Spy()
    free_lb(model, model.zero, 0.3, 3)
    assert len(model.asked) == 3
    assert torch.equal(model.asked[0], model.zero)
    for before, after in zip(model.asked, model.asked[1:], strict=False):
        lengths = (after - before).flatten(1).norm(dim=1)
        torch.testing.assert_close(lengths, torch.full((4,), 0.3, dtype=torch.double), rtol=1e-12, atol=0)


def test_one_step_from_zeros_or_no_rate_is_the_plain_loss_bit_for_bit():
    model = Spy()
    plain = model(model.zero)
    assert torch.equal(free_lb(model, model.zero, 0.1, 1), plain)
    assert torch.equal(free_lb(model, model.zero, 0.0, 2), plain)


def test_the_walk_makes_the_loss_greater():
    model = Spy()
    plain = model(model.zero).item()
    means = [free_lb(model, model.zero, step_size, 2).item() for step_size in (0.0, 0.01, 0.03)]
    assert means == sorted(means)
    assert means[0] == plain < means[1] < means[2]


def test_a_sample_without_a_gradient_stays_where_it_is():
    only = lambda delta: delta[0].sum()  # noqa: E731
    asked = []
    free_lb(lambda delta: asked.append(delta.detach()) or only(delta), torch.zeros(2, 4), 1.0, 2)
    assert torch.equal(asked[1], torch.tensor([[0.5] * 4, [0.0] * 4]))


def test_nothing_given_is_changed_no_gradient_is_left_and_it_can_be_measured_without_gradients():
    model = Spy()
    model.second.requires_grad_()
    start = model.zero.clone().requires_grad_()
    loss = free_lb(model, start, 0.3, 2)
    assert torch.equal(start, model.zero)
    assert start.grad is None
    assert model.second.grad is None
    with torch.no_grad():
        assert torch.equal(free_lb(model, start, 0.3, 2), loss)


def test_gradient_does_not_go_through_the_walk():
    model = Spy()
    model.second.requires_grad_()
    free_lb(model, model.zero, 0.3, 2).backward()
    ours, model.second.grad = model.second.grad, None
    first, second = model.asked[-2:]
    ((model(first) + model(second)) / 2).backward()  # at the same places, held fixed
    torch.testing.assert_close(ours, model.second.grad, rtol=1e-12, atol=1e-15)


MUTANTS = (
    ("torch.stack(losses).sum() / steps", "losses[-1]"),
    ("torch.stack(losses).sum() / steps", "torch.stack(losses).sum()"),
    ("+ step_size * torch.where", "- step_size * torch.where"),
    ("torch.where(length > 0, grad / length, 0.0)", "grad / length"),
    ("grad / length, 0.0", "grad, 0.0"),
    ("dim=tuple(range(1, grad.ndim))", "dim=tuple(range(grad.ndim))"),
)
