"""Behavioural checks count what they should, and what a model still knows of meaning is measured with its interval."""

import pytest
import torch

import ftlab
from ftlab.errors import ArgumentError
from ftlab.evaluation.behaviour import KINDS, Answer, check_behaviour, check_similarity

GOOD = ("good", "great", "love", "nice", "wonderful", "excellent", "lovely", "beautiful", "kind", "perfect")


def by_words(texts):
    """A model of ten words."""
    return [0.9 if any(word in text.lower() for word in GOOD) else 0.1 for text in texts]


def answer(expected, before, after):
    return Answer("minimum", "plain", "a", "b", expected, before, after)


@pytest.mark.parametrize(
    ("expected", "before", "after", "passed"),
    [
        ("positive", 0.51, 0.51, True),
        ("positive", 0.49, 0.49, False),
        ("negative", 0.49, 0.49, True),
        ("negative", 0.5, 0.5, False),
        ("same", 0.9, 0.6, True),
        ("same", 0.9, 0.4, False),
        ("up", 0.2, 0.3, True),
        ("up", 0.3, 0.3, False),
        ("down", 0.3, 0.2, True),
        ("down", 0.2, 0.3, False),
    ],
)
def test_what_passes(expected, before, after, passed):
    assert answer(expected, before, after).passed is passed


def test_a_model_of_ten_words_gets_some_right_and_the_shares_are_those_of_the_rows():
    found = check_behaviour(by_words)
    for kind in KINDS:
        of_kind = [one for one in found.answers if one.kind == kind]
        share, low, high = found.share(kind)
        assert share == sum(one.passed for one in of_kind) / len(of_kind)
        assert 0 <= low <= share <= high <= 1
        assert low < high
    assert 0.5 < found.share("minimum", "plain")[0] < 0.9
    assert sum(count for _, _, count, _, _, _ in found.rows()) == len(found.answers)
    assert len(found.failures) == sum(not one.passed for one in found.answers)
    assert abs(found.failures[0].positive - 0.5) >= abs(found.failures[-1].positive - 0.5)
    assert "minimum     plain" in str(found)
    assert "<td>plain</td>" in found._repr_html_()
    assert found.to_dict()["minimum"] == found.share("minimum")[0]


def test_a_model_that_always_says_the_same_gets_half_of_the_minimum():
    found = check_behaviour(lambda texts: [0.1] * len(texts))
    assert found.share("minimum")[0] == pytest.approx(0.5)
    assert found.share("invariance")[0] == 1
    assert found.share("direction")[0] == 0


def test_what_is_no_sentiment_model_is_refused(bert):
    data = ftlab.load_data("reviews", task="topic")
    with pytest.raises(
        ArgumentError, match="check_behaviour: positive must be one of the model's two labels. Got 'positive' of"
    ):
        check_behaviour(ftlab.load_model(bert, data))
    with pytest.raises(ArgumentError, match="check_behaviour: model must be a sentiment model. Got int. Give a run"):
        check_behaviour(3)
    with pytest.raises(ArgumentError, match="kind and capability must be one of: minimum plain"):
        check_behaviour(by_words).share("minimum", "wit")


def test_the_pretrained_model_knows_similarity_and_noise_destroys_it():
    model = ftlab.load_model("minilm", ftlab.load_data("reviews"))
    found = check_similarity(model)
    assert found["spearman"] == pytest.approx(0.519, abs=0.002)
    low, high = found.intervals["spearman"]
    assert low < found["spearman"] < high
    assert found.n == 330
    with torch.no_grad():
        for param in model.net.parameters():
            param += 2 * param.std() * torch.randn(param.shape, generator=torch.Generator().manual_seed(0))
    assert check_similarity(model)["spearman"] < low
