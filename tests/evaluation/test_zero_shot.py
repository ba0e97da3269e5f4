"""Classification without an update: label words, calibration and prototypes, and that no parameter changes."""

import hashlib

import numpy as np
import pytest
import torch

import ftlab
from ftlab.errors import ArgumentError
from ftlab.evaluation.inference import embed
from ftlab.evaluation.zero_shot import word_log_probs, zero_shot
from tests.tiny import tiny_gpt2_lm, tiny_llama


@pytest.fixture(scope="module", params=[tiny_llama, tiny_gpt2_lm])
def language_model(request, tmp_path_factory):
    return ftlab.load_model(request.param(tmp_path_factory.mktemp("model")))


def digest(model):
    """Return a hash over all parameters and buffers."""
    state = hashlib.sha256()
    for name, tensor in model.net.state_dict().items():
        state.update(name.encode() + tensor.numpy().tobytes())
    return state.hexdigest()


def by_hand(model, text, word):
    """Return the log probability of a word after a text, token by token, without padding and without a cache."""
    ids = [model.processor(part, add_special_tokens=False)["input_ids"] for part in (text, f" {word}")]
    whole = torch.tensor([ids[0] + ids[1]])
    with torch.no_grad():
        logits = model.net.eval()(whole).logits[0].double().log_softmax(-1)
    return sum(logits[len(ids[0]) + step - 1, token].item() for step, token in enumerate(ids[1]))


@pytest.mark.parametrize("context", ["", "a good film : yes . "])
@pytest.mark.parametrize("words", [["good", "bad"], ["good", "not good at all"]])
def test_a_words_score_is_the_sum_over_its_tokens_with_and_without_a_context(language_model, context, words):
    prompts = ["the film was", "red", "a long and quiet day by the sea , it was"]
    scores = word_log_probs(language_model, context, prompts, words)
    expected = [[by_hand(language_model, context + prompt, word) for word in words] for prompt in prompts]
    np.testing.assert_allclose(scores.numpy(), expected, rtol=1e-4)


def test_calibration_takes_away_what_the_model_prefers_after_texts_that_say_nothing(language_model, small):
    plain = zero_shot(language_model, small, calibrate=False, resamples=0)
    calibrated = zero_shot(language_model, small, resamples=0)
    assert plain["loss"] != calibrated["loss"]
    with torch.no_grad():  # a model that prefers one label whatever the text
        head = language_model.net.get_output_embeddings()
        biased = torch.nn.Linear(head.in_features, head.out_features)
        biased.weight.copy_(head.weight)
        biased.bias.zero_()
        biased.bias[language_model.processor.convert_tokens_to_ids("good")] = 20.0
    twin = language_model.copy()
    twin.net.set_output_embeddings(biased)
    assert zero_shot(twin, small, calibrate=False, resamples=0)["loss"] > 5
    assert zero_shot(twin, small, resamples=0)["loss"] == pytest.approx(calibrated["loss"], rel=1e-3)


@pytest.mark.parametrize("options", [{}, {"calibrate": False}, {"examples": 1}, {"examples": 1, "seed": 3}])
def test_no_parameter_changes(language_model, bert, small, options):
    for model in (language_model, ftlab.load_model(bert, small)):
        before = digest(model)
        metrics = zero_shot(model, small, **options)
        assert digest(model) == before
        assert metrics.n == len(small["test"])
        assert metrics["accuracy_low"] <= metrics["accuracy"] <= metrics["accuracy_high"]


def test_prototypes_are_the_means_of_the_examples(bert, small):
    model = ftlab.load_model(bert, small)
    vectors, labels = embed(model, list(small["train"]["text"])), torch.tensor(small["train"]["label"])
    means = torch.nn.functional.normalize(torch.stack([vectors[labels == label].mean(0) for label in (0, 1)]))
    right = (embed(model, list(small["test"]["text"])) @ means.T).argmax(1) == torch.tensor(small["test"]["label"])
    assert zero_shot(model, small, examples=20, resamples=0)["accuracy"] == right.float().mean().item()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"examples": -1}, "zero_shot: examples must be a whole number of at least 0. Got -1"),
        ({"examples": 21}, "zero_shot: examples must be at most 20, the rarest label's rows. Got 21. Take fewer"),
        ({"prompt": "Review:"}, "zero_shot: prompt must hold {text}. Got 'Review:'"),
        ({"split": "dev"}, "zero_shot: split must be one of train, validation, test. Got 'dev'"),
        ({"words": {"fine": "good"}}, "zero_shot: words must have a text for labels among bad, good"),
        ({"words": {"good": " "}}, "zero_shot: words must have a text for labels among bad, good"),
    ],
)
def test_an_argument_that_cannot_be_used_is_refused(language_model, small, options, match):
    with pytest.raises(ArgumentError, match=match):
        zero_shot(language_model, small, **options)


def test_examples_that_do_not_fit_into_the_model_are_refused(language_model, small):
    match = "zero_shot: prompts must fit into the 64 tokens of the model, with examples and label words. Got one of "
    with pytest.raises(ArgumentError, match=match):
        zero_shot(language_model, small, examples=5)


def test_data_without_one_label_a_row_are_refused(language_model):
    with pytest.raises(ArgumentError, match="zero_shot: data must have texts with one label a row. Got generation"):
        zero_shot(language_model, "extraction")
