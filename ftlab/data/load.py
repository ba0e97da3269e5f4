"""Load labelled data as a ``datasets.DatasetDict`` with the columns ``text`` (or ``image``) and ``label``."""

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftlab.data.conversation_rows import (
    checked_conversations,
    conversation_dataset,
    form_of,
    generation_form,
    rows_of_conversations,
)
from ftlab.data.hub import data_from_hub
from ftlab.data.images import digits, image_dataset
from ftlab.data.label_values import Column, check_columns
from ftlab.data.labels import (
    KINDS,
    Examples,
    Task,
    build_dataset,
    check_rows,
    infer_kind,
    label_names,
    parse_labels,
    read_examples,
)
from ftlab.data.split import normalise_text, split_rows
from ftlab.data.tables import Table, known_splits, note_unused_files, read_folder, read_table
from ftlab.errors import ArgumentError, argument_error, check_choice, input_error, note

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

EMBEDDED = Path(__file__).parent / "embedded"
REVIEWS = ("reviews", "tricky_reviews")
"""Embedded data sets with the same columns."""
REVIEW_LABELS = ("sentiment", "topic", "phenomenon")
GENERATION = ("extraction", "instructions")
"""Embedded data sets of prompts with responses."""


def load_data(source: Any, *, text: str | None = None, label: Column = None, task: str | None = None) -> "DatasetDict":
    """Load examples and check every row: texts or images with labels, or prompts with responses.

    ====================  =====================================================================================
    ``source``            what is loaded
    ====================  =====================================================================================
    ``"reviews"``         the embedded reviews; ``task`` is ``"sentiment"``, ``"topic"`` or ``"phenomenon"``
    ``"tricky_reviews"``  an embedded contrast set with the same tasks, in which single words mislead
    ``"extraction"``      short remarks, each with the one line that a program wants from it
    ``"instructions"``    questions, all answered in one manner
    ``"digits"``          scikit-learn's handwritten digits, as images
    a file                csv, tsv, json lines or parquet; split 80/10/10, stratified, always in the same way
    a folder              with files named train, validation (or dev) and test; or a folder of images
    a hub id              such as ``"stanfordnlp/sst2"`` or ``"nyu-mll/glue:sst2"``
    a ``DatasetDict``     checked and converted to the same form
    ====================  =====================================================================================

    Args:
        source: One of the sources in the table.
        text: The name of the column with the texts; by default ``text`` or ``sentence``.
        label: The name of the column with the labels; by default ``label``. Several names, such as
            ``["toxic", "insult"]``, are columns of 0 and 1, and the task is multilabel.
        task: ``"classification"`` (one label per row), ``"multilabel"`` (several labels per row, joined by ``|`` in a
            table), ``"regression"`` (a number per row), or ``"generation"``: columns ``prompt`` and ``response``, or
            ``messages`` (the chat format), or ``text`` alone (continued pretraining). By default it is inferred from
            the columns and labels, and a note reports a task other than classification.

    Returns:
        The splits ``train`` and, if present, ``validation`` and ``test``. All splits share the class ids, which the
        training split defines.

    Raises:
        InputError: If a file, split, row or label cannot be used. The message names it.

    Example:
        >>> data = load_data("reviews", task="topic")
        >>> data["train"].features["label"].names
        ['book', 'course', 'film', 'gadget', 'hotel', 'restaurant']
    """
    if isinstance(source, dict):
        return _from_datasets(source, "the data given", text, label, task)
    if not isinstance(source, str | os.PathLike) or not str(source).strip():
        do = "Pass an embedded name, a file, a folder, a hub id or a DatasetDict"
        raise argument_error("load_data", "source", "be a name, a path or a DatasetDict", repr(source)[:60], do)
    name = str(source)
    if name in REVIEWS:
        label = label or task or "sentiment"
        check_choice("load_data", "task", label, REVIEW_LABELS)
        return _from_tables(read_folder(EMBEDDED / name), name, "text", label, "classification")
    if name in GENERATION:
        return conversation_dataset(read_folder(EMBEDDED / name), name, ("prompt", "response"))
    if name == "digits":
        return digits()
    path = Path(name)
    if os.path.isdir(path / "train"):  # os.path, since Path.is_dir raises on a name that is too long
        return _from_datasets(data_from_hub("imagefolder", data_dir=name), name, text, label, task)
    if os.path.isdir(path):
        note_unused_files(path)
        return _from_tables(read_folder(path), path.name, text, label, task)
    if _may_be_hub_id(path, name):
        data = data_from_hub(*name.split(":", 1))
        return _from_datasets(data if isinstance(data, dict) else {"train": data}, name, text, label, task)
    return _from_tables({"": read_table(path)}, path.name, text, label, task)


