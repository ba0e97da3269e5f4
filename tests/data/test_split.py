"""How a single file is split into train, validation and test."""

import random
from collections import Counter, defaultdict

import pytest

from ftlab.data.load import fingerprint, load_data
from ftlab.data.split import normalise_text, split_rows
from tests.data.rows import ROWS, csv


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
