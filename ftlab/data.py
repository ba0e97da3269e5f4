"""Prepare data: what comes in becomes a ``datasets.DatasetDict`` with ``text`` (or ``image``) and ``label``."""

import hashlib
import json
import math
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftlab.errors import check_choice, mention, misused, refused
from ftlab.split import normal, split_rows
from ftlab.tables import Table, read_folder, read_table

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

EMBEDDED = Path(__file__).parent / "embedded"
REVIEW_LABELS = ("sentiment", "topic", "phenomenon")
KINDS = ("classification", "multilabel", "regression")


@dataclass(frozen=True)
class Task:
    """What is to be learned: the kind of label, the labels' names, and whether texts or images carry them."""

    kind: str
    names: tuple[str, ...] = ()
    modality: str = "text"


def load_data(
    source: Any, *, text: str | None = None, label: str | None = None, task: str | None = None
) -> "DatasetDict":
    """Load labelled examples and check every row of them.

    ==================  =====================================================================================
    ``source``          what is read
    ==================  =====================================================================================
    ``"reviews"``       the embedded reviews; ``task`` is ``"sentiment"``, ``"topic"`` or ``"phenomenon"``
    ``"digits"``        scikit-learn's handwritten digits, as images
    a file              csv, tsv, json lines, parquet: split 80/10/10, stratified, the same rows each time
    a folder            with files named train, validation (or dev) and test
    a hub id            such as ``"stanfordnlp/sst2"`` or ``"nyu-mll/glue:sst2"``
    a ``DatasetDict``   checked, and brought to the same form
    ==================  =====================================================================================

    Args:
        source: As in the table.
        text: The column with the texts; else ``text`` or ``sentence``.
        label: The column with the labels; else ``label``.
        task: ``"classification"`` (one label a row), ``"multilabel"`` (several, joined by ``|`` in a table) or
            ``"regression"`` (a number). Left out, it is read off the labels, and said where it is not classification.

    Returns:
        Splits ``train`` and, where there are any, ``validation`` and ``test``. Labels are numbered by one map, made
        of the training split.

    Raises:
        Refused: If a file, a row, a label or a split cannot be learned from; the message names the place.

    Example:
        >>> data = load_data("reviews", task="topic")
        >>> data["train"].features["label"].names
        ['book', 'course', 'film', 'gadget', 'hotel', 'restaurant']
    """
    from datasets import DatasetDict

    if isinstance(source, dict):
        return _of_datasets(source, "the data given", text, label, task)
    if not isinstance(source, str | os.PathLike) or not str(source):
        do = "Give an embedded name, a file, a folder, a hub id, or a DatasetDict"
        raise misused("load_data", "source", "be a name, a path or a DatasetDict", repr(source)[:60], do)
    name = str(source)
    if name == "reviews":
        label = label or task or "sentiment"
        check_choice("load_data", "task", label, REVIEW_LABELS)
        return _of_tables(read_folder(EMBEDDED / "reviews"), name, "text", label, "classification")
    if name == "digits":
        return _digits()
    path = Path(name)
    if path.is_dir():
        if (path / "train").is_dir():
            return _of_datasets(_from_hub("imagefolder", data_dir=name), name, text, label, task)
        return _of_tables(read_folder(path), path.name, text, label, task)
    hub = not path.exists() and not path.suffix and name.count("/") <= 1 and not name.startswith((".", "/", "~"))
    if hub:
        found = _from_hub(*name.split(":", 1))
        return _of_datasets(found if isinstance(found, DatasetDict) else {"train": found}, name, text, label, task)
    return _of_tables({"": read_table(path)}, path.name, text, label, task)


