"""Check texts and labels row by row, and map labels to class ids, which the training split defines."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftlab.data.chunks import chunks
from ftlab.data.label_values import Column, as_number, check_lists, format_rows, format_wrong, labels_of_columns
from ftlab.data.tables import Table
from ftlab.errors import input_error, note

if TYPE_CHECKING:
    from datasets import Dataset

KINDS = ("classification", "multilabel", "regression", "generation")


@dataclass(frozen=True)
class Task:
    """What a model learns to predict."""

    kind: str
    """One of :data:`KINDS`."""
    names: tuple[str, ...] = ()
    """Label names in the order of their class ids; empty in a regression."""
    modality: str = "text"
    """``"text"`` or ``"image"``."""


@dataclass(frozen=True)
class Examples:
    """Texts with their labels, one entry per row, and the name of their source in messages."""

    texts: list[Any]
    labels: list[Any]
    source: str

    def select(self, rows: list[int]) -> "Examples":
        """Return the examples with these row numbers."""
        return Examples([self.texts[i] for i in rows], [self.labels[i] for i in rows], self.source)


def read_examples(table: Table, source: str, text: str | None, label: Column) -> Examples:
    """Return the texts and labels of a table; raise if a column is missing or a text is empty.

    Args:
        table: Columns by name.
        source: The table's name in messages.
        text: The name of the column with the texts; by default ``text`` or ``sentence``.
        label: The name of the column with the labels; by default ``label``. Several names: columns of 0 and 1.
    """

    def find_column(argument: str, name: str | None, defaults: tuple[str, ...]) -> list[Any]:
        for column in (name,) if name else defaults:
            if column in table:
                return table[column]
        expected = repr(name) if name else " or ".join(map(repr, defaults))
        do = f"Name the column with {argument}=; a file without a header line needs one, such as text,label"
        raise input_error("load_data", source, f"have a column {expected}", f"columns {', '.join(table)}", do)

    texts = find_column("text", text, ("text", "sentence"))
    check_texts(texts, source)
    if label is None or isinstance(label, str):
        return Examples(texts, find_column("label", label, ("label",)), source)
    columns = {name: find_column("label", name, ()) for name in label}
    return Examples(texts, labels_of_columns(columns, source), source)


def check_texts(texts: Iterable[Any], source: str) -> None:
    """Raise if a text is empty or not a string."""
    wrong = {row: text for row, text in enumerate(texts) if not isinstance(text, str) or not text.strip()}
    if wrong:
        got = format_wrong(wrong)
        raise input_error("load_data", f"text of {source}", "not be empty", got, "Fill these rows or take them out")


def check_labels(labels: Iterable[Any], source: str, *, allow_empty: bool = False) -> None:
    """Raise if a row has no label. ``allow_empty`` accepts the empty string, which means "no label holds"."""
    wrong = {row: label for row, label in enumerate(labels) if _is_missing(label) and not (allow_empty and label == "")}
    if wrong:
        got = format_wrong(wrong)
        do = "Fill them or take the rows out"
        raise input_error("load_data", f"label of {source}", "be there in every row", got, do)


def check_numbers(labels: Iterable[Any], source: str) -> None:
    """Raise if a label is not a finite number."""
    numbers = ((row, label, as_number(label)) for row, label in enumerate(labels))
    wrong = {row: label for row, label, number in numbers if number is None or not math.isfinite(number)}
    if wrong:
        got = format_wrong(wrong)
        raise input_error("load_data", f"label of {source}", "be a finite number", got, "Correct these rows")


def check_rows(rows: "Dataset", task: Task, split: str) -> None:
    """Check a split that already has the common form, with one chunk of its rows in memory at a time."""
    check_labels(_labels(rows, task), split)
    if task.kind == "regression":
        check_numbers(_labels(rows, task), split)
    if task.modality == "text":
        check_texts((text for chunk in chunks(rows["text"]) for text in chunk), split)
    if split == "train" and task.kind != "multilabel":
        label_names(Examples([], _first_two(_labels(rows, task)), split), "classification", split)


def infer_kind(labels: list[Any], name: str) -> str:
    """Infer the kind of task from the labels; note it where it is not classification of plain labels."""
    if any(isinstance(label, list) for label in labels):
        return "multilabel"
    if any(isinstance(label, str) and "|" in label for label in labels):
        note("load_data", f"labels of {name} contain |, so the task is multilabel: several labels per row.")
        return "multilabel"
    numbers = [as_number(label) for label in labels]
    finite = all(number is not None and math.isfinite(number) for number in numbers)
    if finite and any(number % 1 for number in numbers if number):
        do = "Pass task='classification' to treat them as classes."
        note("load_data", f"labels of {name} are decimal numbers, so the task is regression. {do}")
        return "regression"
    return "classification"


def parse_labels(examples: Examples, kind: str) -> Examples:
    """Convert raw labels to names, lists of names, or numbers; raise if a row has none."""
    texts, labels, source = examples.texts, examples.labels, examples.source
    check_labels(labels, source, allow_empty=kind == "multilabel")
    if kind == "regression":
        check_numbers(labels, source)
        return Examples(texts, [as_number(label) for label in labels], source)
    check_lists(labels, source)
    if kind == "multilabel":
        lists = [label if isinstance(label, list) else str(label).split("|") for label in labels]
        return Examples(texts, [sorted({_as_name(label) for label in row} - {""}) for row in lists], source)
    names = [_as_name(label) for label in labels]
    _note_spelling(labels, names, source)
    return Examples(texts, names, source)


def label_names(train: Examples, kind: str, name: str, declared: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the label names of the training split in the order of their class ids; none for a regression.

    Args:
        train: The training split, with parsed labels.
        kind: The kind of task.
        name: The name of the data in messages.
        declared: Names that the data declare. If they include every label of the split, they are returned unchanged.

    Raises:
        InputError: If the split has fewer than two different labels.
    """
    if kind == "regression":
        if len(set(train.labels)) < 2:
            raise input_error("load_data", f"labels of {name}", "differ", "one value only", "There is nothing to learn")
        return ()
    names = {label for labels in train.labels for label in (labels if kind == "multilabel" else [labels])}
    if len(names) < 2:
        got = f"only {', '.join(map(repr, names)) or 'none'}"
        do = "With one class there is nothing to learn; check the label column"
        raise input_error("load_data", f"training labels of {name}", "be of two classes at least", got, do)
    if not names <= set(declared):
        return tuple(sorted(names, key=_sort_key))
    unused = [label for label in declared if label not in names]
    if unused:
        note("load_data", f"no training row of {name} is labelled {', '.join(unused[:6])}.")
    return declared


