"""Token ids: equal to those of a call of the tokenizer, in flat arrays."""

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from ftlab.data import chunks, tokens
from ftlab.data.tokens import Tokens, tokenise
from ftlab.models.load import load_model
from tests.data.rows import TEXTS, lists, two_labels
from tests.tiny import tiny_bert, tiny_gpt2, tiny_roberta


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
