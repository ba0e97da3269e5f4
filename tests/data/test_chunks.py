"""Long columns are read a chunk at a time."""

import pytest
from datasets import Dataset

import ftlab
from ftlab.data import chunks
from tests.data.rows import two_labels


def test_a_wrong_row_is_named_by_its_place_among_all_rows(small, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK", 4)
    texts = ["a film"] * 20
    texts[9] = texts[17] = " "
    small["train"] = two_labels(texts).cast(small["train"].features)
    with pytest.raises(ftlab.InputError, match=r"text of train must not be empty. Got ' ' in rows 10, 18\."):
        ftlab.data.load.as_dataset_dict(small)


@pytest.mark.parametrize("count", [0, 3, 4, 9])
def test_the_chunks_of_a_list_and_of_a_column_are_its_values_in_order(monkeypatch, count):
    monkeypatch.setattr(chunks, "CHUNK", 4)
    values = [f"text {i}" for i in range(count)]
    for column in (values, Dataset.from_dict({"text": values})["text"]):
        found = list(chunks.chunks(column))
        assert [value for chunk in found for value in chunk] == values
        assert all(type(chunk) is list and 1 <= len(chunk) <= 4 for chunk in found)
        assert len(found) == -(-count // 4)
