"""The table of bad inputs, and what each is tried out with."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, DatasetDict

import ftlab
from ftlab import ArgumentError, InputError
from ftlab.models.load import Pretrained

ROWS = [("a good film", "yes"), ("a bad film", "no")]
CSV = "text,label\n" + "".join(f"{text} {i},{label}\n" for i in range(10) for text, label in ROWS)


def in_grammar(line: str) -> bool:
    """Return whether a line reads ``<where>: <name> must <condition>. Got <value>. <What to do>.``"""
    return re.fullmatch(r"[\w ]+: [^\n]+ must [^\n]+\. Got [^\n]+\. [A-Z0-9][^\n]+\.", line) is not None


def labelled(labels: list[Any], splits: tuple[str, ...] = ("train", "test")) -> DatasetDict:
    """Make data in memory: each split has these labels."""
    return DatasetDict(
        {split: Dataset.from_dict({"text": [f"a {split} {i}" for i in labels], "label": labels}) for split in splits}
    )


@dataclass
class Bench:
    """What a bad input is tried out with: good data, a good model, and a folder to write in."""

    folder: Path
    bert: Path
    data: DatasetDict
    model: Pretrained

    def file(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def finetune(self, data: Any = None, **arguments: Any) -> Any:
        return ftlab.finetune(self.model, self.data if data is None else data, **arguments)

    def model_folder(self) -> Path:
        return Path(shutil.copytree(self.bert, self.folder / "model"))


BAD = []


def bad(kind: type[InputError], message: str) -> Callable[[Callable[[Bench], Any]], Callable[[Bench], Any]]:
    """Register an act that must be refused with an error of this kind and this piece of message."""

    def register(act: Callable[[Bench], Any]) -> Callable[[Bench], Any]:
        BAD.append(pytest.param(kind, message, act, id=act.__name__.removeprefix("_")))
        return act

    return register


def bad_file(name: str, file: str, content: str | bytes, message: str, **arguments: str) -> None:
    """Register a file that must be refused."""

    def act(bench: Bench) -> None:
        bench.finetune(ftlab.load_data(bench.file(file, content), **arguments))

    BAD.append(pytest.param(InputError, message, act, id=name))


def bad_argument(name: str, message: str, **arguments: Any) -> None:
    """Register arguments of ``finetune`` that must be refused."""
    BAD.append(pytest.param(ArgumentError, message, lambda bench: bench.finetune(**arguments), id=name))


def json_lines(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)
