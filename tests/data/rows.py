"""Rows, texts and files for the tests of the data."""

import random

import numpy as np
from datasets import ClassLabel, Dataset, Features, Value

from tests.tiny import WORDS

ROWS = [(f"a {word} film number {i}", label) for i in range(10) for word, label in (("good", "yes"), ("bad", "no"))]


def random_texts(count, seed=0):
    """Return texts of 1 to 40 words, some of them unknown to the tiny tokenizers; the same for the same seed."""
    chance = random.Random(seed)
    words = [*WORDS, "Straße", "naïve", "🙂", "[SEP]", "unheard-of"]
    return [" ".join(chance.choices(words, k=chance.randint(1, 40))) for _ in range(count)]


TEXTS = random_texts(300)


def csv(rows=ROWS, header="text,label"):
    """Return rows as the text of a CSV file."""
    return "\n".join([header, *(f"{text},{label}" for text, label in rows)]) + "\n"


def rows_of(data):
    """Return every row as (text, label's name), from all splits."""
    names = data["train"].features["label"].names
    return [(row["text"], names[row["label"]]) for split in data.values() for row in split]


def names_of(data):
    """Return the names of the labels."""
    return data["train"].features["label"].names


def two_labels(texts):
    """Return texts as rows, labelled no and yes in turn."""
    features = Features({"text": Value("string"), "label": ClassLabel(names=["no", "yes"])})
    return Dataset.from_dict({"text": texts, "label": [i % 2 for i in range(len(texts))]}, features=features)


def lists(tokens):
    """Return the ids of each row as a list."""
    return [row.tolist() for row in tokens]


def on_disk(array):
    """Return whether an array is mapped from a file."""
    while array is not None and not isinstance(array, np.memmap):
        array = array.base
    return array is not None