def load_pairs() -> "Dataset":
    """Load the embedded sentence pairs with their similarity from 0 to 5, the mean of two grades.

    >>> load_pairs().column_names
    ['first', 'second', 'similarity', 'grade_1', 'grade_2']
    """
    from datasets import Dataset, Features, Value

    number = Value("float32")
    columns = {"first": Value("string"), "second": Value("string")}
    columns |= dict.fromkeys(("similarity", "grade_1", "grade_2"), number)
    return Dataset.from_dict(read_table(EMBEDDED / "pairs.jsonl"), features=Features(columns))


def load_rows(file: str | Path, task: Task, *, text: str | None = None, label: str | None = None) -> "Dataset":
    """Load all rows of one file, with the class ids of a fine-tuned model's task.

    Args:
        file: A csv, tsv, json lines or parquet file.
        task: The model's task.
        text: The name of the column with the texts; by default ``text`` or ``sentence``.
        label: The name of the column with the labels; by default ``label``.

    Raises:
        InputError: If the file cannot be read, or a label is not one of the task's.
    """
    path = Path(file)
    if task.kind == "generation":
        table = read_table(path)
        return rows_of_conversations(table, path.name, generation_form({"": table}, path.name, text, label, task.kind))
    return build_dataset(parse_labels(read_examples(read_table(path), path.name, text, label), task.kind), task)


def task_of(data: Any) -> Task:
    """Return the task of a ``DatasetDict``, read from the features of its training split."""
    from datasets import ClassLabel

    if not isinstance(data, dict) or "train" not in data or not hasattr(data["train"], "features"):
        do = "Make it with ftlab.load_data"
        raise argument_error("finetune", "data", "be a DatasetDict with a train split", type(data).__name__, do)
    features = data["train"].features
    if "label" not in features and form_of(features):
        return Task("generation")
    modality = "image" if "image" in features else "text"
    label = features.get("label")
    if label is None or modality not in features:
        do = "Make it with ftlab.load_data"
        raise argument_error("finetune", "data", "have the columns text (or image) and label", str(list(features)), do)
    if isinstance(label, ClassLabel):
        return Task("classification", tuple(label.names), modality)
    inner = getattr(label, "feature", None)
    if isinstance(inner, ClassLabel):
        return Task("multilabel", tuple(inner.names), modality)
    if not str(getattr(label, "dtype", "")).startswith("float"):
        do = "Make it with ftlab.load_data"
        raise argument_error("finetune", "label", "be a class, a list of classes or a decimal number", str(label), do)
    return Task("regression", (), modality)


def as_dataset_dict(data: Any) -> "DatasetDict":
    """Return data in the common form. Data that already have it are checked, but the notes are not repeated."""
    try:
        task = task_of(data)
    except ArgumentError:
        return load_data(data)
    if task.kind == "generation":
        return checked_conversations(data)
    for split, rows in data.items():
        if rows.features != data["train"].features or set(rows.column_names) != {task.modality, "label"}:
            return load_data(data)
        check_rows(rows, task, split)
    return data


def fingerprint(data: "DatasetDict") -> str:
    """Return a SHA-256 of the rows of all splits, in order; a resumed run compares it with the saved one."""
    digest = hashlib.sha256()
    for split in sorted(data):
        digest.update(f"{split}:{data[split].features.get('label')}".encode())
        for batch in data[split].iter(batch_size=1000):
            if "label" not in batch:
                digest.update(json.dumps(batch).encode())
            elif "text" in batch:
                digest.update(json.dumps([batch["text"], batch["label"]]).encode())
            else:
                for image, label in zip(batch["image"], batch["label"], strict=True):
                    digest.update(repr((image.size, image.mode, label)).encode() + image.tobytes())
    return digest.hexdigest()


