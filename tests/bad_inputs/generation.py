"""Rows, models and prompts for generation that are refused."""

import pytest
from datasets import Dataset, DatasetDict
from transformers import AutoTokenizer

import ftlab
from ftlab import ArgumentError, InputError
from ftlab.evaluation.generation import evaluate_generation
from tests.bad_inputs.bench import BAD, bad, bad_file, json_lines
from tests.tiny import tiny_bert, tiny_gpt2_lm, tiny_llama

GOOD = [{"prompt": "a good film", "response": "good"}, {"prompt": "a bad film", "response": "bad"}] * 6
TURNS = [{"role": "user", "content": "a good film"}, {"role": "assistant", "content": "good"}]


def rows(*changed, splits=("train", "test")):
    """Return data for generation, with some rows in place of the first ones."""
    return DatasetDict({split: Dataset.from_list([*changed, *GOOD[len(changed) :]]) for split in splits})


def conversations(*messages):
    """Return the lines of a file with messages."""
    return json_lines(*({"messages": list(one)} for one in (messages, *[TURNS] * 11)))


def said(role, content="good"):
    return {"role": role, "content": content}


def llama(bench, change=None):
    """Return a folder with a tiny Llama, its tokenizer changed."""
    folder = tiny_llama(bench.folder / "llama")
    if change:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        change(tokenizer)
        tokenizer.save_pretrained(folder)
        if tokenizer.chat_template is None:
            (folder / "chat_template.jinja").unlink(missing_ok=True)
    return folder


def tune(folder, data, **arguments):
    ftlab.finetune(ftlab.load_model(folder, data), data, epochs=1, progress=False, **arguments)


# Rows

EMPTY = json_lines({"prompt": "a", "response": ""}, *GOOD)
bad_file("empty response", "a.jsonl", EMPTY, "response of a.jsonl must be a text that is not empty. Got '' in row 1")
bad_file("blank prompt", "a.csv", "prompt,response\na,b\n \t,b\n", "prompt of a.csv must be a text that is not empty")
bad_file(
    "number as response", "a.jsonl", json_lines({"prompt": "a", "response": 3}, *GOOD), "not empty. Got 3 in row 1"
)
bad_file("null response", "a.jsonl", json_lines(GOOD[0], {"prompt": "a", "response": None}), "Got None in row 2")
bad_file(
    "no response column",
    "a.jsonl",
    json_lines(*({"prompt": "a", "answer": "b"} for _ in range(12))),
    "must have the columns prompt and response, or messages, or text. Got columns prompt, answer",
    task="generation",
)
bad_file(
    "label column named",
    "a.csv",
    "text,label\n" + "a,b\n" * 12,
    "label= are not used here",
    task="generation",
    label="label",
)
bad_file("no messages", "a.jsonl", conversations(), "messages of a.jsonl must be a list of messages")
bad_file("messages as text", "a.jsonl", json_lines({"messages": "hello"}), "each with role and content. Got 'hello'")
bad_file("message without role", "a.jsonl", conversations({"content": "a"}), "Got {'content': 'a'} in row 1")
bad_file("unknown role", "a.jsonl", conversations(said("human"), TURNS[1]), "have roles among system, user, assistant")
bad_file(
    "empty message", "a.jsonl", conversations(said("user", " "), TURNS[1]), "contents that are texts and not empty"
)
bad_file("roles swapped", "a.jsonl", conversations(*TURNS[::-1]), "end with assistant. Got assistant, user")
bad_file("two users", "a.jsonl", conversations(TURNS[0], *TURNS), "Got user, user, assistant")
bad_file("no last answer", "a.jsonl", conversations(*TURNS, TURNS[0]), "Got user, assistant, user")
bad_file("only a system message", "a.jsonl", conversations(said("system")), "end with assistant. Got system")
bad_file("late system message", "a.jsonl", conversations(*TURNS, said("system"), *TURNS), "Got user, assistant, system")


@bad(InputError, "must have the columns prompt and response in every split. Got response in all of them")
def _a_split_without_prompts(bench):
    bench.file("set/train.jsonl", json_lines(*GOOD))
    bench.file("set/test.jsonl", json_lines(*({"response": "b"} for _ in range(3))))
    ftlab.load_data(bench.folder / "set")


@bad(InputError, "response of train must be a text that is not empty. Got '' in row 1")
def _an_empty_response_in_memory(bench):
    tune(llama(bench), rows({"prompt": "a", "response": ""}))


@bad(InputError, "content must hold none of the tokenizer's special tokens. Got '[SEP]'")
def _an_end_token_in_a_response(bench):
    tune(llama(bench), rows({"prompt": "a", "response": "good [SEP] bad"}))


@bad(InputError, "row 1 must leave room for its response within 16 tokens")
def _a_prompt_as_long_as_max_length(bench):
    tune(llama(bench), rows({"prompt": "good film " * 20, "response": "good"}), max_length=16)


# Models


