"""Cross-entropy, formula (1): by hand, against torch and scikit-learn, and its laws."""

import math

import pytest
import torch
from sklearn.metrics import log_loss
from torch.nn.functional import cross_entropy as torch_cross_entropy

from ftlab.formulas.cross_entropy import cross_entropy

ODDS = torch.tensor([[3.0, 1.0], [1.0, 1.0]], dtype=torch.double).log()  # softmax gives (3/4, 1/4) and (1/2, 1/2)
LABELS = torch.tensor([0, 1])


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(12, 5, generator=generator, dtype=torch.double)
    return logits, torch.randint(5, (12,), generator=generator), torch.rand(5, generator=generator).double()


def test_loss_is_the_mean_surprise_worked_by_hand():
    # -log(3/4) = 0.287682, -log(1/2) = 0.693147; their mean is 0.490415
    assert cross_entropy(ODDS, LABELS).item() == pytest.approx(0.490415, abs=1e-6)


def test_weighted_loss_is_the_weighted_mean_worked_by_hand():
    # (1 * 0.287682 + 3 * 0.693147) / (1 + 3) = 0.591781
    assert cross_entropy(ODDS, LABELS, weight=torch.tensor([1.0, 3.0])).item() == pytest.approx(0.591781, abs=1e-6)


def test_smoothed_loss_worked_by_hand():
    # a share of 0.2 makes the label (0.9, 0.1): 0.9 * 0.287682 + 0.1 * 1.386294 = 0.397543
    assert cross_entropy(ODDS[:1], LABELS[:1], smoothing=0.2).item() == pytest.approx(0.397543, abs=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_loss_and_gradient_equal_those_of_torch(batch, weighted, smoothing):
    logits, labels, weight = batch
    weight = weight if weighted else None
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    loss = cross_entropy(ours, labels, weight=weight, smoothing=smoothing)
    expected = torch_cross_entropy(theirs, labels, weight=weight, label_smoothing=smoothing)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-10, atol=1e-14)


def test_loss_equals_the_log_loss_of_scikit_learn(batch):
    logits, labels, weight = batch
    chances = logits.softmax(dim=1).numpy()
    for weights, samples in ((None, None), (weight, weight[labels].numpy())):
        expected = log_loss(labels.numpy(), chances, labels=range(5), sample_weight=samples)
        assert cross_entropy(logits, labels, weight=weights).item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_uniform_logits_give_the_log_of_the_number_of_classes(classes):
    loss = cross_entropy(torch.full((4, classes), 7.0, dtype=torch.double), torch.arange(4) % classes, smoothing=0.3)
    assert loss.item() == pytest.approx(math.log(classes), rel=1e-12)


def test_certainty_in_the_right_class_gives_zero_and_in_the_wrong_one_its_whole_margin():
    logits = torch.tensor([[1000.0, 0.0]])
    assert cross_entropy(logits, torch.tensor([0])) == 0
    assert cross_entropy(logits, torch.tensor([1])) == 1000


def test_adding_a_constant_to_a_row_of_logits_changes_nothing(batch):
    logits, labels, _ = batch
    moved = logits + torch.arange(12.0).double()[:, None]
    torch.testing.assert_close(cross_entropy(moved, labels), cross_entropy(logits, labels), rtol=1e-12, atol=0)


def test_gradient_rows_sum_to_zero_and_pull_only_the_true_class_up(batch):
    logits, labels, _ = batch
    logits.requires_grad_()
    cross_entropy(logits, labels).backward()
    torch.testing.assert_close(logits.grad.sum(dim=1), torch.zeros(12).double(), rtol=0, atol=1e-15)
    assert torch.equal((logits.grad < 0).nonzero()[:, 1], labels)


def test_smoothing_equals_mixing_with_uniform_labels(batch):
    logits, labels, _ = batch
    anywhere = torch.stack([cross_entropy(logits, torch.full_like(labels, one)) for one in range(5)]).mean()
    mixed = 0.7 * cross_entropy(logits, labels) + 0.3 * anywhere
    torch.testing.assert_close(cross_entropy(logits, labels, smoothing=0.3), mixed, rtol=1e-12, atol=0)


def test_neutral_smoothing_and_weights_change_nothing_at_all(batch):
    logits, labels, _ = batch
    plain = cross_entropy(logits, labels)
    assert torch.equal(cross_entropy(logits, labels, smoothing=0.0, weight=torch.ones(5)), plain)


def test_twice_the_weights_is_the_same_loss(batch):
    logits, labels, weight = batch
    assert torch.equal(cross_entropy(logits, labels, weight=2 * weight), cross_entropy(logits, labels, weight=weight))


def test_gradient_is_that_of_finite_differences(batch):
    logits, labels, weight = batch
    assert torch.autograd.gradcheck(
        lambda z: cross_entropy(z, labels, weight=weight, smoothing=0.1), logits.requires_grad_()
    )


MUTANTS = (
    (".sum() / weights[labels].sum()", ".sum() / weights.sum()"),
    ("return -(weights", "return (weights"),
    ("+ smoothing / classes", "+ smoothing"),
    ("log_softmax(dim=1)", "log_softmax(dim=0)"),
    ("* (1 - smoothing)", "* 1"),
    ("return -(weights * target", "return -(target"),
    ('    check_labels("cross_entropy", logits, labels)\n', ""),
    ('    check_weights("cross_entropy", logits, weight)\n', ""),
)