def _from_tables(
    tables: dict[str, Table],
    name: str,
    text: str | None,
    label: Column,
    kind: str | None,
    names: tuple[str, ...] = (),
) -> "DatasetDict":
    """Check the columns of each split, split a single table, map labels to class ids, build the data set."""
    from datasets import DatasetDict

    if kind is not None:
        check_choice("load_data", "task", kind, KINDS)
    if label is not None and not isinstance(label, str):
        check_columns(label, kind)
        kind, names = "multilabel", tuple(label)
    form = generation_form(tables, name, text, label, kind)
    if form:
        return conversation_dataset(tables, name, form)
    if list(tables) == ["train"]:
        tables = {"": tables["train"]}
    splits = {
        split: read_examples(table, f"{split} of {name}" if split else name, text, label)
        for split, table in tables.items()
    }
    kind = kind or infer_kind([label for examples in splits.values() for label in examples.labels], name)
    splits = {split: parse_labels(examples, kind) for split, examples in splits.items()}
    if list(splits) == [""]:
        whole = splits[""]
        parts = split_rows(whole.texts, whole.labels, name, by_label=kind == "classification")
        splits = {split: whole.select(rows) for split, rows in parts.items() if rows}
    task = Task(kind, label_names(splits["train"], kind, name, names))
    _note_overlap(splits)
    return DatasetDict({split: build_dataset(examples, task) for split, examples in splits.items()})


def _note_overlap(splits: dict[str, Examples]) -> None:
    training = {normalise_text(text) for text in splits["train"].texts}
    for split, examples in splits.items():
        shared = sum(normalise_text(text) in training for text in examples.texts) if split != "train" else 0
        if shared:
            note("load_data", f"{shared} of {len(examples.texts)} texts of {examples.source} are also in train.")


def _from_datasets(source: Any, name: str, text: str | None, label: Column, task: str | None) -> "DatasetDict":
    """Convert a ``DatasetDict`` to the common form."""
    from datasets import ClassLabel, Image

    single = label if isinstance(label, str) else "label"

    splits = known_splits(source, name)
    if "train" not in splits or not hasattr(splits["train"], "features"):
        raise input_error("load_data", name, "have a split 'train'", f"{', '.join(map(str, source))}", "Rename a split")
    if isinstance(splits["train"].features.get("image"), Image):
        return image_dataset(splits, name, single)
    tables = {}
    for split, rows in splits.items():
        table = {column: _plain_values(rows, column) for column in rows.column_names}
        labels = table.get(single, [])
        if split != "train" and labels and all(value in (None, -1, "-1") for value in labels):
            note("load_data", f"the labels of {split} of {name} are withheld (-1), so the split is left out.")
        else:
            tables[split] = table
    feature = splits["train"].features.get(single)
    if task is None and str(getattr(feature, "dtype", "")).startswith("float"):
        task = "regression"
    classes = getattr(feature, "feature", feature)
    names = tuple(class_name.strip() for class_name in classes.names) if isinstance(classes, ClassLabel) else ()
    return _from_tables(tables, name, text, label, task, names)


def _plain_values(rows: "Dataset", column: str) -> list[Any]:
    """Return the values of a column, with class names in place of class ids."""
    from datasets import ClassLabel

    feature, values = rows.features[column], list(rows[column])
    if isinstance(feature, ClassLabel):
        return [feature.names[value] if value is not None and value >= 0 else None for value in values]
    if isinstance(getattr(feature, "feature", None), ClassLabel):
        return [[feature.feature.names[class_id] for class_id in ids] for ids in values]
    return values


def _may_be_hub_id(path: Path, name: str) -> bool:
    return (
        not os.path.exists(path) and not path.suffix and name.count("/") <= 1 and not name.startswith((".", "/", "~"))
    )