def task_of(data: Any) -> Task:
    """Read off a ``DatasetDict`` what is to be learned from it."""
    from datasets import ClassLabel

    if not isinstance(data, dict) or "train" not in data or not hasattr(data["train"], "features"):
        do = "Make it with ftlab.load_data"
        raise misused("finetune", "data", "be a DatasetDict with a train split", type(data).__name__, do)
    features = data["train"].features
    modality = "image" if "image" in features else "text"
    label = features.get("label")
    if label is None or modality not in features:
        do = "Make it with ftlab.load_data"
        raise misused("finetune", "data", "have the columns text (or image) and label", str(list(features)), do)
    if isinstance(label, ClassLabel):
        return Task("classification", tuple(label.names), modality)
    inner = getattr(label, "feature", None)
    if isinstance(inner, ClassLabel):
        return Task("multilabel", tuple(inner.names), modality)
    return Task("regression", (), modality)


def fingerprint(data: "DatasetDict") -> str:
    """Return a SHA-256 over every split's rows in order, so that a resumed run can tell its data from another."""
    digest = hashlib.sha256()
    for split in sorted(data):
        digest.update(f"{split}:{data[split].features['label']}".encode())
        for batch in data[split].iter(batch_size=1000):
            if "text" in batch:
                digest.update(json.dumps([batch["text"], batch["label"]]).encode())
            else:
                for image, label in zip(batch["image"], batch["label"], strict=True):
                    digest.update(repr((image.size, image.mode, label)).encode() + image.tobytes())
    return digest.hexdigest()


def _of_tables(
    tables: dict[str, Table], name: str, text: str | None, label: str | None, task: str | None
) -> "DatasetDict":
    """Check the columns of each split, number the labels, and build the data set."""
    if task is not None:
        check_choice("load_data", "task", task, KINDS)
    columns = {split: _columns(table, _place(name, split), text, label) for split, table in tables.items()}
    for split, (texts, labels) in columns.items():
        _check_texts(texts, _place(name, split))
        _check_present(labels, _place(name, split), task)
    every = [one for _, labels in columns.values() for one in labels]
    kind = task or _kind(every, name)
    parsed = {
        split: (texts, _parse(labels, kind, _place(name, split))) for split, (texts, labels) in columns.items()
    }
    if list(parsed) == [""]:
        texts, labels = parsed[""]
        places = split_rows(texts, labels, name, by_label=kind != "regression")
        parsed = {
            split: ([texts[i] for i in rows], [labels[i] for i in rows]) for split, rows in places.items() if rows
        }
    _mention_overlap({split: texts for split, (texts, _) in parsed.items()}, name)
    return _build(parsed, kind, name)


def _place(name: str, split: str) -> str:
    return f"{split} of {name}" if split else name


def _columns(table: Table, place: str, text: str | None, label: str | None) -> tuple[list[Any], list[Any]]:
    def pick(what: str, asked: str | None, usual: tuple[str, ...]) -> list[Any]:
        for column in (asked,) if asked else usual:
            if column in table:
                return table[column]
        wanted = repr(asked) if asked else " or ".join(map(repr, usual))
        do = f"Name the column with {what}=; a file without a header line needs one, such as text,label"
        raise refused("load_data", place, f"have a column {wanted}", f"columns {', '.join(table)}", do)

    return pick("text", text, ("text", "sentence")), pick("label", label, ("label",))


def _rows(numbers: list[int]) -> str:
    more = f" (and {len(numbers) - 3} more)" if len(numbers) > 3 else ""
    return f"row {', '.join(str(number + 1) for number in numbers[:3])}{more}"


def _check_texts(texts: list[Any], place: str) -> None:
    wrong = [i for i, one in enumerate(texts) if not isinstance(one, str) or not one.strip()]
    if wrong:
        got = f"{texts[wrong[0]]!r} in {_rows(wrong)}"
        raise refused("load_data", f"text of {place}", "not be empty", got, "Fill these rows or take them out")


def _check_present(labels: list[Any], place: str, task: str | None) -> None:
    several = task == "multilabel" or any(isinstance(one, list) or "|" in str(one) for one in labels)

    def absent(one: Any) -> bool:
        nan = isinstance(one, float) and math.isnan(one)
        return one is None or nan or (isinstance(one, str) and not one.strip() and not several)

    wrong = [i for i, one in enumerate(labels) if absent(one)]
    if wrong:
        got = f"{labels[wrong[0]]!r} in {_rows(wrong)}"
        raise refused("load_data", f"label of {place}", "be there in every row", got, "Fill them or take the rows out")


