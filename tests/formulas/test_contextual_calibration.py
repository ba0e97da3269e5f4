"""Contextual calibration: by hand, against the definition in NumPy and scikit-learn's Bayes rule, and its laws."""

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.naive_bayes import CategoricalNB

from ftlab.formulas.contextual_calibration import contextual_calibration

LOGS = torch.tensor([[0.8, 0.2], [0.5, 0.5]], dtype=torch.double).log()
PRIOR = torch.tensor([[0.9, 0.1]], dtype=torch.double).log()


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    return tuple(2 * torch.randn(rows, 5, generator=generator, dtype=torch.double) for rows in (8, 3))


def test_values_worked_by_hand():
    # 0.8/0.9 : 0.2/0.1 = 0.889 : 2, so 0.3077; and 0.5/0.9 : 0.5/0.1 = 0.556 : 5, so 0.1
    found = contextual_calibration(LOGS, PRIOR).exp()
    torch.testing.assert_close(found[:, 0], torch.tensor([0.307692, 0.1], dtype=torch.double), atol=1e-6, rtol=0)


def test_it_is_the_definition_written_out_with_scipy(batch):
    logits, contents = (tensor.numpy() for tensor in batch)
    ratio = softmax(logits, axis=1) / softmax(contents, axis=1).mean(0)
    expected = ratio / ratio.sum(1, keepdims=True)
    np.testing.assert_allclose(contextual_calibration(*batch).exp().numpy(), expected, rtol=1e-12)


def test_it_turns_a_bayes_posterior_into_that_of_equal_priors():
    chance = np.random.default_rng(0)
    labels = chance.choice(3, 300, p=[0.7, 0.2, 0.1])
    features = (chance.random((300, 4)) < 0.2 + 0.2 * labels[:, None]).astype(int)
    bayes = CategoricalNB().fit(features, labels)
    even = CategoricalNB(class_prior=[1 / 3] * 3).fit(features, labels)
    prior = torch.tensor(bayes.class_log_prior_)[None]
    found = contextual_calibration(torch.tensor(bayes.predict_log_proba(features)), prior)
    np.testing.assert_allclose(found.numpy(), even.predict_log_proba(features), rtol=1e-9, atol=1e-12)


def test_a_uniform_prior_changes_nothing_and_the_corrected_prior_is_uniform(batch):
    logits, _ = batch
    torch.testing.assert_close(contextual_calibration(logits, torch.zeros(2, 5)), logits.log_softmax(1))
    torch.testing.assert_close(contextual_calibration(PRIOR, PRIOR).exp(), torch.full((1, 2), 0.5).double())


def test_rows_are_probabilities_and_a_constant_added_to_a_row_changes_nothing(batch):
    logits, contents = batch
    found = contextual_calibration(logits, contents)
    torch.testing.assert_close(found.exp().sum(1), torch.ones(8).double())
    torch.testing.assert_close(contextual_calibration(logits + 3, contents - 2), found)


def test_the_prior_is_the_mean_of_probabilities_not_of_their_logarithms():
    contents = torch.tensor([[0.99, 0.01], [0.01, 0.99]], dtype=torch.double).log()
    one_sided = torch.tensor([[0.99, 0.01], [0.5, 0.5]], dtype=torch.double).log()
    assert contextual_calibration(LOGS, contents)[0, 0].exp().item() == pytest.approx(0.8)
    # the mean prior is 0.745 : 0.255, so 0.8/0.745 : 0.2/0.255 = 0.5779
    assert contextual_calibration(LOGS, one_sided)[0, 0].exp().item() == pytest.approx(0.5779, abs=1e-4)


def test_gradient_is_that_of_finite_differences(batch):
    logits, contents = batch
    assert torch.autograd.gradcheck(contextual_calibration, (logits.requires_grad_(), contents.requires_grad_()))


MUTANTS = (
    ("prior.log_softmax(1).logsumexp(0)", "prior.log_softmax(1).mean(0)"),
    ("prior.log_softmax(1)", "prior"),
    ("(log_probs - mean)", "(log_probs + mean)"),
    ("(log_probs - mean).log_softmax(1)", "(log_probs - mean)"),
    ("(log_probs - mean)", "(log_probs.softmax(1) - mean)"),
    (" or not len(prior)", ""),
    ("log_probs.shape[1] != prior.shape[1]", "False"),
)