def build_dataset(examples: Examples, task: Task) -> "Dataset":
    """Build a data set with class ids in the order of ``task.names``; raise if a label is not among them."""
    from datasets import ClassLabel, Dataset, Features, List, Value

    if task.kind == "regression":
        features = Features({"text": Value("string"), "label": Value("float32")})
        return Dataset.from_dict({"text": examples.texts, "label": examples.labels}, features=features)
    several = task.kind == "multilabel"
    class_id = {label: index for index, label in enumerate(task.names)}
    lists = examples.labels if several else [[label] for label in examples.labels]
    unknown = [row for row, labels in enumerate(lists) if not set(labels) <= class_id.keys()]
    if unknown:
        got = f"{(set(lists[unknown[0]]) - class_id.keys()).pop()!r} in {format_rows(unknown)}"
        do = f"The known labels are {', '.join(task.names[:6])}{', ...' if len(task.names) > 6 else ''}"
        raise input_error("load_data", f"labels of {examples.source}", "be known from training", got, do)
    ids = [[class_id[label] for label in labels] for labels in lists]
    classes = ClassLabel(names=list(task.names))
    features = Features({"text": Value("string"), "label": List(classes) if several else classes})
    return Dataset.from_dict(
        {"text": examples.texts, "label": ids if several else [row[0] for row in ids]}, features=features
    )


def _labels(rows: "Dataset", task: Task) -> Iterator[Any]:
    """Yield the labels; class id -1 means that the label is withheld, and becomes None."""
    classes = task.kind == "classification"
    return (None if classes and label == -1 else label for chunk in chunks(rows["label"]) for label in chunk)


def _first_two(labels: Iterable[Any]) -> list[str]:
    """Return the first two different labels; one if all are equal."""
    distinct: dict[str, None] = {}
    for label in labels:
        distinct[str(label)] = None
        if len(distinct) == 2:
            break
    return list(distinct)


def _is_missing(label: Any) -> bool:
    nan = isinstance(label, float) and math.isnan(label)
    return label is None or nan or (isinstance(label, str) and not label.strip())


def _as_name(label: Any) -> str:
    whole = isinstance(label, float) and label.is_integer()
    return str(int(label)) if whole else str(label).strip()


def _sort_key(name: str) -> tuple[float, str]:
    number = as_number(name)
    return (number if number is not None and math.isfinite(number) else math.inf, name)


def _note_spelling(labels: list[Any], names: list[str], source: str) -> None:
    trimmed = sum(name != label for name, label in zip(names, labels, strict=True) if isinstance(label, str))
    if trimmed:
        note("load_data", f"spaces around {trimmed} labels of {source} are left out.")
    folded = Counter(name.casefold() for name in set(names))
    alike = [name for name in sorted(set(names)) if folded[name.casefold()] > 1]
    if alike:
        note("load_data", f"labels of {source} differ only in case and are kept apart: {', '.join(alike)}.")
