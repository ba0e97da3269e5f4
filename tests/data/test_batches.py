"""From rows to padded batches: what is cut, what is unknown, the order of an epoch."""

import hashlib
import json

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value

import ftlab
from ftlab.data import chunks
from ftlab.data.batches import Batches, Encoded, encode
from ftlab.data.labels import Task
from ftlab.data.tokens import Tokens
from ftlab.models.load import Pretrained
from tests.data.rows import ROWS, TEXTS, on_disk, two_labels


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


@pytest.mark.parametrize("path", ["memory", "disk"])
def test_a_batch_is_what_the_tokenizer_pads(model, cache, monkeypatch, path):
    monkeypatch.setenv("FTLAB_CACHE", str(cache) if path == "disk" else "off")
    encoded = encode(model, two_labels(TEXTS), 16)
    assert on_disk(encoded.inputs.ids) == (path == "disk")
    rows = [7, 3, 250, 3]
    texts = [TEXTS[row] for row in rows]
    expected = model.processor(texts, truncation=True, max_length=16, padding=True, return_tensors="pt")
    batch = encoded.batch(rows)
    assert torch.equal(batch["input_ids"], expected["input_ids"])
    assert torch.equal(batch["attention_mask"], expected["attention_mask"])
    assert batch["labels"].tolist() == [1, 1, 0, 1]
    assert (
        [encoded.length(row) for row in rows]
        == encoded.lengths[rows].tolist()
        == batch["attention_mask"].sum(1).tolist()
    )


@pytest.mark.parametrize(
    ("rows", "size", "seed", "epoch", "expected"),
    [
        (1, 8, 0, 0, "db407f11d7ede59a"),
        (40, 8, 0, 0, "d0476af6fa7f536b"),
        (1000, 32, 1, 2, "9dd5a41e652f4600"),
        (1601, 32, 0, 0, "085d5062f36dfc12"),
        (5003, 7, 3, 1, "1574d636f9d455aa"),
    ],
)
def test_the_order_of_a_seed_and_an_epoch_never_changes(rows, size, seed, epoch, expected):
    lengths = [3 + (i * i * 7 + i) % 61 for i in range(rows)]
    flat = Tokens(np.zeros(sum(lengths), np.int32), np.cumsum([0, *lengths]), pad=0)
    order = Batches(Encoded(flat, None, None), size, seed=seed).order(epoch)
    assert hashlib.sha256(json.dumps(order).encode()).hexdigest().startswith(expected)


def test_images_have_an_order_too():
    encoded = Encoded(list("abcdefg"), None, None)
    assert [encoded.length(2), encoded.lengths.tolist()] == [1, [1] * 7]
    assert Batches(encoded, 3).order(0) == [[3, 6, 2], [1], [5, 4, 0]]


@pytest.mark.parametrize("size", [2, 3, 100])
def test_labels_of_every_kind_are_numbered_the_same_in_any_chunks(model, monkeypatch, size):
    monkeypatch.setattr(chunks, "CHUNK", size)
    several = Features({"text": Value("string"), "label": List(ClassLabel(names=["x", "y", "z"]))})
    cases = [
        (Task("classification", ("no", "yes")), two_labels(["a"] * 5), [0, 1, 0, 1, 0], torch.int64),
        (
            Task("regression"),
            Dataset.from_dict({"text": ["a"] * 3, "label": [0.1, 2.0, -3.5]}),
            torch.tensor([0.1, 2.0, -3.5]).tolist(),
            torch.float32,
        ),
        (
            Task("multilabel", ("x", "y", "z")),
            Dataset.from_dict({"text": ["a"] * 3, "label": [[0, 2], [], [1]]}, features=several),
            [[1, 0, 1], [0, 0, 0], [0, 1, 0]],
            torch.float32,
        ),
    ]
    for task, rows, expected, dtype in cases:
        labels = encode(Pretrained(model.net, model.processor, "tiny", task), rows, 16).labels
        assert (labels.tolist(), labels.dtype) == (expected, dtype)
    assert encode(model, two_labels(["a"]).select([]), 16).labels.tolist() == []


def test_every_row_comes_once_an_epoch_in_batches_of_like_length(model, small):
    encoded = encode(model, small["train"], 64)
    batches = Batches(encoded, 8)
    for epoch in (0, 1):
        order = batches.order(epoch)
        assert sorted(row for rows in order for row in rows) == list(range(40))
        assert max(max(map(encoded.length, rows)) - min(map(encoded.length, rows)) for rows in order) <= 6
    assert batches.order(0) != batches.order(1)
    assert list(map(len, Batches(encoded, 7).order(0))).count(7) == 5  # 40 rows: five of 7 and one of 5
    for (batch,) in batches:
        assert batch["input_ids"].shape[1] == batch["attention_mask"].sum(1).max()