def _number(label: Any) -> float | None:
    try:
        return float(label)
    except (TypeError, ValueError):
        return None


def _kind(labels: list[Any], name: str) -> str:
    if any(isinstance(one, list) or "|" in str(one) for one in labels):
        mention("load_data", f"labels of {name} are joined by |, and are read as several labels at once (multilabel).")
        return "multilabel"
    numbers = [_number(one) for one in labels]
    if all(one is not None and math.isfinite(one) for one in numbers) and any(one % 1 for one in numbers if one):
        mention("load_data", f"labels of {name} are numbers with decimals: regression. task='classification' undoes it.")
        return "regression"
    return "classification"


def _parse(labels: list[Any], kind: str, place: str) -> list[Any]:
    """Turn labels into names, lists of names, or numbers."""
    if kind == "regression":
        numbers = [_number(one) for one in labels]
        wrong = [i for i, one in enumerate(numbers) if one is None or not math.isfinite(one)]
        if wrong:
            got = f"{labels[wrong[0]]!r} in {_rows(wrong)}"
            raise refused("load_data", f"label of {place}", "be a finite number", got, "Mend these rows")
        return numbers
    if kind == "multilabel":
        lists = [one if isinstance(one, list) else str(one).split("|") for one in labels]
        return [sorted({_name(label) for label in one} - {""}) for one in lists]
    names = [_name(one) for one in labels]
    trimmed = sum(name != str(one) for name, one in zip(names, labels, strict=True) if isinstance(one, str))
    if trimmed:
        mention("load_data", f"spaces around {trimmed} labels of {place} are left out.")
    folded = Counter(name.casefold() for name in set(names))
    alike = [name for name in sorted(set(names)) if folded[name.casefold()] > 1]
    if alike:
        mention("load_data", f"labels of {place} differ in case only, and stay apart: {', '.join(alike)}.")
    return names


def _name(label: Any) -> str:
    whole = isinstance(label, float) and label.is_integer()
    return str(int(label)) if whole else str(label).strip()


def _mention_overlap(texts: dict[str, list[str]], name: str) -> None:
    seen = {normal(one) for one in texts["train"]}
    for split, others in texts.items():
        again = sum(normal(one) in seen for one in others) if split != "train" else 0
        if again:
            mention("load_data", f"{again} of {len(others)} texts in {_place(name, split)} stand in train as well.")


def _build(parsed: dict[str, tuple[list[str], list[Any]]], kind: str, name: str) -> "DatasetDict":
    from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value

    if kind == "regression":
        if len(set(parsed["train"][1])) < 2:
            raise refused("load_data", f"labels of {name}", "differ", "one value only", "There is nothing to learn")
        features = Features({"text": Value("string"), "label": Value("float32")})
        splits = {split: {"text": texts, "label": labels} for split, (texts, labels) in parsed.items()}
        return DatasetDict({split: Dataset.from_dict(rows, features=features) for split, rows in splits.items()})
    train = parsed["train"][1]
    names = sorted({one for labels in train for one in (labels if kind == "multilabel" else [labels])}, key=_order)
    if len(names) < 2:
        got = f"only {', '.join(map(repr, names)) or 'none'}"
        do = "One class leaves nothing to tell apart; check the label column"
        raise refused("load_data", f"training labels of {name}", "be of two classes at least", got, do)
    number = {label: place for place, label in enumerate(names)}
    classes = ClassLabel(names=names)
    features = Features({"text": Value("string"), "label": List(classes) if kind == "multilabel" else classes})
    built = {}
    for split, (texts, labels) in parsed.items():
        lists = labels if kind == "multilabel" else [[label] for label in labels]
        unknown = [i for i, one in enumerate(lists) if not set(one) <= number.keys()]
        if unknown:
            got = f"{(set(lists[unknown[0]]) - number.keys()).pop()!r} in {_rows(unknown)}"
            do = f"The training split knows {', '.join(names[:6])}{', ...' if len(names) > 6 else ''}"
            raise refused("load_data", f"labels of {_place(name, split)}", "be known from training", got, do)
        ids = [[number[label] for label in one] for one in lists]
        rows = {"text": texts, "label": ids if kind == "multilabel" else [one[0] for one in ids]}
        built[split] = Dataset.from_dict(rows, features=features)
    return DatasetDict(built)


