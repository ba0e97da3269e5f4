"""The data sets written for this project keep their promises: balanced, without near copies, not solved by words."""

import json
from collections import Counter

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from ftlab.data import EMBEDDED

SPLITS = ("train", "validation", "test")
TOPICS = {"book", "course", "film", "gadget", "hotel", "restaurant"}
PHENOMENA = {"contrast", "irony", "mixed", "negation", "plain", "understatement"}


def rows_of(name):
    return [json.loads(line) for line in (EMBEDDED / name).read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def reviews():
    return {split: rows_of(f"reviews/{split}.jsonl") for split in SPLITS}


@pytest.fixture(scope="module")
def pairs():
    return rows_of("pairs.jsonl")


def test_there_are_enough_reviews(reviews):
    counts = {split: len(rows) for split, rows in reviews.items()}
    assert sum(counts.values()) >= 1800
    assert counts["train"] >= 1000
    assert counts["validation"] >= 200
    assert counts["test"] >= 600


@pytest.mark.parametrize("split", SPLITS)
def test_each_split_is_balanced_and_complete(reviews, split):
    rows = reviews[split]
    sentiments = Counter(row["sentiment"] for row in rows)
    assert sentiments["positive"] == sentiments["negative"] == len(rows) / 2
    topics = Counter(row["topic"] for row in rows)
    assert set(topics) == TOPICS
    assert max(topics.values()) == min(topics.values())
    assert {row["phenomenon"] for row in rows} == PHENOMENA


def test_reviews_have_5_to_45_words_and_no_stray_space(reviews):
    for row in (row for rows in reviews.values() for row in rows):
        assert 5 <= len(row["text"].split()) <= 45, row["text"]
        assert row["text"] == row["text"].strip(), row["text"]


@pytest.mark.parametrize("analyzer", ["char", "word"])
def test_no_review_is_nearly_another(reviews, analyzer):
    texts = [" ".join(row["text"].lower().split()) for rows in reviews.values() for row in rows]
    split = np.repeat(SPLITS, [len(rows) for rows in reviews.values()])
    count = CountVectorizer(analyzer=analyzer, ngram_range=(3, 3), binary=True, lowercase=False, dtype=np.int32)
    has = count.fit_transform(texts)
    shared = (has @ has.T).tocoo()
    later = shared.row < shared.col
    one, other, both = shared.row[later], shared.col[later], shared.data[later]
    size = np.asarray(has.sum(axis=1)).ravel()
    jaccard = both / (size[one] + size[other] - both)
    worst = jaccard.argmax()
    assert jaccard[worst] <= 0.5, (texts[one[worst]], texts[other[worst]])
    assert jaccard[split[one] != split[other]].max() <= 0.35


def test_no_phrase_of_four_words_is_in_more_than_six_reviews(reviews):
    texts = [row["text"] for rows in reviews.values() for row in rows]
    count = CountVectorizer(ngram_range=(4, 4), binary=True, token_pattern=r"[\w']+")
    times = np.asarray(count.fit_transform(texts).sum(axis=0)).ravel()
    phrases = count.get_feature_names_out()
    assert times.max() <= 6, phrases[times > 6]


def test_a_bag_of_words_does_not_solve_the_sentiment(reviews):
    count = CountVectorizer()
    train, test = ([row["sentiment"] for row in reviews[split]] for split in ("train", "test"))
    words = count.fit_transform(row["text"] for row in reviews["train"])
    model = LogisticRegression(max_iter=1000).fit(words, train)
    assert model.score(count.transform(row["text"] for row in reviews["test"]), test) <= 0.78


def test_pairs_carry_the_mean_of_two_grades_that_agree(pairs):
    assert len(pairs) >= 300
    first, second = ([row[grade] for row in pairs] for grade in ("grade_1", "grade_2"))
    similarity = [row["similarity"] for row in pairs]
    assert similarity == pytest.approx([(a + b) / 2 for a, b in zip(first, second, strict=True)])
    assert min(similarity) == 0
    assert max(similarity) == 5
    assert spearmanr(first, second).statistic >= 0.8


def test_no_sentence_of_the_pairs_stands_twice(pairs):
    times = Counter(" ".join(row[side].lower().split()) for row in pairs for side in ("first", "second"))
    assert max(times.values()) == 1, times.most_common(3)
