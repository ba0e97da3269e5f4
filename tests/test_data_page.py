"""The page about the data is made from what is recorded; intervals and subsets are what they say."""

import base64

import numpy as np
import pytest

from benchmarks.data_page import BOOK, UNNAMED, WORDS, gains, interval, page, recorded, right, table
from benchmarks.learning_curve import EPOCHS, TASKS, ftlab_fingerprint, subset
from ftlab.data.load import load_data


@pytest.fixture(scope="module")
def made_up():
    """A record in which every method is better than the one before it."""
    chance, shares = np.random.default_rng(0), dict(zip(WORDS, (0.5, 0.7, 0.8, 0.9), strict=True))
    runs = {
        f"{task} {method} {rows} {seed}": {
            "right": base64.b64encode(np.packbits(chance.random(400) < share)).decode(),
        }
        for task in TASKS
        for method, share in shares.items()
        for rows in EPOCHS
        for seed in range(3)
    }
    return {"seeds": 3, "epochs": EPOCHS, "test_rows": dict.fromkeys(TASKS, 400), "runs": runs}


def test_the_page_is_the_one_that_is_made():
    made = page(recorded())
    assert (BOOK / "data.md").read_text(encoding="utf-8") == made, "run: python -m benchmarks.learning_curve --page"


def test_the_record_is_whole_and_of_the_data_that_are_embedded():
    found = recorded()
    assert found["seeds"] == 5
    assert {int(rows) for rows in found["epochs"]} == set(EPOCHS)
    assert found["data"] == {task: ftlab_fingerprint(task) for task in TASKS}
    assert len(found["runs"]) == len(TASKS) * len(EPOCHS) * len(WORDS) * 5


@pytest.mark.parametrize("task", TASKS)
def test_fine_tuning_beats_the_others_with_all_rows_and_leaves_errors_to_learn_from(task):
    found = recorded()
    best = right(found, task, "fine-tuned", 2000)
    for other in ("majority", "bag of words", "frozen"):
        assert interval(best - right(found, task, other, 2000))[1] > 0
    few = interval(right(found, task, "fine-tuned", 16))
    assert few[2] < interval(best)[1]
    assert {"sentiment": 0.9, "topic": 0.8}[task] <= best.mean() < 0.99


def test_what_the_page_says_of_few_rows_and_of_a_review_that_names_nothing():
    found = recorded()
    assert interval(right(found, "sentiment", "fine-tuned", 16))[0] < 0.6
    frozen, tuned = (right(found, "topic", method, 16) for method in ("frozen", "fine-tuned"))
    assert frozen.mean() > tuned.mean()
    for task in TASKS:
        assert right(found, task, "fine-tuned", 1000).mean() > right(found, task, "frozen", 1000).mean()
    rows = load_data("reviews", task="topic")["test"]
    (topic,) = [row["label"] for row in rows if row["text"] == UNNAMED]
    assert rows.features["label"].int2str(topic) == "film"


def test_a_record_becomes_tables_with_intervals_and_paired_gains(made_up):
    lines = table(made_up, "topic")
    assert len(lines) == 2 + len(WORDS)
    assert all(line.count("|") == len(EPOCHS) + 2 for line in lines)
    shown = page(made_up)
    assert "learning_curve_light.svg" in shown
    assert gains(made_up, "topic", "bag of words") in shown
    mean = right(made_up, "topic", "fine-tuned", 2000).mean() - right(made_up, "topic", "bag of words", 2000).mean()
    assert float(gains(made_up, "topic", "bag of words").split()[0]) == pytest.approx(mean, abs=1e-3)


def test_an_interval_is_over_seeds_and_rows_together():
    bits = (np.random.default_rng(1).random((5, 300)) < 0.8).astype(float)
    mean, low, high = interval(bits)
    assert low < mean < high
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.8 * 0.2 / 300 / 5 * 3), rel=0.5)
    apart = np.repeat([[1.0], [0.0]], 300, axis=1)  # seeds that disagree in every row
    assert interval(apart)[1:] == (0.0, 1.0)


def test_a_subset_has_as_many_of_each_class_and_depends_on_the_seed():
    rows = load_data("reviews", task="topic")["train"]
    few = subset(rows, 64, 0)
    counts = np.bincount(few["label"])
    assert len(few) == 64
    assert counts.max() - counts.min() <= 1
    assert list(few["text"]) == list(subset(rows, 64, 0)["text"])
    assert list(few["text"]) != list(subset(rows, 64, 1)["text"])