def _order(name: str) -> tuple[float, str]:
    number = _number(name)
    return (number if number is not None and math.isfinite(number) else math.inf, name)


def _of_datasets(
    source: Any, name: str, text: str | None, label: str | None, task: str | None
) -> "DatasetDict":
    """Bring a ``DatasetDict`` to the common form."""
    from datasets import Image

    known = {"train": "train", "validation": "validation", "valid": "validation", "dev": "validation", "test": "test"}
    splits = {known[split]: rows for split, rows in source.items() if split in known}
    if "train" not in splits:
        raise refused("load_data", name, "have a split 'train'", f"splits {', '.join(source)}", "Rename one of them")
    if isinstance(splits["train"].features.get("image"), Image):
        return _images(splits, label or "label")
    tables = {}
    for split, rows in splits.items():
        table = {column: _plain(rows, column) for column in rows.column_names}
        hidden = table.get(label or "label", [])
        if split != "train" and hidden and all(one in (-1, "-1") for one in hidden):
            mention("load_data", f"the labels of {_place(name, split)} are withheld (-1), so the split is left out.")
        else:
            tables[split] = table
    return _of_tables(tables if len(tables) > 1 else {"": tables["train"]}, name, text, label, task)


def _plain(rows: "Dataset", column: str) -> list[Any]:
    """Return a column as plain values, with the names in place of a class label's numbers."""
    from datasets import ClassLabel

    feature, values = rows.features[column], list(rows[column])
    if isinstance(feature, ClassLabel):
        return [feature.names[one] if one is not None and one >= 0 else one for one in values]
    if isinstance(getattr(feature, "feature", None), ClassLabel):
        return [[feature.feature.names[one] for one in several] for several in values]
    return values


def _images(splits: dict[str, Any], label: str) -> "DatasetDict":
    from datasets import ClassLabel, DatasetDict

    feature = splits["train"].features.get(label)
    if not isinstance(feature, ClassLabel) or len(feature.names) < 2:
        raise refused("load_data", f"label {label!r}", "be a class label of two classes", str(feature), "Cast it first")
    columns = {"image": "image", label: "label"}
    return DatasetDict(
        {
            split: rows.select_columns(list(columns)).rename_columns({k: v for k, v in columns.items() if k != v})
            for split, rows in splits.items()
        }
    )


def _digits() -> "DatasetDict":
    from datasets import ClassLabel, Dataset, DatasetDict, Features, Image
    from PIL import Image as Picture
    from sklearn.datasets import load_digits

    digits = load_digits()
    keys = [str(i) for i in range(len(digits.images))]
    places = split_rows(keys, [str(one) for one in digits.target], "digits")
    features = Features({"image": Image(), "label": ClassLabel(names=[str(i) for i in range(10)])})
    pictures = [Picture.fromarray((image * 15).astype("uint8")) for image in digits.images]
    return DatasetDict(
        {
            split: Dataset.from_dict(
                {"image": [pictures[i] for i in rows], "label": [int(digits.target[i]) for i in rows]},
                features=features,
            )
            for split, rows in places.items()
        }
    )


def _from_hub(*name: str, **options: str) -> Any:
    from datasets import load_dataset

    try:
        return load_dataset(*name, **options)
    except Exception as error:  # the hub's many errors, all of which mean that there is no data here
        got = f"{':'.join(name)!r} ({str(error).splitlines()[0][:120] or type(error).__name__})"
        do = "Embedded are reviews and digits; a hub id needs a network, a file its whole path"
        raise refused("load_data", "source", "be a file, a folder, an embedded name or a hub id", got, do) from error
