"""Write files and folders so that they are there whole, or not at all."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ftlab.errors import input_error


def write_text(path: Path, text: str) -> None:
    """Write a text file: to a neighbour first, which then takes the name."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with _disk(path):
        try:
            draft.write_text(text, encoding="utf-8")
            _sync(draft)
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a draft folder to fill; when all is well it takes the name, and what had the name before goes."""
    draft, old = (path.with_name(f".{path.name}.{what}.{os.getpid()}") for what in ("draft", "old"))
    with _disk(path):
        shutil.rmtree(draft, ignore_errors=True)
        try:
            draft.mkdir(parents=True)
            yield draft
            for file in draft.rglob("*"):
                if file.is_file():
                    file.chmod(_readable())  # safetensors writes files that only their owner can read
                    _sync(file)
            if path.exists():
                os.rename(path, old)
            os.rename(draft, path)
            shutil.rmtree(old, ignore_errors=True)
        finally:
            if old.exists() and not path.exists():
                os.rename(old, path)
            shutil.rmtree(draft, ignore_errors=True)


def _readable() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _sync(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    """Say in plain words that a disk is full; the libraries' own messages do not."""
    try:
        yield
    except Exception as error:
        full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)
        if not full:
            raise
        free = shutil.disk_usage(next(one for one in path.absolute().parents if one.exists())).free / 1e6
        do = "Free some space; nothing that was there has been lost"
        raise input_error("save", "disk", f"have room for {path.name}", f"{free:.0f} MB free", do) from error