@bad(InputError, "model must be a causal language model for generation")
def _an_encoder_for_generation(bench):
    ftlab.load_model(tiny_bert(bench.folder / "plain"), rows())


@bad(InputError, "tokenizer must have an end token, or no response would ever end. Got none")
def _a_tokenizer_without_end_token(bench):
    tune(llama(bench, lambda tokenizer: setattr(tokenizer, "eos_token", None)), rows())


@bad(InputError, "tokenizer must have a chat template for messages. Got none")
def _messages_without_a_template(bench):
    data = DatasetDict({"train": Dataset.from_list([{"messages": [*TURNS, *TURNS]}] * 12)})
    tune(tiny_gpt2_lm(bench.folder / "gpt2"), data)


@bad(InputError, "chat template must write a conversation turn by turn")
def _a_template_that_turns_the_messages_round(bench):
    turned = "{% for one in messages | reverse %}{{ one['content'] }}[SEP]{% endfor %}"
    tune(llama(bench, lambda tokenizer: setattr(tokenizer, "chat_template", turned)), rows())


@bad(InputError, "chat template must end a response with a special token")
def _a_template_that_never_ends_a_turn(bench):
    endless = "{% for one in messages %}{{ one['content'] }} {% endfor %}"
    tune(llama(bench, lambda tokenizer: setattr(tokenizer, "chat_template", endless)), rows())


@bad(InputError, "messages must fit the tokenizer's chat template. Got no system, please")
def _a_template_that_knows_no_system_message(bench):
    strict = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system, please') }}{% endif %}"
        "{% for one in messages %}{{ one['content'] }}[SEP]{% endfor %}"
    )
    data = DatasetDict({"train": Dataset.from_list([{"messages": [said("system"), *TURNS]}] * 12)})
    tune(llama(bench, lambda tokenizer: setattr(tokenizer, "chat_template", strict)), data)


@bad(ArgumentError, "model must be made for Task(kind='generation'")
def _a_classifier_for_generation(bench):
    ftlab.finetune(bench.model, rows())


@bad(ArgumentError, "BitFit: model must have biases or a head. Got none in LlamaForCausalLM")
def _a_rule_for_biases_on_a_llama(bench):
    tune(llama(bench), rows(), recipe=[ftlab.BitFit()])


@bad(ArgumentError, "HeadFirst: model must have a head")
def _a_rule_for_the_head_on_a_llama(bench):
    tune(llama(bench), rows(), recipe=[ftlab.HeadFirst(0.5)])


# Use


def bad_use(name, message, **arguments):
    """Register arguments of ``predict`` that must be refused for a language model."""

    def act(bench):
        model = ftlab.load_model(llama(bench), rows())
        ftlab.predict(model, **{"inputs": ["a good film"], **arguments})

    BAD.append(pytest.param(ArgumentError, message, act, id=name))


bad_use("empty prompt", "prompt 2 must be a text that is not empty. Got ''", inputs=["a", ""])
bad_use("number as prompt", "prompt 1 must be a text that is not empty. Got 3", inputs=[3])
bad_use("prompt that ends with an answer", "prompt 1 must be a text that is not empty", inputs=[TURNS])
bad_use("prompt as long as the model", "fewer than the model's limit of 64. Got", inputs=["good " * 80])
bad_use("no new tokens", "max_new_tokens must be a whole number of at least 1. Got 0", max_new_tokens=0)
bad_use("negative temperature", "temperature must be a number at least 0. Got -1", temperature=-1)
bad_use("infinite temperature", "temperature must be a number at least 0. Got inf", temperature=float("inf"))


@bad(ArgumentError, "exact_match must be False unless the task is generation. Got True")
def _exact_match_of_a_classifier(bench):
    ftlab.evaluate(bench.model, ftlab.load_data(bench.data)["test"], exact_match=True)


@bad(ArgumentError, "rows must have the columns prompt and response, or messages. Got text")
def _exact_match_of_bare_texts(bench):
    model = ftlab.load_model(llama(bench), rows())
    evaluate_generation(model, Dataset.from_dict({"text": ["a good film"]}), exact_match=True)


@bad(ArgumentError, "prompt must hold {text}. Got 'Label:'")
def _a_zero_shot_prompt_without_the_text(bench):
    ftlab.zero_shot(ftlab.load_model(llama(bench)), ftlab.load_data(bench.data), prompt="Label:")


@bad(ArgumentError, "words must have a text for labels among no, yes")
def _zero_shot_words_for_another_label(bench):
    ftlab.zero_shot(bench.model, ftlab.load_data(bench.data), words={"maybe": "perhaps"})


@bad(ArgumentError, "examples must be at most 6")
def _more_examples_than_rows(bench):
    ftlab.zero_shot(bench.model, ftlab.load_data(bench.data), examples=7)


@bad(ArgumentError, "data must have texts with one label a row. Got generation")
def _zero_shot_on_prompts(bench):
    ftlab.zero_shot(bench.model, rows())
