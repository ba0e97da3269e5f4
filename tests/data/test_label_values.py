"""Labels in columns of 0 and 1 are read; rows of 0 and 1, and lists written as text, are refused."""

import json

import pytest
from datasets import Dataset, DatasetDict

import ftlab
from ftlab.data.label_values import check_columns, check_lists, labels_of_columns
from ftlab.data.load import task_of
from ftlab.errors import ArgumentError, InputError

HOT = [[i % 2, int(i % 3 == 0), int(i % 5 == 0)] for i in range(40)]
TEXTS = [f"comment number {i}" for i in range(40)]


def test_several_columns_are_several_labels(tmp_path):
    file = tmp_path / "a.csv"
    lines = "".join(f"{text},{row[0]},{row[1]}\n" for text, row in zip(TEXTS, HOT, strict=True))
    file.write_text("text,toxic,insult\n" + lines)
    for source in (file, DatasetDict(train=Dataset.from_csv(str(file)))):
        data = ftlab.load_data(source, label=["toxic", "insult"])
        assert task_of(data).kind == "multilabel"
        assert task_of(data).names == ("toxic", "insult")
        given = {text: [place for place in (0, 1) if row[place]] for text, row in zip(TEXTS, HOT, strict=True)}
        for rows in data.values():
            assert {row["text"]: sorted(row["label"]) for row in rows}.items() <= given.items()


@pytest.mark.parametrize(
    ("label", "task", "got"),
    [
        (["toxic"], None, r"\['toxic'\]"),
        (["toxic", "toxic"], None, r"\['toxic', 'toxic'\]"),
        (["toxic", 3], None, r"\['toxic', 3\]"),
        (["toxic", "insult"], "classification", "for classification"),
        ({"toxic": 1}, None, "{'toxic': 1}"),
    ],
)
def test_names_of_columns_that_cannot_be_meant_are_refused(label, task, got):
    with pytest.raises(ArgumentError, match=f"label must be a column, or a list of columns .* Got .*{got}"):
        check_columns(label, task)


def test_a_column_that_holds_anything_else_is_refused():
    assert labels_of_columns({"a": [True, 0.0], "b": ["0", 1]}, "x") == [["a"], ["b"]]
    with pytest.raises(InputError, match="insult of a.csv must be 0 or 1 in every row. Got '2' in row 2"):
        labels_of_columns({"toxic": ["1", "0"], "insult": ["0", "2"]}, "a.csv")
    with pytest.raises(InputError, match="have a column 'insult'. Got columns text, label"):
        ftlab.load_data(
            DatasetDict(train=Dataset.from_dict({"text": TEXTS, "label": TEXTS})), label=["label", "insult"]
        )


def test_rows_of_0_and_1_are_refused_and_the_advice_works(tmp_path):
    for rows in (HOT, [[float(one) for one in row] for row in HOT], [[bool(one) for one in row] for row in HOT]):
        data = DatasetDict(train=Dataset.from_dict({"text": TEXTS, "label": rows}))
        with pytest.raises(InputError, match=r"must be the labels of a row. Got \[.*\] in row 1. List the labels"):
            ftlab.load_data(data)
    listed = [[name for name, one in zip(("toxic", "insult", "threat"), row, strict=True) if one] for row in HOT]
    data = ftlab.load_data(DatasetDict(train=Dataset.from_dict({"text": TEXTS, "label": listed})))
    assert task_of(data).names == ("insult", "threat", "toxic")
    (tmp_path / "a.jsonl").write_text(
        "".join(json.dumps({"text": text, "label": row}) + "\n" for text, row in zip(TEXTS, HOT, strict=True))
    )
    with pytest.raises(InputError, match=r"label of a.jsonl must be the labels of a row. Got \[0, 1, 1\] in row 1"):
        ftlab.load_data(tmp_path / "a.jsonl")


def test_ids_of_labels_are_not_taken_for_rows_of_0_and_1():
    check_lists([[0, 1], [2, 5]], "x")
    check_lists([[0], [1], [0]], "x")
    check_lists([[0, 1], [1]], "x")
    check_lists([["0", "1"], ["1", "0"]], "x")


def test_a_list_written_as_text_is_refused_and_the_advice_works(tmp_path):
    written = [str(["insult", "threat"] if i % 3 else ["insult"]) for i in range(40)]
    file = tmp_path / "a.csv"
    file.write_text("text,label\n" + "".join(f'{text},"{one}"\n' for text, one in zip(TEXTS, written, strict=True)))
    with pytest.raises(InputError, match=r"""must not be a list written as text. Got "\['insult'\]" in rows 1, 2, 3"""):
        ftlab.load_data(file)
    joined = ["|".join(["insult", "threat"] if i % 3 else ["insult"]) for i in range(40)]
    file.write_text("text,label\n" + "".join(f"{text},{one}\n" for text, one in zip(TEXTS, joined, strict=True)))
    assert task_of(ftlab.load_data(file)).names == ("insult", "threat")
    check_lists(["[sic]", "[1]", "['"], "x")  # these are labels like any others
