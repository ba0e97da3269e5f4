"""Rows for generation, in every container: what is taken, what is refused, and what a note says."""

import json

import pytest
from datasets import Dataset, DatasetDict

from ftlab.data.conversation_rows import check_conversations, form_of
from ftlab.data.load import as_dataset_dict, fingerprint, load_data, load_rows, task_of
from ftlab.errors import InputError
from tests.data.test_conversations import TWO_TURNS

PAIRS = [{"prompt": f"question {i}", "response": f"answer {i % 3}", "id": i} for i in range(20)]
CHATS = [
    {"messages": [{"role": "user", "content": f"hello {i}"}, {"role": "assistant", "content": "yes"}]}
    for i in range(20)
]


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def sizes(data):
    return {split: len(rows) for split, rows in data.items()}


@pytest.mark.parametrize(
    ("rows", "columns"), [(PAIRS, ["prompt", "response"]), (CHATS, ["messages"])], ids=["pairs", "messages"]
)
def test_json_lines_parquet_and_data_in_memory_give_the_same(write, tmp_path, rows, columns, mentioned):
    path = write("a.jsonl", lines(rows))
    data = load_data(path)
    assert f"a.jsonl has {' and '.join(columns)}, so the task is generation" in mentioned()
    assert task_of(data).kind == "generation"
    assert data["train"].column_names == columns
    assert sizes(data) == {"train": 16, "validation": 2, "test": 2}
    Dataset.from_list(rows).to_parquet(tmp_path / "a.parquet")
    assert fingerprint(load_data(tmp_path / "a.parquet", task="generation")) == fingerprint(data)
    assert fingerprint(as_dataset_dict(data)) == fingerprint(data)
    folder = tmp_path / "d"
    folder.mkdir()
    for split, part in data.items():
        part.to_json(folder / f"{split}.jsonl")
    assert fingerprint(load_data(folder)) == fingerprint(data)
    assert sizes(load_data(DatasetDict({"train": Dataset.from_list(rows)}))) == sizes(data)


def test_a_table_of_prompts_and_responses(write):
    content = "prompt,response\n" + "".join(f"question {i},answer\n" for i in range(20))
    assert load_data(write("a.csv", content))["train"].column_names == ["prompt", "response"]


def test_bare_texts_are_for_generation_only_if_the_task_says_so(write):
    path = write("a.csv", "text\n" + "".join(f"film {i}\n" for i in range(20)))
    assert load_data(path, task="generation")["train"].column_names == ["text"]
    with pytest.raises(InputError, match="have a column 'label'"):
        load_data(path)


def test_a_column_of_labels_or_a_named_column_keeps_the_task(write):
    path = write("a.jsonl", lines(row | {"text": row["prompt"], "label": row["id"] % 2} for row in PAIRS))
    assert task_of(load_data(path)).kind == "classification"
    assert task_of(load_data(path, task="generation")).kind == "generation"
    assert task_of(load_data(path, text="prompt", label="response")).kind == "classification"


def test_the_same_conversation_stays_in_one_split(write):
    data = load_data(write("a.jsonl", lines([*PAIRS, *PAIRS])))
    home = {}
    for split, rows in data.items():
        for prompt in rows["prompt"]:
            assert home.setdefault(prompt, split) == split


def test_the_rows_of_a_file_are_all_there_for_a_trained_model(write, tmp_path):
    rows = load_rows(write("a.jsonl", lines(PAIRS)), task_of(load_data(tmp_path / "a.jsonl")))
    assert rows.column_names == ["prompt", "response"]
    assert len(rows) == 20


@pytest.mark.parametrize(
    ("content", "options", "match"),
    [
        ("a,b\nx,y\n", {"task": "generation"}, "a.csv must have the columns prompt and response, or messages, or text"),
        ("prompt,response\nx,y\n", {"task": "generation", "text": "prompt"}, "text= and label= are not used here"),
        (
            "prompt,response\nx,\n" + "x,y\n" * 12,
            {},
            "response of a.csv must be a text that is not empty. Got '' in row 1",
        ),
        ("prompt,response\nx,y\n", {}, "a.csv must have at least 10 rows to be split. Got 1"),
        ("prompt,answer\nx,y\n", {}, "have a column 'text' or 'sentence'. Got columns prompt, answer"),
    ],
)
def test_what_cannot_be_used_is_refused(write, content, options, match):
    with pytest.raises(InputError, match=match):
        load_data(write("a.csv", content), **options)


def test_a_split_of_another_form_is_refused():
    data = DatasetDict({"train": Dataset.from_list(PAIRS), "test": Dataset.from_list(CHATS)})
    with pytest.raises(
        InputError, match="must have the columns prompt and response in every split. Got none in all of them"
    ):
        load_data(data)


@pytest.mark.parametrize(
    ("messages", "match"),
    [
        ("hello", "be a list of messages, each with role and content. Got 'hello' in row 1"),
        ([], "be a list of messages"),
        ([{"role": "user"}], "be a list of messages, each with role and content"),
        ([{"role": "robot", "content": "a"}], "have roles among system, user, assistant. Got 'robot'"),
        ([{"role": "user", "content": " "}], "have contents that are texts and not empty. Got ' '"),
        ([{"role": "user", "content": None}], "have contents that are texts and not empty. Got None"),
        (TWO_TURNS[:2], "alternate between user and assistant and end with assistant. Got system, user"),
        (TWO_TURNS[:1], "alternate between user and assistant"),
        (TWO_TURNS[1:2] * 2 + TWO_TURNS[2:3], "alternate between user and assistant"),
        ([*TWO_TURNS[1:3], TWO_TURNS[0]], "alternate between user and assistant"),
        ([TWO_TURNS[2]], "alternate between user and assistant"),
    ],
)
def test_what_is_no_conversation_is_refused(messages, match):
    with pytest.raises(InputError, match=f"load_data: messages of here must {match}"):
        check_conversations({"messages": [messages]}, ("messages",), "here")


@pytest.mark.parametrize("value", ["", " ", None, 3])
@pytest.mark.parametrize("column", ["prompt", "response"])
def test_an_empty_prompt_or_response_is_refused(column, value):
    rows = {"prompt": ["a", "b"], "response": ["c", "d"]}
    rows[column] = [rows[column][0], value]
    with pytest.raises(
        InputError, match=f"load_data: {column} of here must be a text that is not empty. Got {value!r} in row 2"
    ):
        check_conversations(rows, ("prompt", "response"), "here")


def test_the_form_is_read_off_the_columns():
    assert form_of(["messages", "prompt", "response"]) == ("messages",)
    assert form_of(["text", "id"]) == ("text",)
    assert form_of(["prompt", "answer"]) is None
