"""Labels keep their meaning, and the task follows from them."""

import json

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value

from ftlab.data.labels import Task
from ftlab.data.load import load_data, task_of
from tests.data.rows import ROWS, csv, names_of, rows_of


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["01", "1"], ["01", "1"]),
        (["NA", "None", "null", "nan", "n/a"], ["NA", "None", "n/a", "nan", "null"]),
        (["True", "False"], ["False", "True"]),
        (["10", "9", "2", "-1"], ["-1", "2", "9", "10"]),
        (["5 stars", "10 stars"], ["10 stars", "5 stars"]),
        (["ja", "nein", "vielleicht"], ["ja", "nein", "vielleicht"]),
    ],
)
def test_labels_of_a_table_are_text(write, labels, names):
    content = csv([(f"film {i} {label}", label) for i in range(10) for label in labels])
    data = load_data(write("a.csv", content))
    assert names_of(data) == names
    assert all(text.endswith(label) for text, label in rows_of(data))


@pytest.mark.parametrize(
    ("labels", "names"), [([1, 0], ["0", "1"]), ([1.0, 2.0], ["1", "2"]), ([True, False], ["False", "True"])]
)
def test_labels_of_json_become_text(write, labels, names):
    lines = [json.dumps({"text": f"film {i} {label}", "label": label}) for i in range(10) for label in labels]
    assert names_of(load_data(write("a.jsonl", "\n".join(lines)))) == names


def test_labels_that_differ_in_case_stay_apart(write, mentioned):
    data = load_data(write("a.csv", csv([*ROWS, *((f"{text} again", "Yes") for text, _ in ROWS)])))
    assert names_of(data) == ["Yes", "no", "yes"]
    assert "differ only in case and are kept apart: Yes, yes" in mentioned()


def test_the_training_split_numbers_the_labels_of_all(write, tmp_path):
    write("d/train.csv", csv([("a", "zebra"), ("b", "ant"), ("c", "mole")]))
    write("d/dev.csv", csv([("d", "zebra")]))
    write("d/test.csv", csv([("e", "mole"), ("f", "ant")]))
    data = load_data(tmp_path / "d")
    assert list(data) == ["train", "validation", "test"]
    assert names_of(data) == ["ant", "mole", "zebra"]
    assert {split: rows["label"][:] for split, rows in data.items()} == {
        "train": [2, 0, 1],
        "validation": [2],
        "test": [1, 0],
    }


def test_several_labels_are_joined_by_a_bar(write, mentioned):
    cells = ["red|round", "red", "", "round | green|red"]
    content = csv([(f"thing {i} {cell}", cell) for i in range(10) for cell in cells])
    data = load_data(write("a.csv", content))
    assert task_of(data) == Task("multilabel", ("green", "red", "round"))
    assert "contain |, so the task is multilabel: several labels per row" in mentioned()
    wanted = {"red|round": [1, 2], "red": [1], "": [], "round | green|red": [0, 1, 2]}
    for row in (row for rows in data.values() for row in rows):
        assert row["label"] == wanted[row["text"].split(" ", 2)[2]]


def test_decimals_make_a_regression(write, mentioned):
    data = load_data(write("a.csv", csv([(f"film {i}", f"{i / 4}") for i in range(20)])))
    assert task_of(data) == Task("regression")
    assert "decimal numbers, so the task is regression" in mentioned()
    assert {(row["text"], row["label"]) for rows in data.values() for row in rows} == {
        (f"film {i}", i / 4) for i in range(20)
    }


def test_task_has_the_last_word(write):
    numbers = write("a.csv", csv([(f"film {i}", f"{i % 2}.5") for i in range(20)]))
    whole = write("b.csv", csv([(f"film {i}", i % 3) for i in range(20)]))
    bars = write("c.csv", csv([(f"film {i}", "a|b" if i % 2 else "c") for i in range(20)]))
    assert task_of(load_data(numbers)).kind == "regression"
    assert task_of(load_data(numbers, task="classification")).names == ("0.5", "1.5")
    assert task_of(load_data(whole)).names == ("0", "1", "2")
    assert task_of(load_data(whole, task="regression")) == Task("regression")
    assert task_of(load_data(whole, task="multilabel")) == Task("multilabel", ("0", "1", "2"))
    assert task_of(load_data(bars, task="classification")).names == ("a|b", "c")


def test_the_order_of_a_class_label_stays(mentioned):
    """With two classes F1 is that of the second, so their order is part of the data's meaning."""
    features = Features({"sentence": Value("string"), "label": ClassLabel(names=["wrong", "right", "unused"])})
    rows = Dataset.from_dict({"sentence": ["a", "b", "c"], "label": [1, 0, 1]}, features=features)
    data = load_data(DatasetDict(train=rows, test=rows))
    assert names_of(data) == ["wrong", "right", "unused"]
    assert data["test"]["label"][:] == [1, 0, 1]
    assert "no training row of the data given is labelled unused" in mentioned()


def test_splits_that_number_their_labels_differently_are_brought_together():
    def rows(names):
        features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
        return Dataset.from_dict({"text": ["good", "bad"], "label": [names.index("yes"), names.index("no")]}, features)

    data = load_data(DatasetDict(train=rows(["no", "yes"]), test=rows(["maybe", "yes", "no"])))
    assert names_of(data) == ["no", "yes"]
    assert data["test"]["label"][:] == [1, 0]


def test_lists_and_floats_tell_their_task_by_their_type(mentioned):
    classes = Features({"text": Value("string"), "label": List(ClassLabel(names=["b", "a"]))})
    several = Dataset.from_dict({"text": ["x", "y", "z"], "label": [[0, 1], [], [1]]}, features=classes)
    numbers = Dataset.from_dict({"text": ["x", "y"], "label": [1.0, 2.0]})
    assert task_of(load_data(DatasetDict(train=several, test=several))) == Task("multilabel", ("b", "a"))
    assert task_of(load_data(DatasetDict(train=numbers, test=numbers))) == Task("regression")
    assert "multilabel" not in mentioned()
