import math

import numpy as np
import pytest
from scipy import stats
from scipy.special import softmax
from sklearn import metrics as sk

from ftlab.data.labels import Task
from ftlab.errors import ArgumentError
from ftlab.evaluation.metrics import measure

TWO, THREE = Task("classification", ("no", "yes")), Task("classification", ("a", "b", "c"))
SEVERAL, NUMBER = Task("multilabel", ("a", "b")), Task("regression")


@pytest.fixture
def chance():
    return np.random.default_rng(0)


def test_two_classes_by_hand():
    # predicted: 0 1 1 0; true: 0 1 0 0. Three of four are right; of class 1: precision 1/2, recall 1, F1 2/3.
    logits = np.array([[2.0, 0.0], [0.0, 2.0], [0.0, 1.0], [3.0, 0.0]])
    found = measure(TWO, logits, np.array([0, 1, 0, 0]), resamples=0)
    assert found["accuracy"] == 0.75
    assert found["f1"] == pytest.approx(2 / 3)
    assert found["f1_macro"] == pytest.approx((2 / 3 + 4 / 5) / 2)  # class 0: precision 1, recall 2/3
    assert found["auc_roc"] == 1.0  # the one true 1 has the highest score of 1 against 0
    assert found.confusion.to_numpy().tolist() == [[2, 1], [0, 1]]


@pytest.mark.parametrize(("task", "average"), [(TWO, "binary"), (THREE, "macro")])
def test_classification_equals_sklearn(task, average, chance):
    logits = chance.normal(size=(200, len(task.names)))
    labels = chance.integers(0, len(task.names), 200)
    found = measure(task, logits, labels, resamples=0)
    probabilities = softmax(logits, axis=1)
    scores = probabilities[:, 1] if task is TWO else probabilities
    assert found["accuracy"] == sk.accuracy_score(labels, logits.argmax(1))
    assert found["f1"] == pytest.approx(sk.f1_score(labels, logits.argmax(1), average=average))
    assert found["auc_roc"] == pytest.approx(sk.roc_auc_score(labels, scores, multi_class="ovr"))
    assert found["loss"] == pytest.approx(sk.log_loss(labels, probabilities))


def test_several_labels_equal_sklearn(chance):
    logits, labels = chance.normal(size=(100, 2)), chance.integers(0, 2, (100, 2))
    found = measure(SEVERAL, logits, labels, resamples=0)
    assert found["accuracy"] == sk.accuracy_score(labels, logits > 0)
    assert found["f1"] == pytest.approx(sk.f1_score(labels, logits > 0, average="macro"))
    assert found["f1_micro"] == pytest.approx(sk.f1_score(labels, logits > 0, average="micro"))
    per_label = [sk.log_loss(labels[:, one], 1 / (1 + np.exp(-logits[:, one]))) for one in range(2)]
    assert found["loss"] == pytest.approx(np.mean(per_label))


def test_regression_equals_scipy(chance):
    labels = chance.normal(size=80)
    outputs = labels + chance.normal(size=80)
    found = measure(NUMBER, outputs, labels, resamples=0)
    assert found["mse"] == pytest.approx(np.mean((labels - outputs) ** 2))
    assert found["pearson"] == pytest.approx(stats.pearsonr(labels, outputs)[0])
    assert found["spearman"] == pytest.approx(stats.spearmanr(labels, outputs)[0])


def test_one_class_only_leaves_auc_undefined_in_words_and_null_in_json(chance):
    found = measure(TWO, chance.normal(size=(9, 2)), np.ones(9, dtype=int), resamples=20)
    assert math.isnan(found["auc_roc"])
    flat = found.to_dict()
    assert flat["auc_roc"] is None
    assert flat["auc_roc_low"] is None
    assert flat["auc_roc_note"] == "undefined: the split holds one class only"
    assert "one class only" in str(found)


def test_a_missing_class_of_three_leaves_auc_undefined_and_f1_counts_it():
    logits = np.eye(3)[[0, 1, 0, 1]] * 5
    found = measure(THREE, logits, np.array([0, 1, 0, 1]), resamples=0)
    assert found.undefined["auc_roc"] == "undefined: no sample of 'c'"
    assert found["f1"] == pytest.approx(2 / 3)  # two classes at 1, the third at 0


def test_each_number_of_the_flat_dictionary_can_be_looked_up():
    chance = np.random.default_rng(0)
    found = measure(TWO, chance.normal(size=(30, 2)), chance.integers(0, 2, 30), resamples=20)
    numbers = {key: value for key, value in found.to_dict().items() if key not in ("n", "split")}
    assert {key: found[key] for key in numbers} == numbers
    assert (found["accuracy_low"], found["accuracy_high"]) == found.intervals["accuracy"]
    assert found["accuracy_low"] < found["accuracy"] < found["accuracy_high"]
    assert math.isnan(measure(TWO, np.eye(2), np.array([0, 1]), resamples=0)["accuracy_high"])  # no interval
    for wrong in ("accuracy_lower", "recall", "recall_low", "low"):
        with pytest.raises(KeyError, match=wrong):
            found[wrong]


def test_the_loss_of_a_regression_is_not_called_log_loss():
    text = str(measure(NUMBER, np.arange(5.0), np.arange(5.0) ** 2, resamples=0))
    assert "log loss" not in text
    assert "\nloss " in text


def test_constant_predictions_leave_correlation_undefined():
    found = measure(NUMBER, np.zeros(5), np.arange(5.0), resamples=0)
    assert found.undefined["pearson"] == "undefined: all predictions are the same"


def test_metrics_are_means_over_samples_whatever_their_order(chance):
    logits, labels = chance.normal(size=(50, 2)), chance.integers(0, 2, 50)
    order = chance.permutation(50)
    first, second = measure(TWO, logits, labels, resamples=0), measure(TWO, logits[order], labels[order], resamples=0)
    assert first.values == pytest.approx(second.values)


def test_interval_of_accuracy_is_that_of_scipys_bootstrap(chance):
    right = chance.random(400) < 0.8
    logits = np.stack([1 - right, right], axis=1).astype(float)
    low, high = measure(TWO, logits, np.ones(400, dtype=int), resamples=1000).intervals["accuracy"]
    oracle = stats.bootstrap((right,), np.mean, method="percentile", n_resamples=2000, rng=1).confidence_interval
    assert (low, high) == pytest.approx((oracle.low, oracle.high), abs=0.006)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    covered = 0
    for seed in range(40):
        right = np.random.default_rng(seed).random(150) < 0.7
        logits = np.stack([1 - right, right], axis=1).astype(float)
        low, high = measure(TWO, logits, np.ones(150, dtype=int), resamples=100).intervals["accuracy"]
        covered += low <= 0.7 <= high
    assert covered >= 33  # 95 % of 40 is 38; 32 or fewer has a chance below 1 in 1000


def test_the_same_seed_gives_the_same_interval(chance):
    logits, labels = chance.normal(size=(50, 2)), chance.integers(0, 2, 50)
    first, second = (measure(TWO, logits, labels, resamples=50) for _ in range(2))
    assert first.intervals == second.intervals


@pytest.mark.parametrize(
    ("logits", "got"), [(np.zeros((0, 2)), "no sample"), (np.full((1, 2), np.nan), "2 that are NaN")]
)
def test_what_cannot_be_measured_is_refused(logits, got):
    with pytest.raises(ArgumentError, match=f"measure: logits must be finite.*{got}"):
        measure(TWO, logits, np.zeros(len(logits), dtype=int))
