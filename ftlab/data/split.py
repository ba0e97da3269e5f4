"""Split one file of examples into train, validation and test, always the same way."""

import random
from collections import Counter, defaultdict
from typing import Any

from ftlab.errors import input_error, note
from ftlab.seeding import derive_seed

SHARES = (("validation", 0.1), ("test", 0.1))
SMALLEST = 10


def normalise_text(text: str) -> str:
    """Return a text as it is compared with others: without case, without runs of white space.

    >>> normalise_text("A  Quiet\\tgem ")
    'a quiet gem'
    """
    return " ".join(text.casefold().split())


def split_rows(texts: list[str], labels: list[Any], name: str, *, by_label: bool = True) -> dict[str, list[int]]:
    """Return the row numbers of each split: 80/10/10, stratified by label, rows of the same text kept together.

    Args:
        texts: One a row.
        labels: One a row: names, lists of names, or numbers.
        name: What the rows came from, for messages.
        by_label: Whether to give each split its share of every label; not for numbers.

    Raises:
        InputError: If there are fewer than ten rows.

    Example:
        >>> parts = split_rows([f"text {i}" for i in range(20)], ["a", "b"] * 10, "here")
        >>> {split: len(rows) for split, rows in parts.items()}
        {'train': 16, 'validation': 2, 'test': 2}
    """
    if len(texts) < SMALLEST:
        do = "Add rows, or give a folder with files train, validation and test of your own"
        raise input_error("load_data", name, f"have at least {SMALLEST} rows to be split", str(len(texts)), do)
    together = defaultdict(list)
    for row, text in enumerate(texts):
        together[normalise_text(text)].append(row)
    again = len(texts) - len(together)
    if again:
        torn = sum(len({str(labels[row]) for row in rows}) > 1 for rows in together.values())
        conflict = f" {torn} of them with different labels." if torn else ""
        note("load_data", f"{again} rows of {name} repeat a text, and go to one split with it.{conflict}")
    strata = defaultdict(list)
    for rows in together.values():
        strata[str(labels[rows[0]]) if by_label else ""].append(rows)
    rare = Counter({label: len(groups) for label, groups in strata.items() if len(groups) < SMALLEST})
    if rare and by_label:
        some = ", ".join(f"{label!r} ({count})" for label, count in sorted(rare.items())[:3])
        note("load_data", f"few rows of {name} for {some}: too few for a share in every split.")
    parts: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    seen, taken = 0, Counter[str]()
    for number, label in enumerate(sorted(strata)):
        groups = strata[label]
        random.Random(derive_seed(number, len(groups))).shuffle(groups)
        seen, start = seen + len(groups), 0
        for split, share in SHARES:  # what a small label leaves over, the next one gives; one text stays in train
            end = min(start + round(share * seen) - taken[split], len(groups) - 1)
            parts[split] += [row for rows in groups[start:end] for row in rows]
            taken[split] += end - start
            start = end
        parts["train"] += [row for rows in groups[start:] for row in rows]
    return {split: sorted(rows) for split, rows in parts.items()}
