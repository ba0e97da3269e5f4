"""Mean squared error: by hand, against torch and scikit-learn, and its laws."""

import pytest
import torch
from sklearn.metrics import mean_squared_error as sklearn_mean_squared_error
from torch.nn.functional import mse_loss

from ftlab.formulas.mean_squared_error import mean_squared_error


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 9, generator=generator, dtype=torch.double).unbind()


def test_loss_is_the_mean_of_the_squares_worked_by_hand():
    # distances 1, -2 and 4: (1 + 4 + 16) / 3 = 7
    assert mean_squared_error(torch.tensor([2.0, 0.0, 7.0]), torch.tensor([1.0, 2.0, 3.0])) == 7


def test_loss_and_gradient_equal_those_of_torch(batch):
    predictions, labels = batch
    ours, theirs = predictions.clone().requires_grad_(), predictions.clone().requires_grad_()
    loss, expected = mean_squared_error(ours, labels), mse_loss(theirs, labels)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-12, atol=0)


def test_loss_equals_that_of_scikit_learn(batch):
    predictions, labels = batch
    expected = sklearn_mean_squared_error(labels.numpy(), predictions.numpy())
    assert mean_squared_error(predictions, labels).item() == pytest.approx(expected, rel=1e-12)


def test_exact_predictions_and_only_they_have_the_loss_zero(batch):
    _, labels = batch
    assert mean_squared_error(labels.clone(), labels) == 0
    for index in range(9):
        assert mean_squared_error(labels.index_fill(0, torch.tensor(index), 5.0), labels) > 0


def test_predictions_and_labels_may_change_places(batch):
    assert torch.equal(mean_squared_error(*batch), mean_squared_error(*reversed(batch)))


def test_moving_both_changes_nothing_and_a_double_unit_gives_four_times_the_loss(batch):
    predictions, labels = batch
    loss = mean_squared_error(predictions, labels)
    torch.testing.assert_close(mean_squared_error(predictions + 3, labels + 3), loss, rtol=1e-12, atol=0)
    assert torch.equal(mean_squared_error(2 * predictions, 2 * labels), 4 * loss)


def test_the_best_constant_is_the_mean_and_its_loss_the_variance(batch):
    _, labels = batch
    loss = mean_squared_error(labels.mean().expand(9), labels)
    torch.testing.assert_close(loss, labels.var(correction=0), rtol=1e-12, atol=0)
    assert loss < mean_squared_error((labels.mean() + 0.1).expand(9), labels)


def test_gradient_is_that_of_finite_differences(batch):
    predictions, labels = batch
    assert torch.autograd.gradcheck(lambda y: mean_squared_error(y, labels), predictions.requires_grad_())


MUTANTS = (
    (".square().mean()", ".square().sum()"),
    (".square().mean()", ".abs().mean()"),
    ("(predictions - labels)", "(predictions + labels)"),
    ("predictions.ndim != 1 or ", ""),
)
