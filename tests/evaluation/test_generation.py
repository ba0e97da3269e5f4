"""Generation: greedy as transformers, the same alone and in a batch; metrics over tokens with intervals over rows."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from datasets import Dataset, concatenate_datasets
from transformers import pipeline

import ftlab
from ftlab.data.batches import encode
from ftlab.engines.fast.parity import parity_of
from ftlab.errors import ArgumentError
from ftlab.evaluation.generation import generate, language_metrics, token_sums
from ftlab.parameters import eval_mode
from tests.tiny import small_conversations, tiny_gpt2_lm, tiny_llama

PROMPTS = ["a good film", "red", "the old house by the sea was quiet all summer", "why not go"]


@pytest.fixture(scope="module")
def data():
    return small_conversations()


@pytest.fixture(scope="module", params=[tiny_llama, tiny_gpt2_lm])
def run(request, tmp_path_factory, data):
    model = ftlab.load_model(request.param(tmp_path_factory.mktemp("model")), data)
    return ftlab.finetune(model, data, epochs=20, lr=3e-3, batch_size=8, max_length=48, progress=False)


def test_it_learns_and_the_metrics_say_so(run):
    assert run.history[-1]["loss"] < run.history[0]["loss"] / 2
    assert run.metrics["token_accuracy"] > 0.5
    assert run.metrics["perplexity"] == pytest.approx(math.exp(run.metrics["loss"]))
    assert run.metrics["loss_low"] <= run.metrics["loss"] <= run.metrics["loss_high"]
    assert [row[0] for row in run.metrics.rows()] == ["loss per token", "perplexity", "token accuracy"]
    assert len(run.evaluations) == 20


def test_the_sums_are_those_of_transformers_row_by_row(run, data):
    encoded = encode(run.model, data["test"], 48)
    sums = token_sums(run.model, encoded)
    for row in range(len(encoded)):
        batch = encoded.batch([row])
        with torch.no_grad(), eval_mode(run.model.net):
            mean = run.model.net(**batch).loss
        assert sums[row, 0] / sums[row, 1] == pytest.approx(mean.item(), rel=1e-4)
    assert language_metrics(sums, resamples=0)["loss"] == pytest.approx(sums[:, 0].sum() / sums[:, 1].sum())


def test_the_fast_engine_measures_what_the_reference_does(run, data):
    rows = concatenate_datasets([data["test"], data["validation"]])  # enough rows for the fast engine
    fast, reference = (ftlab.evaluate(run.model, rows, engine=engine, resamples=0) for engine in ("auto", "reference"))
    assert parity_of(run.model.net).same
    assert fast["loss"] == pytest.approx(reference["loss"], abs=1e-5)
    assert fast["token_accuracy"] == reference["token_accuracy"]


def test_a_response_is_the_same_alone_and_in_a_batch_and_in_any_order(run):
    together = generate(run.model, PROMPTS * 5, max_new_tokens=8)
    assert together == generate(run.model, PROMPTS, max_new_tokens=8) * 5
    assert [generate(run.model, [prompt], max_new_tokens=8)[0] for prompt in PROMPTS] == together[:4]
    assert generate(run.model, PROMPTS[::-1], max_new_tokens=8) == together[:4][::-1]


def test_a_draw_depends_on_the_seed_alone(run):
    drawn = generate(run.model, PROMPTS, max_new_tokens=8, temperature=2.0, seed=1)
    assert drawn == generate(run.model, PROMPTS, max_new_tokens=8, temperature=2.0, seed=1)
    assert drawn != generate(run.model, PROMPTS, max_new_tokens=8, temperature=2.0, seed=2)


def test_exact_match_is_the_share_of_responses_that_are_right(run, data):
    metrics = run.evaluate("test")
    found = ftlab.evaluate(run.model, data["test"], max_length=48, exact_match=True, resamples=20)
    responses = [answer["response"] for answer in run.predict(data["test"]["prompt"])]
    right = [response == truth for response, truth in zip(responses, data["test"]["response"], strict=True)]
    assert found["exact_match"] == np.mean(right)
    assert found["loss"] == metrics["loss"]


def test_intervals_are_over_rows():
    sums = np.array([[10.0, 10, 5], [2.0, 1, 0], [0.5, 5, 5]])
    metrics = language_metrics(sums, matches=[True, False, True], resamples=200)
    assert metrics["loss"] == pytest.approx(12.5 / 16)
    assert metrics["token_accuracy"] == 10 / 16
    assert metrics["exact_match"] == pytest.approx(2 / 3)
    assert metrics.n == 3
    assert metrics["exact_match_low"] < metrics["exact_match"] < metrics["exact_match_high"]


def test_the_saved_folder_answers_in_a_pipeline(run, tmp_path):
    run.save(tmp_path / "model")
    answers = pipeline("text-generation", str(tmp_path / "model"))
    greedy = {"max_new_tokens": 8, "do_sample": False, "return_full_text": False}
    for prompt in PROMPTS:
        given = [{"role": "user", "content": prompt}] if run.model.processor.chat_template else prompt
        assert (
            answers(given, **greedy)[0]["generated_text"].strip() == generate(run.model, [prompt], max_new_tokens=8)[0]
        )
    again = ftlab.load_model(tmp_path / "model")
    assert generate(again, PROMPTS, max_new_tokens=8) == generate(run.model, PROMPTS, max_new_tokens=8)


def test_a_process_that_never_imports_ftlab_writes_the_same_text(run, tmp_path):
    run.save(tmp_path / "model")
    asked = [
        [{"role": "user", "content": prompt}] if run.model.processor.chat_template else prompt for prompt in PROMPTS
    ]
    code = f"""
