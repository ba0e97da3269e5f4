"""Read files into columns. Errors name the line that cannot be read.

Cells of csv and tsv files stay strings: ``01`` is not ``1``, and ``NA`` is a label like any other.
"""

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

from ftlab.errors import input_error, note

Table = dict[str, list[Any]]
SPLITS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "eval": "validation",
    "evaluation": "validation",
    "test": "test",
    "testing": "test",
}
"""The names of splits and their files, with the split that each stands for."""
SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")

_NOT_UTF8 = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"PK\x03\x04": "a zip archive (perhaps a spreadsheet)"}


def read_table(path: Path) -> Table:
    """Return the columns of a file by name, all of the same length.

    Args:
        path: A csv (commas or semicolons), tsv, json lines or parquet file; text must be UTF-8, a BOM is accepted.

    Raises:
        InputError: If the file is missing, empty, binary, in another encoding, or malformed.
    """
    if not os.path.exists(path):
        near = (
            sorted(file.name for file in path.parent.glob("*") if file.suffix in SUFFIXES)[:3]
            if os.path.isdir(path.parent)
            else []
        )
        do = f"Check the spelling; {path.parent} holds {', '.join(near)}" if near else "Check the spelling"
        raise input_error("load_data", "file", "exist", repr(str(path))[:120], do)
    if path.suffix.lower() not in SUFFIXES:
        raise input_error(
            "load_data", "file", f"end in one of {', '.join(SUFFIXES)}", repr(path.name), "Save it as one of these"
        )
    if path.stat().st_size == 0:
        raise input_error("load_data", "file", "not be empty", f"{path.name} of 0 bytes", "Give a file with examples")
    if path.suffix.lower() == ".parquet":
        table = _parquet(path)
    else:
        text = _text(path)
        delimited = path.suffix.lower() in (".csv", ".tsv")
        table = _delimited(path, text) if delimited else _json_lines(path, text)
    if not table or not len(next(iter(table.values()))):
        raise input_error("load_data", "file", "hold at least one row", f"none in {path.name}", "Add examples")
    return table


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        got = f"{path} ({error.strerror})"
        raise input_error("load_data", "file", "be readable", got, "Check its permissions") from error
    for start, what in _NOT_UTF8.items():
        if raw.startswith(start):
            raise input_error("load_data", "file", "be UTF-8 text", f"{what} in {path.name}", "Save it as UTF-8 csv")
    if b"\0" in raw:
        line = raw[: raw.index(b"\0")].count(b"\n") + 1
        raise input_error(
            "load_data", "file", "be text", f"a NUL byte in line {line} of {path.name}", "It looks like binary data"
        )
    if raw.startswith(b"\xef\xbb\xbf"):
        note("load_data", f"{path.name} begins with a byte order mark, which is left out.")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        got = f"byte 0x{raw[error.start]:02x} in line {line} of {path.name}"
        do = "Save it as UTF-8; iconv -f latin1 -t utf-8 converts it, if it is Latin-1"
        raise input_error("load_data", "file", "be UTF-8 text", got, do) from error


def _delimited(path: Path, text: str) -> Table:
    first = text.lstrip("\r\n").split("\n", 1)[0]
    tabs = path.suffix.lower() == ".tsv"
    delimiter = "\t" if tabs else ";" if first.count(";") > first.count(",") else ","
    if delimiter == ";":
        note("load_data", f"{path.name} is read as separated by semicolons.")
    # Most tab-separated files are written without quoting, so a lone quote in a text is just a character.
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        quoting=csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL,
        strict=not tabs,
    )
    csv.field_size_limit(2**31 - 1)
    header: list[str] = []
    rows: list[list[str]] = []
    blank = 0
    try:
        for row in reader:
            if not any(cell.strip() for cell in row):
                blank += 1
            elif not header:
                header = [cell.strip() for cell in row]
                _check_header(path, header)
            elif len(row) != len(header):
                raise input_error(
                    "load_data",
                    f"line {reader.line_num} of {path.name}",
                    f"have {len(header)} fields, as the header has",
                    str(len(row)),
                    f"Put quotes around a text that holds {'a tab' if tabs else repr(delimiter)}",
                )
            else:
                rows.append([_unquoted(cell) for cell in row] if tabs else row)
    except csv.Error as error:
        got = f"{error} by line {reader.line_num} of {path.name}"
        do = 'Close every quote, and write a quote inside a quoted text as ""'
        raise input_error("load_data", "file", "be a table with balanced quotes", got, do) from error
    if blank:
        note("load_data", f"{blank} blank lines of {path.name} are left out.")
    return {name: [row[index] for row in rows] for index, name in enumerate(header)}


