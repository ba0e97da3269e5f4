"""Token ids: equal to what the tokenizer gives, in flat arrays, kept on disk whole or not at all."""

import hashlib
import json
import os
import random
import shutil

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, List, Value
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

import ftlab
from ftlab.data import chunks, token_cache, tokens
from ftlab.data.batches import Batches, Encoded, encode
from ftlab.data.labels import Task
from ftlab.data.tokens import Tokens, tokenise
from ftlab.models.load import Pretrained, load_model
from tests.tiny import WORDS, tiny_bert, tiny_gpt2, tiny_roberta

CHANCE = random.Random(0)
TEXTS = [
    " ".join(CHANCE.choices([*WORDS, "Straße", "naïve", "🙂", "[SEP]", "unheard-of"], k=CHANCE.randint(1, 40)))
    for _ in range(300)
]


def byte_pairs() -> PreTrainedTokenizerFast:
    """A tokenizer of byte pairs, as RoBERTa and GPT-2 have, with RoBERTa's frame."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merged = ["Ġt", "he", "Ġthe", "in", "er"]
    vocabulary = {one: number for number, one in enumerate(["<s>", "<pad>", "</s>", "<unk>", *alphabet, *merged])}
    merges = [("Ġ", "t"), ("h", "e"), ("Ġt", "he"), ("i", "n"), ("e", "r")]
    backend = Tokenizer(models.BPE(vocabulary, merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", unk_token="<unk>", eos_token="</s>")


@pytest.fixture(scope="module", params=["BERT", "RoBERTa", "GPT-2", "byte pairs", "MiniLM"])
def tokenizer(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    if request.param == "byte pairs":
        return byte_pairs()
    if request.param == "MiniLM":
        return load_model("minilm", {"train": two_labels(["a", "b"])}).processor
    tiny = {"BERT": tiny_bert, "RoBERTa": tiny_roberta, "GPT-2": tiny_gpt2}[request.param]
    found = AutoTokenizer.from_pretrained(tiny(folder))
    found.pad_token = found.pad_token or found.eos_token
    return found


@pytest.fixture
def model(bert, small):
    return load_model(bert, small)


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """A cache of its own, which ten texts are enough for."""
    monkeypatch.setattr(tokens, "MANY", 10)
    monkeypatch.setattr(chunks, "CHUNK", 7)
    monkeypatch.setenv("FTLAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def two_labels(texts):
    features = Features({"text": Value("string"), "label": ClassLabel(names=["no", "yes"])})
    return Dataset.from_dict({"text": texts, "label": [i % 2 for i in range(len(texts))]}, features=features)


def lists(found):
    return [row.tolist() for row in found]


def on_disk(found):
    """Return whether an array is mapped from a file."""
    while found is not None and not isinstance(found, np.memmap):
        found = found.base
    return found is not None


def never(*_):
    raise AssertionError("texts are tokenised again")


# The same ids as a call of the tokenizer


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("longest", [4, 12, 64])
def test_ids_are_those_of_a_call_of_the_tokenizer(tokenizer, monkeypatch, longest, side):
    monkeypatch.setattr(chunks, "CHUNK", 128)
    monkeypatch.setattr(tokenizer, "truncation_side", side)
    found, cut = tokenise(tokenizer, TEXTS, longest)
    assert lists(found) == tokenizer(TEXTS, truncation=True, max_length=longest)["input_ids"]
    whole = tokenizer(TEXTS)["input_ids"]
    assert cut == sum(len(one) > longest for one in whole)
    assert cut or longest == 64


def test_special_tokens_in_a_text_are_split_where_the_tokenizer_says_so(tokenizer, monkeypatch):
    text = f"good {tokenizer.sep_token or tokenizer.eos_token} film"
    plain = lists(tokenise(tokenizer, [text], 64)[0])
    monkeypatch.setattr(tokenizer, "split_special_tokens", True)
    split = lists(tokenise(tokenizer, [text], 64)[0])
    assert split == tokenizer([text])["input_ids"]
    assert split != plain


def test_a_backend_without_the_fast_way_gives_the_same(tokenizer):
    class Older:
        """A backend of before ``encode_batch_fast``."""

        def __init__(self, backend):
            self.__dict__["backend"] = backend

        def __getattr__(self, name):
            if name == "encode_batch_fast":
                raise AttributeError(name)
            return getattr(self.backend, name)

        def __setattr__(self, name, value):
            setattr(self.backend, name, value)

    class Outer:
        backend_tokenizer = Older(tokenizer.backend_tokenizer)

        def __getattr__(self, name):
            return getattr(tokenizer, name)

    assert lists(tokenise(Outer(), TEXTS, 12)[0]) == lists(tokenise(tokenizer, TEXTS, 12)[0])


def test_a_tokenizer_without_a_backend_is_called(tokenizer):
    class Slow:
        pad_token_id = tokenizer.pad_token_id

        def __call__(self, texts, **options):
            return tokenizer(texts, **options)

    found, cut = tokenise(Slow(), TEXTS, 12)
    expected, number = tokenise(tokenizer, TEXTS, 12)
    assert (lists(found), cut) == (lists(expected), number)


def test_the_tokenizers_settings_stay_as_they_are(tokenizer):
    backend = tokenizer.backend_tokenizer

    def settings():
        return backend.truncation, backend.padding, backend.encode_special_tokens

    before = settings()
    try:
        for change in (lambda: None, backend.no_truncation, backend.no_padding):
            change()
            now = settings()
            tokenise(tokenizer, TEXTS, 12)
            assert settings() == now
        backend.enable_truncation(9, stride=2, direction="left")
        backend.enable_padding(direction="left", length=30, pad_id=1, pad_token="x", pad_to_multiple_of=8)
        backend.encode_special_tokens = True
        now = settings()
        assert all(len(row) <= 12 for row in lists(tokenise(tokenizer, TEXTS[:9], 12)[0]))
        assert settings() == now
        with pytest.raises(TypeError, match="TextEncodeInput"):
            tokenise(tokenizer, [None], 12)
        assert settings() == now
    finally:
        backend.no_truncation()
        backend.no_padding()
        backend.encode_special_tokens = before[2]


def test_no_text_is_no_row(tokenizer):
    found, cut = tokenise(tokenizer, [], 12)
    assert (len(found), lists(found), cut) == (0, [], 0)


# Flat arrays


def test_rows_are_padded_to_the_longest_of_their_batch():
    found = Tokens(np.array([5, 6, 7, 8, 9, 4], np.int32), np.array([0, 1, 4, 4, 6]), pad=2)
    assert (len(found), found.lengths.tolist(), lists(found)) == (4, [1, 3, 0, 2], [[5], [6, 7, 8], [], [9, 4]])
    batch = found.batch([3, 0, 2])
    assert batch["input_ids"].tolist() == [[9, 4], [5, 2], [2, 2]]
    assert batch["attention_mask"].tolist() == [[1, 1], [1, 0], [0, 0]]
    assert {tensor.dtype for tensor in batch.values()} == {torch.int64}
    assert found.batch(range(1, 3))["input_ids"].tolist() == [[6, 7, 8], [2, 2, 2]]


def test_tokens_are_counted_across_slices(monkeypatch):
    monkeypatch.setattr(tokens, "SLICE", 4)
    assert Tokens(np.array([1, 2, 1, 1, 1, 3, 2, 1, 1], np.int32), np.array([0, 9]), pad=0).count(1) == 6


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


# Labels, chunk by chunk


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


def test_a_wrong_row_is_named_by_its_place_among_all_rows(small, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK", 4)
    texts = ["a film"] * 20
    texts[9] = texts[17] = " "
    small["train"] = two_labels(texts).cast(small["train"].features)
    with pytest.raises(ftlab.InputError, match=r"text of train must not be empty. Got ' ' in rows 10, 18\."):
        ftlab.data.load.as_dataset_dict(small)


# On disk


def test_many_texts_are_tokenised_once(model, cache, monkeypatch):
    first = encode(model, two_labels(TEXTS), 16)
    monkeypatch.setattr(tokens, "_as_piece", never)
    again = encode(model, two_labels(TEXTS), 16)
    listed = encode(model, TEXTS, 16)
    for other in (again, listed):
        assert on_disk(other.inputs.ids)
        assert on_disk(other.inputs.starts)
        assert lists(other.inputs) == lists(first.inputs)
        assert other.cut == first.cut > 0
    assert len(list(cache.iterdir())) == 1  # no draft is left


def test_few_texts_are_kept_in_memory_and_so_are_all_when_it_is_off(model, cache, monkeypatch):
    assert not on_disk(encode(model, TEXTS[:9], 16).inputs.ids)
    monkeypatch.setenv("FTLAB_CACHE", "OFF")
    assert not on_disk(encode(model, TEXTS, 16).inputs.ids)
    assert not cache.exists()


def test_another_text_length_or_tokenizer_has_its_own_entry(model, cache):
    encode(model, TEXTS, 16)
    encode(model, TEXTS, 16)
    assert len(list(cache.iterdir())) == 1
    encode(model, TEXTS, 15)
    encode(model, [*TEXTS[:-1], "another"], 16)
    encode(model, [TEXTS[1], TEXTS[0], *TEXTS[2:]], 16)
    encode(model, [f"{TEXTS[0]}{TEXTS[1]}", "", *TEXTS[2:]], 16)
    assert len(list(cache.iterdir())) == 5
    model.processor.add_tokens(["unheard-of"])
    encode(model, TEXTS, 16)
    assert len(list(cache.iterdir())) == 6
    model.processor.truncation_side = "left"
    encode(model, TEXTS, 16)
    assert len(list(cache.iterdir())) == 7
    model.processor.backend_tokenizer.enable_truncation(5)  # a setting that a call does not heed
    model.processor.backend_tokenizer.enable_padding(length=9)
    encode(model, TEXTS, 16)
    assert len(list(cache.iterdir())) == 7


def shorten(path):
    path.write_bytes(path.read_bytes()[:-5])


def lengthen(path):
    path.write_bytes(path.read_bytes() + b"\0\0\0\0")


def flip(path):
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("name", ["ids.npy", "starts.npy", "entry.json"])
@pytest.mark.parametrize("damage", [shorten, flip, empty, os.unlink])
def test_a_damaged_entry_is_made_anew(model, cache, name, damage):
    expected = lists(encode(model, TEXTS, 16).inputs)
    (entry,) = cache.iterdir()
    whole = {file.name: file.read_bytes() for file in entry.iterdir()}
    damage(entry / name)
    encoded = encode(model, TEXTS, 16)
    assert lists(encoded.inputs) == expected
    assert on_disk(encoded.inputs.ids)
    assert {file.name: file.read_bytes() for file in entry.iterdir()} == whole


@pytest.mark.parametrize("content", ["[]", "null", '{"cut": 0}', '{"cut": 0, "ids": 1, "starts": 2}'])
def test_facts_that_are_none_are_not_believed(model, cache, content):
    encode(model, TEXTS, 16)
    (entry,) = cache.iterdir()
    whole = (entry / "entry.json").read_text()
    (entry / "entry.json").write_text(content)
    encode(model, TEXTS, 16)
    assert (entry / "entry.json").read_text() == whole


def test_an_interrupted_entry_is_not_there(model, cache, monkeypatch):
    piece = tokens._as_piece
    calls = []

    def stop(*given):
        calls.append(given)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return piece(*given)

    monkeypatch.setattr(tokens, "_as_piece", stop)
    before = model.processor.backend_tokenizer.truncation
    with pytest.raises(KeyboardInterrupt):
        encode(model, TEXTS, 16)
    assert list(cache.iterdir()) == []
    assert model.processor.backend_tokenizer.truncation == before


def test_a_folder_that_cannot_be_written_is_no_error(model, cache, monkeypatch, tmp_path):
    expected = lists(encode(model, TEXTS, 16).inputs)
    shutil.rmtree(cache)
    cache.write_text("a file in its place")
    encoded = encode(model, TEXTS, 16)
    assert lists(encoded.inputs) == expected
    assert not on_disk(encoded.inputs.ids)
    monkeypatch.setenv("FTLAB_CACHE", str(tmp_path / "other"))
    full = OSError(28, "No space left on device")
    monkeypatch.setattr(token_cache.np, "save", lambda *_: (_ for _ in ()).throw(full))
    assert lists(encode(model, TEXTS, 16).inputs) == expected
    assert list((tmp_path / "other").iterdir()) == []


def test_a_tokenizer_that_cannot_be_written_down_has_no_entry(cache, model):
    class Spaces:
        def pre_tokenize(self, text):
            text.split(lambda _, one: one.split(" ", "removed"))

    model.processor.backend_tokenizer.pre_tokenizer = pre_tokenizers.PreTokenizer.custom(Spaces())
    encoded = encode(model, TEXTS, 16)
    assert lists(encoded.inputs) == model.processor(TEXTS, truncation=True, max_length=16)["input_ids"]
    assert not cache.exists()


def test_what_was_not_used_for_longest_goes_when_the_cache_is_full(model, cache, monkeypatch):
    def entries():
        return {one.name for one in cache.iterdir()}

    names = []
    for age, longest in ((300, 14), (200, 15), (100, 16)):
        before = entries() if names else set()
        encode(model, TEXTS, longest)
        (name,) = entries() - before
        names.append(name)
        used = os.stat(cache / name).st_mtime - age
        os.utime(cache / name, (used, used))
    (cache / "mine").mkdir()
    (cache / "mine" / "file").write_bytes(b"0" * 10**6)
    encode(model, TEXTS, 14)  # read again, so that 15 is the one that waits longest
    whole = sum(file.stat().st_size for name in names for file in (cache / name).iterdir())
    monkeypatch.setattr(token_cache, "LIMIT", whole)
    encode(model, TEXTS, 13)
    assert entries() >= {names[0], names[2], "mine"}
    assert names[1] not in entries()
    monkeypatch.setattr(token_cache, "LIMIT", 0)
    before = entries()
    encode(model, TEXTS, 12)
    assert len(entries()) == 2  # the newest, and what is not ours
    assert len(entries() - before) == 1


def test_entries_in_use_survive_their_removal(model, cache):
    encoded = encode(model, TEXTS, 16)
    expected = encoded.batch(range(300))["input_ids"]
    shutil.rmtree(cache)
    assert torch.equal(encoded.batch(range(300))["input_ids"], expected)


def test_the_folder_is_the_users_own(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("FTLAB_CACHE", raising=False)
    assert token_cache.cache_folder() == tmp_path / ".cache/ftlab/tokens"
    monkeypatch.setenv("FTLAB_CACHE", "~/elsewhere")
    assert token_cache.cache_folder() == tmp_path / "elsewhere"


def test_training_from_the_disk_is_training_from_memory(model, small, cache, monkeypatch):
    stored = ftlab.finetune(model, small, epochs=1, batch_size=8)
    assert len(list(cache.iterdir())) == 3
    monkeypatch.setenv("FTLAB_CACHE", "off")
    plain = ftlab.finetune(model, small, epochs=1, batch_size=8)
    assert [one["loss"] for one in stored.history] == [one["loss"] for one in plain.history]


def test_the_file_of_ids_is_an_ordinary_one(model, cache):
    encode(model, TEXTS, 16)
    (entry,) = cache.iterdir()
    ids, starts = np.load(entry / "ids.npy"), np.load(entry / "starts.npy")
    assert (ids.dtype, starts.dtype) == (np.int32, np.int64)
    assert (starts[0], starts[-1], len(starts)) == (0, len(ids), 301)
