"""Split the rows of one file into train, validation and test; the same rows always give the same split."""

import random
from collections import Counter, defaultdict
from typing import Any

from ftlab.errors import input_error, note
from ftlab.seeding import derive_seed

SHARES = (("validation", 0.1), ("test", 0.1))
SMALLEST = 10


def normalise_text(text: str) -> str:
    """Case-fold a text and collapse its white space, so that it can be compared with others.

    >>> normalise_text("A  Quiet\\tgem ")
    'a quiet gem'
    """
    return " ".join(text.casefold().split())


def split_rows(texts: list[str], labels: list[Any], name: str, *, by_label: bool = True) -> dict[str, list[int]]:
    """Return the row numbers of each split: 80/10/10, stratified by label, rows of the same text kept together.

    Args:
        texts: The text of each row.
        labels: The label of each row: a name, a list of names, or a number.
        name: The name of the data in messages.
        by_label: Whether to stratify by label; use False for numbers.

    Raises:
        InputError: If there are fewer than ten rows.

    Example:
        >>> parts = split_rows([f"text {i}" for i in range(20)], ["a", "b"] * 10, "here")
        >>> {split: len(rows) for split, rows in parts.items()}
        {'train': 16, 'validation': 2, 'test': 2}
    """
    if len(texts) < SMALLEST:
        do = "Add rows, or give a folder with your own files train, validation and test"
        raise input_error("load_data", name, f"have at least {SMALLEST} rows to be split", str(len(texts)), do)
    rows_by_text = defaultdict(list)
    for row, text in enumerate(texts):
        rows_by_text[normalise_text(text)].append(row)
    repeated = len(texts) - len(rows_by_text)
    if repeated:
        contradictory = sum(len({str(labels[row]) for row in rows}) > 1 for rows in rows_by_text.values())
        conflict = f" Repeated texts with different labels: {contradictory}." if contradictory else ""
        note("load_data", f"{repeated} rows of {name} repeat a text, and go to the same split.{conflict}")
    strata = defaultdict(list)
    for rows in rows_by_text.values():
        strata[str(labels[rows[0]]) if by_label else ""].append(rows)
    rare = Counter({label: len(groups) for label, groups in strata.items() if len(groups) < SMALLEST})
    if rare and by_label:
        counts = ", ".join(f"{label!r} ({count})" for label, count in sorted(rare.items())[:3])
        note("load_data", f"{name} has too few rows of {counts} to put some in every split.")
    parts: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    seen, taken = 0, Counter[str]()
    for number, label in enumerate(sorted(strata)):
        groups = strata[label]
        random.Random(derive_seed(number, len(groups))).shuffle(groups)
        seen, start = seen + len(groups), 0
        for split, share in SHARES:  # rounding carries over to the next label; each keeps a text in train
            end = min(start + round(share * seen) - taken[split], len(groups) - 1)
            parts[split] += [row for rows in groups[start:end] for row in rows]
            taken[split] += end - start
            start = end
        parts["train"] += [row for rows in groups[start:] for row in rows]
    return {split: sorted(rows) for split, rows in parts.items()}
