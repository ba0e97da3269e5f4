"""The data sets written for this project keep their promises: balanced, without near copies, words that mean what they say."""

import json
import re
from collections import Counter

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import cohen_kappa_score

from ftlab.data.load import EMBEDDED, REVIEWS

SPLITS = ("train", "validation", "test")
TOPICS = {"book", "course", "film", "gadget", "hotel", "restaurant"}
PHENOMENA = {"contrast", "irony", "mixed", "negation", "plain", "understatement"}
ROWS = {"reviews": (2000, 400, 800), "tricky_reviews": (1000, 200, 600)}
WORDS = {"reviews": (2, 60), "tricky_reviews": (5, 45)}
POSITIVE = """
    great good love loved excellent wonderful amazing perfect best favourite beautiful delicious helpful friendly brilliant
    fun enjoyed recommend happy lovely nice comfortable easy kind charming funny warm gorgeous fantastic superb clever
    patient fresh generous delightful
"""
NEGATIVE = """
    bad terrible awful boring worst waste disappointing disappointed hate hated poor rude dirty broken slow useless horrible
    dull overpriced annoying cold refund avoid mess cheap ugly rubbish wrong dreadful stale lazy confusing dead tired wooden
    sadly
"""
SENSE = dict.fromkeys(POSITIVE.split(), "positive") | dict.fromkeys(NEGATIVE.split(), "negative")
"""Words of clear sense; the forty most frequent of them are looked at."""
FIRST_TRIES = ["a quiet little gem", "I loved it.", "Terrible food.", "Boring and far too long."]
"""What the README and the demo type into the model."""