def _unquoted(cell: str) -> str:
    quoted = len(cell) > 1 and cell[0] == cell[-1] == '"'
    return cell[1:-1].replace('""', '"') if quoted else cell


def _check_header(path: Path, header: list[str]) -> None:
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice or "" in header:
        got = f"{', '.join(map(repr, twice))} twice" if twice else f"an empty name among {header}"
        raise input_error("load_data", f"header of {path.name}", "name each column once", got, "Rename the columns")


def _json_lines(path: Path, text: str) -> Table:
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            got = f"{getattr(error, 'msg', error)} in line {number} of {path.name}"
            raise input_error(
                "load_data", "file", "hold a JSON object in each line", got, "Correct this line"
            ) from error
        if not isinstance(row, dict):
            got = f"{type(row).__name__} in line {number} of {path.name}"
            raise input_error(
                "load_data", "file", "hold a JSON object in each line", got, 'Write {"text": ..., "label": ...}'
            )
        missing = set(rows[0]) - set(row) if rows else set()
        if missing:
            raise input_error(
                "load_data",
                f"line {number} of {path.name}",
                "have the keys of the first line",
                f"no {', '.join(sorted(missing))}",
                "Use the same keys in every line",
            )
        rows.append(row)
    return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}


def _parquet(path: Path) -> Table:
    import pyarrow
    import pyarrow.parquet

    try:
        columns: Table = pyarrow.parquet.read_table(path).to_pydict()
    except (pyarrow.ArrowException, OSError) as error:
        got = f"{str(error).splitlines()[0]} in {path.name}"
        raise input_error("load_data", "file", "be a whole parquet file", got, "Write it again") from error
    return columns


def note_left_out(names: list[str], source: str) -> None:
    """Note which splits or files are not used, since their names say nothing of train, validation or test."""
    if names:
        shown = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
        note("load_data", f"{shown} of {source} {'is' if len(names) == 1 else 'are'} left out: no name of a split.")


def note_unused_files(folder: Path) -> None:
    """Note which tables of a folder :func:`read_folder` does not read."""
    tables = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES]
    note_left_out([path.name for path in tables if path.stem.lower() not in SPLITS], folder.name)


def known_splits(source: Any, name: str) -> dict[str, Any]:
    """Return the splits by the names that they stand for; raise if two stand for the same one."""
    splits: dict[str, Any] = {}
    for given, rows in source.items():
        split = SPLITS.get(str(given).lower())
        if split in splits:
            alike = [str(one) for one in source if SPLITS.get(str(one).lower()) == split]
            raise input_error(
                "load_data", f"split {split!r} of {name}", "be one", " and ".join(alike), "Keep one of them"
            )
        if split:
            splits[split] = rows
    note_left_out([str(given) for given in source if str(given).lower() not in SPLITS], name)
    return splits


def read_folder(folder: Path) -> dict[str, Table]:
    """Return the tables of a folder by split: ``train`` and, if present, ``validation`` and ``test``."""
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        split = SPLITS.get(path.stem.lower())
        if split and path.suffix.lower() in SUFFIXES:
            if split in files:
                raise input_error(
                    "load_data",
                    f"split {split!r}",
                    "come from one file",
                    f"{files[split].name} and {path.name}",
                    "Keep one of them",
                )
            files[split] = path
    if "train" not in files:
        names = ", ".join(sorted(path.name for path in folder.iterdir())[:5]) or "nothing"
        do = "Name it train.csv, train.tsv or similar"
        raise input_error("load_data", "folder", "hold a train file", f"{names} in {folder}", do)
    return {split: read_table(files[split]) for split in dict.fromkeys(SPLITS.values()) if split in files}
