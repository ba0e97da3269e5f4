"""Token ids on disk: whole or not at all, bounded in size, the same as in memory."""

import os
import shutil

import numpy as np
import pytest
import torch
from tokenizers import pre_tokenizers

import ftlab
from ftlab.data import token_cache, tokens
from ftlab.data.batches import encode
from tests.data.rows import TEXTS, lists, on_disk, two_labels


def never(*_):
    raise AssertionError("texts are tokenised again")


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
