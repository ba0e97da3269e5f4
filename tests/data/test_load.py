"""What comes in as data: files, folders and data in memory. What is harmless is accepted, and mentioned."""

import json
import random
from collections import Counter, defaultdict

import pyarrow
import pyarrow.parquet
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value

import ftlab
from ftlab.data.batches import encode
from ftlab.data.labels import Task
from ftlab.data.load import fingerprint, load_data, load_rows, task_of
from ftlab.data.split import normalise_text, split_rows
from ftlab.data.tables import read_table
from tests.tiny import small_data

ROWS = [(f"a {word} film number {i}", label) for i in range(10) for word, label in (("good", "yes"), ("bad", "no"))]


@pytest.fixture
def write(tmp_path):
    """A function that writes a file and returns its path."""

    def write(name, content):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def csv(rows=ROWS, header="text,label"):
    return "\n".join([header, *(f"{text},{label}" for text, label in rows)]) + "\n"


def rows_of(data):
    """Return every row as (text, label's name), from all splits."""
    names = data["train"].features["label"].names
    return [(row["text"], names[row["label"]]) for split in data.values() for row in split]


def names_of(data):
    return data["train"].features["label"].names


# Files: what is harmless


def test_a_plain_file_is_read_without_a_word(write, mentioned):
    assert sorted(rows_of(load_data(write("a.csv", csv())))) == sorted(ROWS)
    assert mentioned() == ""


@pytest.mark.parametrize(
    ("content", "mention"),
    [
        pytest.param(b"\xef\xbb\xbf" + csv().encode(), "begins with a byte order mark", id="byte order mark"),
        pytest.param(csv().replace("\n", "\r\n"), "", id="CRLF"),
        pytest.param(csv().replace("\n", "\r"), "", id="CR"),
        pytest.param(csv().rstrip("\n"), "", id="no last line end"),
        pytest.param("\n" + csv() + "\n \n", "3 blank lines", id="blank lines"),
        pytest.param(csv().replace(",", ";"), "separated by semicolons", id="semicolons"),
        pytest.param(csv(header=" text , label "), "", id="spaces in the header"),
        pytest.param(csv([(text, f" {label}\t") for text, label in ROWS]), "spaces around 20 labels", id="spaces"),
    ],
)
def test_harmless_oddities_change_nothing(write, mentioned, content, mention):
    assert sorted(rows_of(load_data(write("a.csv", content)))) == sorted(ROWS)
    assert mention in mentioned()
    assert bool(mention) == bool(mentioned())


def test_quotes_keep_commas_newlines_and_quotes(write):
    content = 'text,label\n"long, slow",no\n"two\nlines",yes\n"a ""gem""",yes\n'
    assert read_table(write("a.csv", content))["text"] == ["long, slow", "two\nlines", 'a "gem"']


def test_a_lone_quote_in_a_tab_separated_text_is_a_quote(write):
    content = 'text\tlabel\n"so he says\tno\na 6" pizza, hot\tyes\n"a ""gem"""\tyes\n'
    assert read_table(write("a.tsv", content))["text"] == ['"so he says', 'a 6" pizza, hot', 'a "gem"']


def test_a_very_long_text_is_kept(write):
    long = "word " * 60_000
    assert read_table(write("a.csv", f"text,label\n{long},x\n"))["text"] == [long]


def test_a_first_column_that_begins_like_a_zip_archive(write):
    assert read_table(write("a.csv", "PK,text,label\n1,a,x\n"))["PK"] == ["1"]


def test_json_lines_may_hold_any_line_separator_in_a_text(write):
    texts = ["one\u2028two", "three\x85four", "five\nsix"]
    lines = [json.dumps({"text": one, "label": "x"}, ensure_ascii=False) for one in texts]
    assert read_table(write("a.jsonl", "\r\n".join(lines)))["text"] == texts


