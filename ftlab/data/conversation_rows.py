"""Rows for generation: prompts with responses, messages, or bare texts; checked, split, and brought to one form."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ftlab.data.split import split_rows
from ftlab.data.tables import Table
from ftlab.errors import input_error, note

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

FORMS = (("messages",), ("prompt", "response"), ("text",))
"""The columns that a data set for generation may have; the first form that fits counts."""
ROLES = ("system", "user", "assistant")


def form_of(columns: Iterable[str]) -> tuple[str, ...] | None:
    """Return the first form of a generation data set whose columns are there.

    >>> form_of(["response", "prompt", "id"])
    ('prompt', 'response')
    """
    names = set(columns)
    return next((form for form in FORMS if names.issuperset(form)), None)


def check_conversations(rows: Mapping[str, Sequence[Any]], form: tuple[str, ...], where: str) -> None:
    """Refuse a row whose text is empty, or whose messages are not a conversation.

    Raises:
        InputError: For the first such row, which the message names.
    """
    for number, values in enumerate(zip(*(rows[column] for column in form), strict=True), 1):
        for column, value in zip(form, values, strict=True):
            fault = _fault_of_messages(value) if column == "messages" else _fault_of_text(value)
            if fault:
                must, got = fault
                raise input_error("load_data", f"{column} of {where}", must, f"{got} in row {number}", "Mend the row")


def generation_form(
    tables: Mapping[str, Table], name: str, text: str | None, label: Any, kind: str | None
) -> tuple[str, ...] | None:
    """Return the form of data for generation, or nothing if the data are labelled texts.

    Without ``kind``, columns named ``messages``, or ``prompt`` and ``response``, mean generation if no column of labels
    is there; a note says so. A bare ``text`` column is used for generation only if ``kind`` says so.

    Raises:
        InputError: If ``kind`` is ``"generation"`` and no form fits the columns.
    """
    columns = set.intersection(*(set(table) for table in tables.values()))
    form = form_of(columns)
    if kind == "generation":
        if form is None or text or label:
            must = "have the columns prompt and response, or messages, or text"
            got = f"columns {', '.join(next(iter(tables.values())))}"
            raise input_error("load_data", name, must, got, "Rename the columns; text= and label= are not used here")
        return form
    first = form_of(next(iter(tables.values())))
    if kind or text or label or "label" in columns or first in (None, ("text",)):
        return None
    if form != first:
        got = f"{', '.join(sorted(columns)) or 'none'} in all of them"
        raise input_error(
            "load_data", name, f"have the columns {' and '.join(first)} in every split", got, "Rename them"
        )
    note("load_data", f"{name} has {' and '.join(form)}, so the task is generation.")
    return form


def conversation_dataset(tables: Mapping[str, Table], name: str, form: tuple[str, ...]) -> "DatasetDict":
    """Check every row, split a single table 80/10/10, and build the data set with the columns of its form."""
    from datasets import Dataset, DatasetDict

    if list(tables) == ["train"]:
        tables = {"": tables["train"]}
    for split, table in tables.items():
        check_conversations(table, form, f"{split} of {name}" if split else name)
    if list(tables) == [""]:
        whole = tables[""]
        texts = [json.dumps(values) for values in zip(*(whole[column] for column in form), strict=True)]
        parts = split_rows(texts, [""] * len(texts), name, by_label=False)
        tables = {
            split: {column: [whole[column][row] for row in rows] for column in form}
            for split, rows in parts.items()
            if rows
        }
    return DatasetDict(
        {split: Dataset.from_dict({column: table[column] for column in form}) for split, table in tables.items()}
    )


def rows_of_conversations(table: Table, name: str, form: tuple[str, ...] | None) -> "Dataset":
    """Check the rows of a table, and return those columns that its form uses."""
    from datasets import Dataset

    assert form is not None
    check_conversations(table, form, name)
    return Dataset.from_dict({column: table[column] for column in form})


def checked_conversations(data: Any) -> "DatasetDict":
    """Check a ``DatasetDict`` for generation, and drop the columns that its form does not use."""
    form = form_of(data["train"].column_names)
    assert form is not None
    for split, rows in data.items():
        if not set(form) <= set(rows.column_names):
            got = ", ".join(rows.column_names)
            raise input_error("load_data", split, f"have the columns {' and '.join(form)}", got, "Rename the columns")
        check_conversations({column: rows[column] for column in form}, form, split)
    return type(data)({split: rows.select_columns(list(form)) for split, rows in data.items()})


def _fault_of_text(value: Any) -> tuple[str, str] | None:
    if isinstance(value, str) and value.strip():
        return None
    return "be a text that is not empty", repr(value)[:60]


def _fault_of_messages(messages: Any) -> tuple[str, str] | None:
    """Return what a list of messages must be, and what it is instead; nothing if it is a conversation."""
    if not isinstance(messages, Sequence) or isinstance(messages, str) or not messages:
        return "be a list of messages, each with role and content", repr(messages)[:60]
    for message in messages:
        if not isinstance(message, Mapping) or not {"role", "content"} <= set(message):
            return "be a list of messages, each with role and content", repr(message)[:60]
        if message["role"] not in ROLES:
            return f"have roles among {', '.join(ROLES)}", repr(message["role"])[:60]
        if fault := _fault_of_text(message["content"]):
            return "have contents that are texts and not empty", fault[1]
    roles = [message["role"] for message in messages]
    spoken = roles[1:] if roles[0] == "system" else roles
    if not spoken or spoken != ["user", "assistant"] * (len(spoken) // 2):
        return "alternate between user and assistant and end with assistant", ", ".join(roles)[:60]
    return None
