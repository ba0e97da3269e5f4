"""Check columns of texts and labels row by row, and number the labels by one map, made of the training split."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftlab.data.chunks import chunks
from ftlab.data.tables import Table
from ftlab.errors import input_error, note

if TYPE_CHECKING:
    from datasets import Dataset

KINDS = ("classification", "multilabel", "regression")


@dataclass(frozen=True)
class Task:
    """What is to be learned: the kind of label, the labels' names, and whether texts or images carry them."""

    kind: str
    names: tuple[str, ...] = ()
    modality: str = "text"


@dataclass(frozen=True)
class Column:
    """Texts and their labels as read, with the name of the place that they come from."""

    texts: list[Any]
    labels: list[Any]
    index: str

    def part(self, rows: list[int]) -> "Column":
        """Return some of the rows."""
        return Column([self.texts[i] for i in rows], [self.labels[i] for i in rows], self.index)


def pick_columns(table: Table, index: str, text: str | None, label: str | None) -> Column:
    """Return the columns of texts and labels, and refuse a row that lacks either."""

    def pick(what: str, asked: str | None, usual: tuple[str, ...]) -> list[Any]:
        for column in (asked,) if asked else usual:
            if column in table:
                return table[column]
        wanted = repr(asked) if asked else " or ".join(map(repr, usual))
        do = f"Name the column with {what}=; a file without a header line needs one, such as text,label"
        raise input_error("load_data", index, f"have a column {wanted}", f"columns {', '.join(table)}", do)

    texts, labels = pick("text", text, ("text", "sentence")), pick("label", label, ("label",))
    check_texts(texts, index)
    return Column(texts, labels, index)


def check_texts(texts: Iterable[Any], index: str) -> None:
    """Refuse texts that are empty or no text."""
    wrong = {i: one for i, one in enumerate(texts) if not isinstance(one, str) or not one.strip()}
    if wrong:
        got = _first_of(wrong)
        raise input_error("load_data", f"text of {index}", "not be empty", got, "Fill these rows or take them out")


def check_labels(labels: Iterable[Any], index: str, *, none_is_a_label: bool = False) -> None:
    """Refuse rows without a label; where several may hold, an empty cell says that none does."""
    wrong = {i: one for i, one in enumerate(labels) if _absent(one) and not (none_is_a_label and one == "")}
    if wrong:
        got = _first_of(wrong)
        do = "Fill them or take the rows out"
        raise input_error("load_data", f"label of {index}", "be there in every row", got, do)


def check_numbers(labels: Iterable[Any], index: str) -> None:
    """Refuse labels that are no finite number."""
    numbers = ((i, one, _number(one)) for i, one in enumerate(labels))
    wrong = {i: one for i, one, number in numbers if number is None or not math.isfinite(number)}
    if wrong:
        raise input_error("load_data", f"label of {index}", "be a finite number", _first_of(wrong), "Mend these rows")


def check_rows(rows: "Dataset", task: Task, split: str) -> None:
    """Look through a split that has the common form already, without holding all of its rows at once."""
    check_labels(_labels(rows, task), split)
    if task.kind == "regression":
        check_numbers(_labels(rows, task), split)
    if task.modality == "text":
        check_texts((one for chunk in chunks(rows["text"]) for one in chunk), split)
    if split == "train" and task.kind != "multilabel":
        learn_names(Column([], _first_two(_labels(rows, task)), split), "classification", split)


def kind_of(labels: list[Any], name: str) -> str:
    """Read off the labels what kind of task they make."""
    if any(isinstance(one, list) for one in labels):
        return "multilabel"
    if any(isinstance(one, str) and "|" in one for one in labels):
        note("load_data", f"labels of {name} are joined by |, and are read as several labels at once (multilabel).")
        return "multilabel"
    numbers = [_number(one) for one in labels]
    if all(one is not None and math.isfinite(one) for one in numbers) and any(one % 1 for one in numbers if one):
        note("load_data", f"labels of {name} are numbers with decimals: regression. task='classification' undoes it.")
        return "regression"
    return "classification"


def parse_labels(column: Column, kind: str) -> Column:
    """Turn labels into names, lists of names, or numbers; refuse rows without one."""
    labels = column.labels
    check_labels(labels, column.index, none_is_a_label=kind == "multilabel")
    if kind == "regression":
        check_numbers(labels, column.index)
        return Column(column.texts, [_number(one) for one in labels], column.index)
    if kind == "multilabel":
        lists = [one if isinstance(one, list) else str(one).split("|") for one in labels]
        return Column(column.texts, [sorted({_name(label) for label in one} - {""}) for one in lists], column.index)
    names = [_name(one) for one in labels]
    _mention_spelling(labels, names, column.index)
    return Column(column.texts, names, column.index)


