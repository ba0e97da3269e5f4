"""The focal loss: by hand, against the definition written out in NumPy, and its laws."""

import math

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from torch.nn.functional import cross_entropy as torch_cross_entropy

from ftlab.formulas.cross_entropy import cross_entropy
from ftlab.formulas.focal import focal
from ftlab.losses.classification import CrossEntropy, Focal

ODDS = torch.tensor([[3.0, 1.0], [1.0, 1.0]], dtype=torch.double).log()  # softmax gives (3/4, 1/4) and (1/2, 1/2)
LABELS = torch.tensor([0, 1])


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(12, 5, generator=generator, dtype=torch.double)
    return logits, torch.randint(5, (12,), generator=generator), torch.rand(5, generator=generator).double()


def written_out(logits, labels, gamma, weight=None):
    chances = softmax(logits.numpy(), axis=1)
    total = share = 0.0
    for row, label in zip(chances, labels.tolist(), strict=True):
        counts = 1.0 if weight is None else float(weight[label])
        total -= counts * (1 - row[label]) ** gamma * math.log(row[label])
        share += counts
    return total / share


def test_loss_worked_by_hand():
    # (1/4)² · 0.287682 = 0.017980, (1/2)² · 0.693147 = 0.173287; their mean is 0.095634
    assert focal(ODDS, LABELS).item() == pytest.approx(0.095634, abs=1e-6)
    # γ = 1: (0.071920 + 0.346574)/2 = 0.209247
    assert focal(ODDS, LABELS, 1.0).item() == pytest.approx(0.209247, abs=1e-6)


def test_weighted_loss_worked_by_hand():
    # (1 · 0.017980 + 3 · 0.173287)/(1 + 3) = 0.134460
    assert focal(ODDS, LABELS, 2.0, torch.tensor([1.0, 3.0])).item() == pytest.approx(0.134460, abs=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("gamma", [0, 0.5, 1.0, 2.0, 5.0])
def test_loss_equals_the_definition_written_out(batch, gamma, weighted):
    logits, labels, weight = batch
    weight = weight if weighted else None
    assert focal(logits, labels, gamma, weight).item() == pytest.approx(
        written_out(logits, labels, gamma, weight), rel=1e-12
    )


def test_two_classes_equal_the_sigmoid_form_of_the_paper():
    scores = torch.linspace(-4, 4, 9, dtype=torch.double)
    for label in (0, 1):
        chance = expit(scores.numpy() if label else -scores.numpy())
        expected = np.mean(-((1 - chance) ** 2) * np.log(chance))
        logits = torch.stack([torch.zeros_like(scores), scores], dim=1)
        assert focal(logits, torch.full((9,), label)).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("weighted", [False, True])
def test_gamma_0_is_cross_entropy_bit_for_bit_and_so_is_its_gradient(batch, weighted, dtype):
    logits, labels, weight = batch
    weight = weight if weighted else None
    ours, theirs = (logits.to(dtype).requires_grad_() for _ in range(2))
    loss, expected = focal(ours, labels, 0.0, weight), cross_entropy(theirs, labels, weight=weight)
    assert torch.equal(loss, expected)
    loss.backward()
    expected.backward()
    assert torch.equal(ours.grad, theirs.grad)


def test_loss_falls_with_gamma_and_lies_between_0_and_cross_entropy(batch):
    logits, labels, _ = batch
    losses = [focal(logits, labels, gamma).item() for gamma in (0.0, 0.5, 1.0, 2.0, 5.0)]
    assert losses == sorted(losses, reverse=True)
    assert 0 < losses[-1] < losses[0] == pytest.approx(torch_cross_entropy(logits, labels).item(), rel=1e-12)


def test_a_sure_sample_counts_for_its_doubt_to_the_power_of_gamma():
    logits = torch.tensor([[9.0, 1.0]], dtype=torch.double).log()  # chances of 9/10 and 1/10
    assert focal(logits, torch.tensor([0])).item() == pytest.approx(0.01 * -math.log(0.9), rel=1e-12)


@pytest.mark.parametrize("gamma", [0.0, 0.1, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("margin", [20.0, 80.0, 1000.0])
def test_certainty_gives_a_gradient_that_is_finite(gamma, margin):
    # (1 - p)^γ has an infinite slope at p = 1 for γ below 1, where the plain formula gives NaN
    logits = torch.tensor([[margin, 0.0], [0.0, margin]], requires_grad=True)
    loss = focal(logits, torch.tensor([0, 0]), gamma)
    loss.backward()
    assert loss.item() == pytest.approx(margin / 2, rel=1e-6)
    assert logits.grad.isfinite().all()
    torch.testing.assert_close(logits.grad[1], torch.tensor([-0.5, 0.5]), rtol=1e-4, atol=0)


def test_adding_a_constant_to_a_row_of_logits_changes_nothing_and_nor_do_twice_the_weights(batch):
    logits, labels, weight = batch
    moved = logits + torch.arange(12.0).double()[:, None]
    torch.testing.assert_close(focal(moved, labels), focal(logits, labels), rtol=1e-12, atol=0)
    assert torch.equal(focal(logits, labels, 2.0, 2 * weight), focal(logits, labels, 2.0, weight))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_gradient_is_that_of_finite_differences(batch, gamma):
    logits, labels, weight = batch
    assert torch.autograd.gradcheck(lambda z: focal(z, labels, gamma, weight), logits.requires_grad_())


def test_the_loss_of_a_model_is_the_formula_of_its_logits(batch):
    logits, labels, weight = batch
    rows = {"input": torch.eye(12), "labels": labels}
    model = torch.nn.Linear(12, 5, bias=False)
    model.weight.data = logits.T.float().contiguous()
    scores = model(torch.eye(12))
    assert torch.equal(Focal(3.0)(model, rows), focal(scores, labels, 3.0))
    assert torch.equal(Focal(0.0)(model, rows), CrossEntropy()(model, rows))
    numbers = tuple(weight.tolist())
    assert torch.equal(Focal(1.0, numbers)(model, rows), focal(scores, labels, 1.0, torch.tensor(numbers)))
    assert repr(Focal()) == "Focal(gamma=2.0, weight=None)"


MUTANTS = (
    ("(gamma * log_other).exp()", "(gamma * logs).exp()"),
    ("masked_fill(true, -math.inf)", "masked_fill(~true, -math.inf)"),
    ("gamma * log_other", "2.0 * log_other"),
    ("logsumexp(dim=1, keepdim=True)", "amax(dim=1, keepdim=True)"),
    ("/ weights[labels].sum()", "/ len(labels)"),
    ("return -(weights * true", "return -(true"),
    ('    check_labels("focal", logits, labels)\n', ""),
    ('    check_weights("focal", logits, weight)\n', ""),
    ("logits.shape[1] < 2", "logits.shape[1] < 1"),
)
