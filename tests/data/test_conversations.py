"""Conversations as tokens: which tokens are targets, what is refused, and that generation starts where training does."""

import copy

import pytest
from datasets import Dataset
from transformers import AutoTokenizer

from ftlab.data.conversations import encode_rows, messages_of, segments, start_of
from ftlab.errors import InputError
from tests.tiny import tiny_gpt2_lm, tiny_llama

TWO_TURNS = [
    {"role": "system", "content": "be quiet"},
    {"role": "user", "content": "a good film"},
    {"role": "assistant", "content": "yes"},
    {"role": "user", "content": "why"},
    {"role": "assistant", "content": "the end"},
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return AutoTokenizer.from_pretrained(tiny_llama(tmp_path_factory.mktemp("llama")))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A tokenizer without a chat template."""
    return AutoTokenizer.from_pretrained(tiny_gpt2_lm(tmp_path_factory.mktemp("gpt2")))


def targets_of(tokenizer, rows, max_length=64):
    """Return the tokens of each row, and those of them that are targets."""
    encoded, _ = encode_rows(tokenizer, Dataset.from_dict(rows), max_length, "finetune")
    words = [tokenizer.convert_ids_to_tokens(ids) for ids, _ in encoded]
    chosen = [
        [word for word, target in zip(row, mask, strict=True) if target]
        for row, (_, mask) in zip(words, encoded, strict=True)
    ]
    return words, chosen


def test_the_targets_are_the_response_and_the_token_that_ends_it(tokenizer):
    words, targets = targets_of(tokenizer, {"prompt": ["a good film"], "response": ["yes , it is"]})
    assert words == [
        ["[CLS]", "[UNK]", "a", "good", "film", "[SEP]", "[CLS]", "[UNK]", "yes", ",", "it", "is", "[SEP]"]
    ]
    assert targets == [["yes", ",", "it", "is", "[SEP]"]]


def test_every_response_of_a_conversation_is_a_target_and_nothing_else(tokenizer):
    _, targets = targets_of(tokenizer, {"messages": [TWO_TURNS]})
    assert targets == [["yes", "[SEP]", "the", "end", "[SEP]"]]


def test_of_a_bare_text_every_token_is_a_target_and_an_end_token_follows(tokenizer):
    words, targets = targets_of(tokenizer, {"text": ["a good film", "red"]})
    assert words == targets == [["a", "good", "film", "[SEP]"], ["red", "[SEP]"]]


def test_without_a_template_the_response_follows_the_prompt(plain):
    words, targets = targets_of(plain, {"prompt": ["a good film"], "response": ["yes"]})
    assert words == [["a", "good", "film", "yes", "[SEP]"]]
    assert targets == [["yes", "[SEP]"]]
    with pytest.raises(InputError, match="encode: tokenizer must have a chat template for messages. Got none"):
        targets_of(plain, {"messages": [TWO_TURNS]})


def test_training_sees_the_tokens_from_which_generation_starts(tokenizer):
    messages = messages_of({"prompt": "a good film", "response": "yes"})
    start = tokenizer(start_of(tokenizer, messages[:1]), add_special_tokens=False)["input_ids"]
    ((ids, targets),), _ = encode_rows(
        tokenizer, Dataset.from_dict({"prompt": ["a good film"], "response": ["yes"]}), 64, "finetune"
    )
    assert ids[: len(start)] == start
    assert targets == [False] * len(start) + [True] * (len(ids) - len(start))


def test_rows_that_are_cut_are_counted_and_a_row_without_a_target_is_refused(tokenizer, mentioned):
    rows = {"prompt": ["a good film", "red"], "response": ["yes " * 9, "no"]}
    encoded, cut = encode_rows(tokenizer, Dataset.from_dict(rows), 12, "finetune")
    assert cut == 1
    assert [len(ids) for ids, _ in encoded] == [12, 8]
    assert "1 of 2 rows (50.0%) are cut to 12 tokens" in mentioned()
    with pytest.raises(InputError, match=r"finetune: row 1 must leave room for its response within 8 tokens"):
        encode_rows(tokenizer, Dataset.from_dict(rows), 8, "finetune")


def test_a_content_with_a_special_token_is_refused(tokenizer):
    rows = {"prompt": ["a [SEP] b"], "response": ["c"]}
    with pytest.raises(InputError, match=r"content must hold none of the tokenizer's special tokens. Got '\[SEP\]'"):
        targets_of(tokenizer, rows)


def test_a_tokenizer_without_an_end_token_is_refused(tokenizer):
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.eos_token = None
    with pytest.raises(InputError, match="tokenizer must have an end token, or no response would ever end. Got none"):
        segments(tokenizer, messages_of({"prompt": "a", "response": "b"}))


@pytest.mark.parametrize(
    ("template", "match"),
    [
        ("{% for message in messages %}{{ message['content'] }} {% endfor %}", "end a response with a special token"),
        (
            "{{ messages[-1]['content'] }}[SEP]{% if add_generation_prompt %}x{% endif %}",
            "write a conversation turn by turn",
        ),
        ("{{ raise_exception('no system message') }}", "fit the tokenizer's chat template. Got no system message"),
    ],
)
def test_a_template_that_cannot_be_trained_on_is_refused(tokenizer, template, match):
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.chat_template = template
    with pytest.raises(InputError, match=match):
        segments(tokenizer, TWO_TURNS)