def rows_of(name):
    return [json.loads(line) for line in (EMBEDDED / name).read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module", params=REVIEWS)
def named(request):
    return request.param, {split: rows_of(f"{request.param}/{split}.jsonl") for split in SPLITS}


@pytest.fixture(scope="module")
def reviews(named):
    return named[1]


@pytest.fixture(scope="module")
def plain():
    return {split: rows_of(f"reviews/{split}.jsonl") for split in SPLITS}


@pytest.fixture(scope="module")
def pairs():
    return rows_of("pairs.jsonl")


@pytest.fixture(scope="module")
def behaviour():
    return rows_of("behaviour.jsonl")


def texts_of(reviews):
    """Return all texts in lower case, with one space between words, and the split of each."""
    texts = [" ".join(row["text"].lower().split()) for rows in reviews.values() for row in rows]
    return texts, np.repeat(SPLITS, [len(rows) for rows in reviews.values()])


def nearness(one, other, analyzer="char"):
    """Return which texts of two lists share trigrams, and their Jaccard index."""
    count = CountVectorizer(analyzer=analyzer, ngram_range=(3, 3), binary=True, lowercase=False, dtype=np.int32)
    has = count.fit_transform([*one, *other])
    first, second = has[: len(one)], has[len(one) :]
    shared = (first @ second.T).tocoo()
    sizes = [np.asarray(part.sum(axis=1)).ravel() for part in (first, second)]
    union = sizes[0][shared.row] + sizes[1][shared.col] - shared.data
    return shared.row, shared.col, shared.data / union


def test_there_are_enough_reviews(named):
    name, reviews = named
    assert all(len(rows) >= least for rows, least in zip(reviews.values(), ROWS[name], strict=True))
    if name == "reviews":
        assert sum(map(len, reviews.values())) >= 3200


@pytest.mark.parametrize("split", SPLITS)
def test_each_split_is_balanced_and_complete(reviews, split):
    rows = reviews[split]
    cells = Counter((row["sentiment"], row["topic"]) for row in rows)
    assert {sentiment for sentiment, _ in cells} == {"positive", "negative"}
    assert {topic for _, topic in cells} == TOPICS
    assert len(set(cells.values())) == 1
    assert {row["phenomenon"] for row in rows} == PHENOMENA


def test_reviews_have_the_promised_lengths_and_no_stray_space(named):
    name, reviews = named
    least, most = WORDS[name]
    lengths = [len(row["text"].split()) for rows in reviews.values() for row in rows]
    assert least <= min(lengths)
    assert max(lengths) <= most
    assert all(row["text"] == row["text"].strip() for rows in reviews.values() for row in rows)


@pytest.mark.parametrize("analyzer", ["char", "word"])
def test_no_review_is_nearly_another(reviews, analyzer):
    texts, split = texts_of(reviews)
    row, column, jaccard = nearness(texts, texts, analyzer)
    one, other, jaccard = row[row < column], column[row < column], jaccard[row < column]
    worst = jaccard.argmax()
    assert jaccard[worst] <= 0.5, (texts[one[worst]], texts[other[worst]])
    assert jaccard[split[one] != split[other]].max() <= 0.35


def test_no_phrase_of_four_words_is_in_more_than_six_reviews(reviews):
    texts = [row["text"] for rows in reviews.values() for row in rows]
    count = CountVectorizer(ngram_range=(4, 4), binary=True, token_pattern=r"[\w']+")
    times = np.asarray(count.fit_transform(texts).sum(axis=0)).ravel()
    phrases = count.get_feature_names_out()
    assert times.max() <= 8, phrases[times > 8]


def test_most_reviews_say_plainly_what_they_think_and_some_do_not(plain):
    shares = Counter(row["phenomenon"] for rows in plain.values() for row in rows)
    total = shares.total()
    assert 0.6 <= shares["plain"] / total <= 0.8
    assert all(shares[one] / total >= 0.02 for one in PHENOMENA)


def test_there_are_short_plain_sentences_and_people_who_type_in_lower_case(plain):
    texts = [row["text"] for rows in plain.values() for row in rows]
    assert sum(len(text.split()) <= 5 for text in texts) / len(texts) >= 0.1
    assert sum(text[0].islower() for text in texts) / len(texts) >= 0.07
    assert sum("!" in text for text in texts) / len(texts) >= 0.04
    assert sum(any(ord(one) >= 0x2600 for one in text) for text in texts) >= 20, "an emoji now and then"


def test_ordinary_words_of_feeling_stand_in_texts_of_their_own_sense(plain):
    """Of the forty most frequent words of clear sense, each in at least two of three cases."""
    has: dict[str, Counter[str]] = {word: Counter() for word in SENSE}
    for row in (row for rows in plain.values() for row in rows):
        for word in set(re.findall(r"[a-z']+", row["text"].lower())) & set(SENSE):
            has[word][row["sentiment"]] += 1
    frequent = sorted(has, key=lambda word: -has[word].total())[:40]
    shares = {word: has[word][SENSE[word]] / has[word].total() for word in frequent}
    assert has[frequent[-1]].total() >= 20
    assert {SENSE[word] for word in frequent} == {"positive", "negative"}
    assert {word: share for word, share in shares.items() if share < 2 / 3} == {}


def test_in_the_contrast_set_a_bag_of_words_does_not_solve_the_sentiment():
    count = CountVectorizer()
    rows = {split: rows_of(f"tricky_reviews/{split}.jsonl") for split in ("train", "test")}
    train, test = ([row["sentiment"] for row in rows[split]] for split in ("train", "test"))
    words = count.fit_transform(row["text"] for row in rows["train"])
    model = LogisticRegression(max_iter=1000).fit(words, train)
    assert model.score(count.transform(row["text"] for row in rows["test"]), test) <= 0.78


@pytest.mark.parametrize("name", REVIEWS)
def test_a_second_reader_agrees_on_240_reviews(name):
    readme = (EMBEDDED / "README.md").read_text(encoding="utf-8")
    first = {row["text"]: row for split in SPLITS for row in rows_of(f"{name}/{split}.jsonl")}
    second = rows_of(f"{name}/second_reader.jsonl")
    assert len(second) == 240
    section = readme.partition(f"**`{name}/`**")[2].partition("**`")[0]
    for label in ("sentiment", "topic", "phenomenon"):
        kappa = cohen_kappa_score([first[row["text"]][label] for row in second], [row[label] for row in second])
        assert f"{label} {kappa:.3f}" in " ".join(section.split())


def test_the_behavioural_checks_are_enough_balanced_and_well_formed(behaviour):
    texts = [text for row in behaviour for text in (row["text"], row["changed"]) if text]
    assert len(set(texts)) >= 200
    kinds = Counter(row["kind"] for row in behaviour)
    assert set(kinds) == {"minimum", "invariance", "direction"}
    assert kinds["minimum"] >= 150
    for kind, one, other in (("minimum", "positive", "negative"), ("direction", "up", "down")):
        expected = Counter(row["expected"] for row in behaviour if row["kind"] == kind)
        assert set(expected) == {one, other}
        assert expected[one] == expected[other]
    for row in behaviour:
        assert (row["kind"] == "minimum") == (row["changed"] == "")
        assert (row["kind"] == "invariance") == (row["expected"] == "same")
        assert row["text"] != row["changed"]


@pytest.mark.parametrize("name", REVIEWS)
def test_no_behavioural_check_and_no_first_try_is_near_a_training_text(behaviour, name):
    checks = {" ".join(text.lower().split()) for row in behaviour for text in (row["text"], row["changed"]) if text}
    checks |= {text.lower() for text in FIRST_TRIES}
    train = [" ".join(row["text"].lower().split()) for row in rows_of(f"{name}/train.jsonl")]
    ordered = sorted(checks)
    row, column, jaccard = nearness(ordered, train)
    worst = jaccard.argmax()
    assert jaccard[worst] <= 0.5, (ordered[row[worst]], train[column[worst]])


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


REASONS = {
    "hotel": {"noise", "staff", "cleanliness", "location", "bed", "price"},
    "restaurant": {"food", "service", "wait", "portion", "noise", "price"},
    "gadget": {"battery", "screen", "setup", "sound", "size", "price"},
    "film": {"plot", "acting", "music", "length", "ending", "pictures"},
    "book": {"style", "characters", "ending", "length", "translation", "price"},
    "course": {"teacher", "pace", "exercises", "examples", "materials", "price"},
}
SHARES = {"train": 6, "validation": 1, "test": 3}
"""How many of the ten texts with the same line each split of ``extraction`` has."""


def test_the_lines_of_extraction_are_balanced_and_of_closed_lists():
    for split, count in SHARES.items():
        lines = Counter(row["response"] for row in rows_of(f"extraction/{split}.jsonl"))
        expected = {
            f"topic={topic}; sentiment={sentiment}; reason={reason}"
            for topic, reasons in REASONS.items()
            for sentiment in ("negative", "positive")
            for reason in reasons
        }
        assert lines == dict.fromkeys(expected, count)


@pytest.mark.parametrize(("name", "words"), [("extraction", (8, 41)), ("instructions", (4, 20))])
def test_no_prompt_stands_twice_or_near_another_split(name, words):
    prompts = {split: [row["prompt"] for row in rows_of(f"{name}/{split}.jsonl")] for split in SPLITS}
    everything = [" ".join(prompt.lower().split()) for part in prompts.values() for prompt in part]
    assert len(set(everything)) == len(everything)
    lengths = [len(prompt.split()) for prompt in everything]
    assert words[0] <= min(lengths)
    assert max(lengths) <= words[1]
    test = sorted({" ".join(prompt.lower().split()) for prompt in prompts["test"]})
    train = [" ".join(prompt.lower().split()) for prompt in prompts["train"]]
    jaccard = nearness(test, train)[2]
    assert not len(jaccard) or jaccard.max() <= 0.7


def test_every_instruction_is_answered_in_one_manner():
    rows = [row for split in SPLITS for row in rows_of(f"instructions/{split}.jsonl")]
    assert len(rows) == 440
    for row in rows:
        assert row["response"].startswith("Well now, ")
        assert len(re.findall(r"[.!?](?= |$)", row["response"])) == 2, row["response"]
        assert 18 <= len(row["response"].split()) <= 45
    seconds = [re.split(r"(?<=[.!?]) ", row["response"])[1] for row in rows]
    assert len(set(seconds)) == len(seconds)
