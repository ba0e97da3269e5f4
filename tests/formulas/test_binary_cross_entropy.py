"""Binary cross-entropy: by hand, against torch and scikit-learn, and its laws."""

import math

import pytest
import torch
from sklearn.metrics import log_loss
from torch.nn.functional import binary_cross_entropy_with_logits

from ftlab.formulas.binary_cross_entropy import binary_cross_entropy
from ftlab.formulas.cross_entropy import cross_entropy


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(8, 3, generator=generator, dtype=torch.double)
    return logits, (torch.rand(8, 3, generator=generator) < 0.4).double()


def test_loss_is_the_mean_over_samples_and_labels_worked_by_hand():
    # odds 3:1 say yes with 3/4: right -log(3/4) = 0.287682, wrong -log(1/4) = 1.386294
    # odds 1:1 say yes with 1/2: -log(1/2) = 0.693147 either way; (0.287682 + 1.386294 + 2 * 0.693147) / 4 = 0.765068
    logits = torch.tensor([[3.0, 3.0], [1.0, 1.0]]).log()
    labels = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert binary_cross_entropy(logits, labels).item() == pytest.approx(0.765068, abs=1e-6)


def test_loss_of_a_half_label_worked_by_hand():
    # 0.5 * 0.287682 + 0.5 * 1.386294 = 0.836988
    loss = binary_cross_entropy(torch.tensor([[3.0]]).log(), torch.tensor([[0.5]]))
    assert loss.item() == pytest.approx(0.836988, abs=1e-6)


@pytest.mark.parametrize("soft", [False, True])
def test_loss_and_gradient_equal_those_of_torch(batch, soft):
    logits, labels = batch
    labels = 0.1 + 0.7 * labels if soft else labels
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    loss, expected = binary_cross_entropy(ours, labels), binary_cross_entropy_with_logits(theirs, labels)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-10, atol=1e-15)


def test_loss_is_the_mean_of_the_log_losses_of_scikit_learn(batch):
    logits, labels = batch
    columns = zip(labels.T.numpy(), logits.sigmoid().T.numpy(), strict=True)
    expected = sum(log_loss(truth, chance, labels=[0, 1]) for truth, chance in columns) / 3
    assert binary_cross_entropy(logits, labels).item() == pytest.approx(expected, rel=1e-10)


def test_one_label_is_cross_entropy_of_two_classes(batch):
    logits, labels = batch[0][:, :1], batch[1][:, :1]
    two = torch.cat([torch.zeros_like(logits), logits], dim=1)
    expected = cross_entropy(two, labels[:, 0].long())
    torch.testing.assert_close(binary_cross_entropy(logits, labels), expected, rtol=1e-12, atol=0)


def test_a_model_that_knows_nothing_has_the_loss_log_2(batch):
    assert binary_cross_entropy(torch.zeros(8, 3), batch[1].float()).item() == pytest.approx(math.log(2), rel=1e-6)


def test_turning_every_answer_and_every_logit_round_changes_nothing(batch):
    logits, labels = batch
    assert torch.equal(binary_cross_entropy(-logits, 1 - labels), binary_cross_entropy(logits, labels))


def test_certainty_gives_zero_where_right_and_its_whole_margin_where_wrong():
    logits = torch.tensor([[1000.0, -1000.0]])
    assert binary_cross_entropy(logits, torch.tensor([[1.0, 0.0]])) == 0
    assert binary_cross_entropy(logits, torch.tensor([[0.0, 1.0]])) == 1000


def test_gradient_is_that_of_finite_differences(batch):
    logits, labels = batch
    assert torch.autograd.gradcheck(lambda z: binary_cross_entropy(z, labels), logits.requires_grad_())


MUTANTS = (
    ("logsigmoid(-logits)).mean()", "logsigmoid(logits)).mean()"),
    ("return -(labels * logsigmoid(logits)", "return (labels * logsigmoid(logits)"),
    ("logsigmoid(-logits)).mean()", "logsigmoid(-logits)).sum()"),
    ("high > 1:", "high > 2:"),
)
