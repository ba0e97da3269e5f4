"""Data from files, folders, memory and the package: accepted, recognised again by a fingerprint."""

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from ftlab.data.labels import Task
from ftlab.data.load import fingerprint, load_data, load_rows
from ftlab.errors import InputError
from tests.data.rows import ROWS, csv, names_of, rows_of


def test_columns_can_be_named(write):
    content = "body,verdict,label\n" + "".join(f"{text},{label},other\n" for text, label in ROWS)
    data = load_data(write("a.csv", content), text="body", label="verdict")
    assert sorted(rows_of(data)) == sorted(ROWS)


def test_texts_that_stand_in_train_as_well_are_mentioned(write, mentioned):
    write("d/train.csv", csv())
    write("d/test.csv", csv([("A GOOD film  number 1", "yes"), ("another film", "no")]))
    load_data(write("d/notes.md", "left alone").parent)
    assert "1 of 2 texts of test of d are also in train" in mentioned()


@pytest.mark.parametrize("labels", [["yes", "no"], ["a|b", "b", ""], ["0.5", "1.25"], ["10", "9"]])
def test_what_comes_out_goes_in_again_unchanged(write, labels):
    data = load_data(write("a.csv", csv([(f"film {i} {label}", label) for i in range(20) for label in labels])))
    again = load_data(data)
    assert list(again) == list(data)
    for split in data:
        assert again[split].features == data[split].features
        assert again[split].to_dict() == data[split].to_dict()


def test_a_test_split_with_withheld_labels_is_left_out(mentioned):
    features = Features({"text": Value("string"), "label": ClassLabel(names=["no", "yes"])})
    rows = Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]}, features=features)
    hidden = Dataset.from_dict({"text": ["c", "d"], "label": [-1, -1]}, features=features)
    data = load_data(DatasetDict(train=rows, validation=rows, test=hidden))
    assert list(data) == ["train", "validation"]
    assert "the labels of test of the data given are withheld (-1)" in mentioned()


def test_load_rows_takes_the_labels_of_the_model(write):
    rows = load_rows(write("a.csv", csv([("fine", "yes"), ("fine", "yes")])), Task("classification", ("no", "yes")))
    assert rows["label"][:] == [1, 1]
    assert rows.features["label"].names == ["no", "yes"]
    numbers = load_rows(write("b.csv", csv([("fine", 3)])), Task("regression"))
    assert numbers["label"][:] == [3.0]


def test_the_fingerprint_changes_with_any_row():
    def of(texts=("a", "b", "c"), labels=("yes", "no", "yes"), order=(0, 1, 2)):
        rows = Dataset.from_dict({"text": [texts[i] for i in order], "label": [labels[i] for i in order]})
        return fingerprint(load_data(DatasetDict(train=rows, test=rows)))

    assert of() == of()
    changed = [of(labels=("yes", "no", "no")), of(texts=("a", "b", "d")), of(order=(1, 0, 2))]
    assert len({of(), *changed}) == 4


def test_reviews_know_three_labels():
    for task, count in (("sentiment", 2), ("topic", 6), ("phenomenon", 6)):
        data = load_data("reviews", task=task)
        assert len(names_of(data)) == count
        assert list(data) == ["train", "validation", "test"]


def split_of(count, tag):
    labels = ["yes" if i % 2 else "no" for i in range(count)]
    return Dataset.from_dict({"text": [f"{tag} film {i}" for i in range(count)], "label": labels})


@pytest.mark.parametrize("name", ["val", "Eval", "valid", "dev", "validation"])
def test_the_usual_names_of_a_split_are_understood(tmp_path, name):
    data = load_data(DatasetDict({"train": split_of(20, "a"), name: split_of(10, "b"), "test": split_of(10, "c")}))
    assert {split: len(rows) for split, rows in data.items()} == {"train": 20, "validation": 10, "test": 10}
    for split, count in (("train", 20), (name, 10)):
        split_of(count, split).to_csv(str(tmp_path / f"{split}.csv"))
    assert {split: len(rows) for split, rows in load_data(tmp_path).items()} == {"train": 20, "validation": 10}


def test_what_is_no_split_is_left_out_and_said(tmp_path, caplog):
    load_data(DatasetDict({"train": split_of(20, "a"), "unsupervised": split_of(10, "b")}))
    assert "unsupervised of the data given is left out: no name of a split." in caplog.text
    for split in ("train", "extra", "more"):
        split_of(20, split).to_csv(str(tmp_path / f"{split}.csv"))
    load_data(tmp_path)
    assert f"extra.csv, more.csv of {tmp_path.name} are left out: no name of a split." in caplog.text


def test_two_splits_that_stand_for_one_are_refused():
    with pytest.raises(InputError, match="split 'validation' of the data given must be one. Got val and dev. Keep one"):
        load_data(DatasetDict({"train": split_of(20, "a"), "val": split_of(10, "b"), "dev": split_of(10, "c")}))