import json, sys
from transformers import pipeline
writer = pipeline("text-generation", {str(tmp_path / "model")!r})
options = dict(max_new_tokens=8, do_sample=False, return_full_text=False)
print(json.dumps([writer(one, **options)[0]["generated_text"].strip() for one in json.loads(sys.argv[1])]))
assert not any(name.startswith("ftlab") for name in sys.modules)
"""
    command = [sys.executable, "-c", code, json.dumps(asked)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert json.loads(ended.stdout.splitlines()[-1]) == generate(run.model, PROMPTS, max_new_tokens=8)


@pytest.mark.parametrize(
    ("prompt", "options", "match"),
    [
        ("", {}, "prompt 1 must be a text that is not empty. Got ''"),
        (3, {}, "prompt 1 must be a text that is not empty. Got 3"),
        ([], {}, r"prompt 1 must be a text that is not empty. Got \[\]"),
        ([{"role": "assistant", "content": "a"}], {}, "prompt 1 must be a text"),
        ("a " * 70, {}, "prompt 1 must have at least one token and fewer than the model's limit of 64. Got 7"),
        ("a [SEP] b", {}, "content must hold none of the tokenizer's special tokens"),
        ("a", {"max_new_tokens": 0}, "max_new_tokens must be a whole number of at least 1. Got 0"),
        ("a", {"temperature": -1}, "temperature must be a number at least 0. Got -1"),
    ],
)
def test_a_prompt_or_an_option_that_cannot_be_used_is_refused(run, prompt, options, match):
    with pytest.raises(ftlab.InputError, match=match):
        generate(run.model, [prompt], **options)


def test_rows_without_a_response_are_refused(run):
    with pytest.raises(
        ArgumentError, match="evaluate: rows must have the columns prompt and response, or messages, or text"
    ):
        ftlab.evaluate(run.model, Dataset.from_dict({"prompt": ["a"]}))
    with pytest.raises(
        ArgumentError, match="evaluate: rows must have the columns prompt and response, or messages. Got text"
    ):
        ftlab.evaluate(run.model, Dataset.from_dict({"text": ["a"]}), exact_match=True)