def test_every_kind_of_file_gives_the_same(write, tmp_path):
    table = pyarrow.table({"text": [text for text, _ in ROWS], "label": [label for _, label in ROWS]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    write("a.csv", csv())
    write("a.tsv", csv().replace(",", "\t"))
    write("a.jsonl", "\n".join(json.dumps({"text": text, "label": label}) for text, label in ROWS))
    prints = {fingerprint(load_data(tmp_path / f"a.{kind}")) for kind in ("csv", "tsv", "jsonl", "parquet")}
    assert len(prints) == 1


def test_columns_can_be_named(write):
    content = "body,verdict,label\n" + "".join(f"{text},{label},other\n" for text, label in ROWS)
    data = load_data(write("a.csv", content), text="body", label="verdict")
    assert sorted(rows_of(data)) == sorted(ROWS)


# Labels: each stays what it says


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


# The split of one file


def test_a_single_file_is_split_80_10_10(write):
    rows = [(f"film {i}", "abcd"[i % 4]) for i in range(1000)]
    data = load_data(write("a.csv", csv(rows)))
    assert {split: len(part) for split, part in data.items()} == {"train": 800, "validation": 100, "test": 100}
    for part in data.values():
        assert max(Counter(part["label"]).values()) - min(Counter(part["label"]).values()) == 0


def test_a_folder_with_training_rows_alone_is_split_like_a_file(write):
    folder = load_data(write("d/train.csv", csv()).parent)
    assert fingerprint(folder) == fingerprint(load_data(write("a.csv", csv())))


@pytest.mark.parametrize("seed", range(30))
def test_split_laws(seed):
    """Whatever the rows: each once, the same each time, a text in one split, every label in train, 80/10/10."""
    chance = random.Random(seed)
    count = chance.randrange(10, 400)
    labels = [chance.choice("aaaaaabbbc" if seed % 2 else "abcdefghijklmnop") for _ in range(count)]
    texts = [f"text {chance.randrange(count) if seed % 3 == 0 else row}" for row in range(count)]
    parts = split_rows(texts, labels, "here")
    assert parts == split_rows(texts, labels, "here")
    assert sorted(row for rows in parts.values() for row in rows) == list(range(count))
    homes = defaultdict(set)
    for split, rows in parts.items():
        for row in rows:
            homes[texts[row]].add(split)
    assert {len(splits) for splits in homes.values()} == {1}
    first = {text: labels[row] for row, text in reversed(list(enumerate(texts)))}
    assert {first[text] for text, (split,) in homes.items() if split == "train"} == set(first.values())
    size = Counter(split for (split,) in homes.values())
    rare = len(set(labels))
    assert abs(size["validation"] - len(homes) / 10) <= max(1, rare)
    if seed % 3:
        for label in set(labels):
            held = [sum(labels[row] == label for row in parts[split]) for split in ("validation", "test")]
            assert all(abs(one - labels.count(label) / 10) <= 1.5 for one in held)


def test_many_small_classes_have_their_share_of_every_split():
    labels = [i % 40 for i in range(200)]
    parts = split_rows([f"text {i}" for i in range(200)], labels, "here")
    assert {split: len(rows) for split, rows in parts.items()} == {"train": 160, "validation": 20, "test": 20}
    assert {labels[row] for row in parts["train"]} == set(range(40))


def test_chance_chooses_the_rows_of_a_split():
    test = split_rows([f"text {i}" for i in range(100)], ["x", "y"] * 50, "here")["test"]
    assert len({row // 10 for row in test}) > 3


def test_the_same_text_stays_in_one_split(write, mentioned):
    twice = [(text.upper().replace(" ", "  "), "no") for text, _ in ROWS]
    data = load_data(write("a.csv", csv([*ROWS, *twice])))
    split = {normalise_text(text): name for name, part in data.items() for text in part["text"]}
    for name, part in data.items():
        assert all(split[normalise_text(text)] == name for text in part["text"])
    assert "20 rows of a.csv repeat a text" in mentioned()
    assert "Repeated texts with different labels: 10." in mentioned()


def test_a_rare_label_is_mentioned(write, mentioned):
    load_data(write("a.csv", csv([*ROWS, ("a so so film", "maybe")])))
    assert "a.csv has too few rows of 'maybe' (1) to put some in every split" in mentioned()


def test_texts_that_stand_in_train_as_well_are_mentioned(write, mentioned):
    write("d/train.csv", csv())
    write("d/test.csv", csv([("A GOOD film  number 1", "yes"), ("another film", "no")]))
    load_data(write("d/notes.md", "left alone").parent)
    assert "1 of 2 texts of test of d are also in train" in mentioned()


# Data in memory


@pytest.mark.parametrize("labels", [["yes", "no"], ["a|b", "b", ""], ["0.5", "1.25"], ["10", "9"]])
def test_what_comes_out_goes_in_again_unchanged(write, labels):
    data = load_data(write("a.csv", csv([(f"film {i} {label}", label) for i in range(20) for label in labels])))
    again = load_data(data)
    assert list(again) == list(data)
    for split in data:
        assert again[split].features == data[split].features
        assert again[split].to_dict() == data[split].to_dict()


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


def test_a_test_split_with_withheld_labels_is_left_out(mentioned):
    features = Features({"text": Value("string"), "label": ClassLabel(names=["no", "yes"])})
    rows = Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]}, features=features)
    hidden = Dataset.from_dict({"text": ["c", "d"], "label": [-1, -1]}, features=features)
    data = load_data(DatasetDict(train=rows, validation=rows, test=hidden))
    assert list(data) == ["train", "validation"]
    assert "the labels of test of the data given are withheld (-1)" in mentioned()


def test_lists_and_floats_tell_their_task_by_their_type(mentioned):
    classes = Features({"text": Value("string"), "label": List(ClassLabel(names=["b", "a"]))})
    several = Dataset.from_dict({"text": ["x", "y", "z"], "label": [[0, 1], [], [1]]}, features=classes)
    numbers = Dataset.from_dict({"text": ["x", "y"], "label": [1.0, 2.0]})
    assert task_of(load_data(DatasetDict(train=several, test=several))) == Task("multilabel", ("b", "a"))
    assert task_of(load_data(DatasetDict(train=numbers, test=numbers))) == Task("regression")
    assert "multilabel" not in mentioned()


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


# What is embedded


def test_reviews_know_three_labels():
    for task, count in (("sentiment", 2), ("topic", 6), ("phenomenon", 6)):
        data = load_data("reviews", task=task)
        assert len(names_of(data)) == count
        assert list(data) == ["train", "validation", "test"]


def test_digits_are_1797_images_of_ten_classes():
    data = load_data("digits")
    assert sum(map(len, data.values())) == 1797
    assert task_of(data) == Task("classification", tuple("0123456789"), "image")
    assert data["train"][0]["image"].size == (8, 8)
    assert fingerprint(data) == fingerprint(load_data("digits"))


# On the way to the model


@pytest.fixture(scope="module")
def model(bert):
    return ftlab.load_model(bert, small_data())


def test_texts_that_are_cut_are_counted(model, mentioned):
    encoded = encode(model, ["good film " * 20, "bad film", "a film", "the film"], max_length=8)
    assert encoded.cut == 1
    assert [len(one) for one in encoded.inputs] == [8, 4, 4, 4]
    assert "finetune: 1 of 4 texts (25.0%) are cut to 8 tokens" in mentioned()


def test_an_unknown_language_is_mentioned(model, mentioned):
    encode(model, ["a good film"], max_length=8)
    assert mentioned() == ""
    encode(model, ["ein guter Streifen"], max_length=8)
    assert "60% of all tokens are unknown to the tokenizer" in mentioned()


def test_a_batch_larger_than_the_data_is_one_update_an_epoch(bert, mentioned):
    rows = Dataset.from_dict({"text": [text for text, _ in ROWS], "label": [label for _, label in ROWS]})
    run = ftlab.finetune(bert, DatasetDict(train=rows, test=rows), epochs=2, batch_size=64)
    assert len(run.history) == 2
    assert "batch_size 64 is more than the 20 rows, so there is one update per epoch" in mentioned()
    assert "max_length 128 is more than" in mentioned()