def learn_names(train: Column, kind: str, name: str, given: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the labels that the training split knows, in order; refuse one that leaves nothing to learn.

    Where the data come with names of their own, their order stays, and so does a name without a row.
    """
    if kind == "regression":
        if len(set(train.labels)) < 2:
            raise input_error("load_data", f"labels of {name}", "differ", "one value only", "There is nothing to learn")
        return ()
    names = {one for labels in train.labels for one in (labels if kind == "multilabel" else [labels])}
    if len(names) < 2:
        got = f"only {', '.join(map(repr, names)) or 'none'}"
        do = "One class leaves nothing to tell apart; check the label column"
        raise input_error("load_data", f"training labels of {name}", "be of two classes at least", got, do)
    if not names <= set(given):
        return tuple(sorted(names, key=_order))
    unused = [one for one in given if one not in names]
    if unused:
        note("load_data", f"no training row of {name} is labelled {', '.join(unused[:6])}.")
    return given


def build(column: Column, task: Task) -> "Dataset":
    """Make a data set of texts and labels, numbered as the task's names are; refuse a label that is none of them."""
    from datasets import ClassLabel, Dataset, Features, List, Value

    if task.kind == "regression":
        features = Features({"text": Value("string"), "label": Value("float32")})
        return Dataset.from_dict({"text": column.texts, "label": column.labels}, features=features)
    several = task.kind == "multilabel"
    number = {label: index for index, label in enumerate(task.names)}
    lists = column.labels if several else [[label] for label in column.labels]
    unknown = [i for i, one in enumerate(lists) if not set(one) <= number.keys()]
    if unknown:
        got = f"{(set(lists[unknown[0]]) - number.keys()).pop()!r} in {rows_in_words(unknown)}"
        do = f"Known are {', '.join(task.names[:6])}{', ...' if len(task.names) > 6 else ''}"
        raise input_error("load_data", f"labels of {column.index}", "be known from training", got, do)
    ids = [[number[label] for label in one] for one in lists]
    classes = ClassLabel(names=list(task.names))
    features = Features({"text": Value("string"), "label": List(classes) if several else classes})
    return Dataset.from_dict(
        {"text": column.texts, "label": ids if several else [one[0] for one in ids]}, features=features
    )


def rows_in_words(numbers: list[int]) -> str:
    """Name a few rows, counted from 1.

    >>> rows_in_words([0, 4, 6, 9])
    'row 1, 5, 7 (and 1 more)'
    """
    more = f" (and {len(numbers) - 3} more)" if len(numbers) > 3 else ""
    return f"row {', '.join(str(number + 1) for number in numbers[:3])}{more}"


def _labels(rows: "Dataset", task: Task) -> Iterator[Any]:
    """Go through the labels; the class -1 is none."""
    withheld = task.kind == "classification"
    return (None if withheld and one == -1 else one for chunk in chunks(rows["label"]) for one in chunk)


def _first_two(labels: Iterable[Any]) -> list[str]:
    """Return the first two labels that differ, or the only one."""
    found: dict[str, None] = {}
    for one in labels:
        found[str(one)] = None
        if len(found) == 2:
            break
    return list(found)


def _first_of(wrong: dict[int, Any]) -> str:
    return f"{next(iter(wrong.values()))!r} in {rows_in_words(list(wrong))}"


def _absent(label: Any) -> bool:
    nan = isinstance(label, float) and math.isnan(label)
    return label is None or nan or (isinstance(label, str) and not label.strip())


def _number(label: Any) -> float | None:
    try:
        return float(label)
    except (TypeError, ValueError, OverflowError):
        return None


def _name(label: Any) -> str:
    whole = isinstance(label, float) and label.is_integer()
    return str(int(label)) if whole else str(label).strip()


def _order(name: str) -> tuple[float, str]:
    number = _number(name)
    return (number if number is not None and math.isfinite(number) else math.inf, name)


def _mention_spelling(labels: list[Any], names: list[str], index: str) -> None:
    trimmed = sum(name != one for name, one in zip(names, labels, strict=True) if isinstance(one, str))
    if trimmed:
        note("load_data", f"spaces around {trimmed} labels of {index} are left out.")
    folded = Counter(name.casefold() for name in set(names))
    alike = [name for name in sorted(set(names)) if folded[name.casefold()] > 1]
    if alike:
        note("load_data", f"labels of {index} differ in case only, and stay apart: {', '.join(alike)}.")
