"""The page about the data is made from the recorded learning curve, and the record shows what the page says."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.data_page import BOOK, WORDS, interval, page, right
from benchmarks.learning_curve import EPOCHS, TASKS, ftlab_fingerprint, subset
from benchmarks.record import RESULTS
from ftlab.data import load_data

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def found():
    return json.loads((RESULTS / "learning_curve.json").read_text(encoding="utf-8"))


def test_the_page_is_the_one_that_is_made(found):
    assert (BOOK / "data.md").read_text(encoding="utf-8") == page(found), (
        "run: python -m benchmarks.learning_curve --page"
    )


def test_the_record_is_of_the_data_that_are_there_and_whole(found):
    assert found["data"] == {task: ftlab_fingerprint(task) for task in TASKS}
    assert {int(rows) for rows in found["epochs"]} == set(EPOCHS)
    for task in TASKS:
        for method in WORDS:
            for rows in EPOCHS:
                bits = right(found, task, method, rows)
                assert bits.shape == (found["seeds"], found["test_rows"][task])
                for seed, share in enumerate(bits.mean(axis=1)):
                    assert share == pytest.approx(found["runs"][f"{task} {method} {rows} {seed}"]["accuracy"], abs=1e-4)


@pytest.mark.parametrize(("task", "least"), [("sentiment", 0.9), ("topic", 0.92)])
def test_fine_tuning_gets_there_and_not_all_the_way(found, task, least):
    reached = interval(right(found, task, "fine-tuned", 2000))
    assert least <= reached[0] < 0.99
    gain = interval(right(found, task, "fine-tuned", 2000) - right(found, task, "bag of words", 2000))
    assert gain[1] > 0


def test_a_subset_has_as_many_of_each_class_and_depends_on_the_seed():
    rows = load_data("reviews", task="topic")["train"]
    few = subset(rows, 64, 0)
    counts = np.bincount(few["label"])
    assert len(few) == 64
    assert counts.max() - counts.min() <= 1
    assert few["text"] == subset(rows, 64, 0)["text"]
    assert few["text"] != subset(rows, 64, 1)["text"]
