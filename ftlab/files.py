"""Write files and folders atomically: complete, or not at all."""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ftlab.errors import input_error


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically: write a temporary file beside it, then rename that."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with _report_full_disk(path):
        try:
            draft.write_text(text, encoding="utf-8")
            _sync(draft)
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a draft folder to fill. On success it replaces ``path``; after an error ``path`` is as it was before."""
    draft, old = (path.with_name(f".{path.name}.{role}.{os.getpid()}") for role in ("draft", "old"))
    with _report_full_disk(path):
        shutil.rmtree(draft, ignore_errors=True)
        try:
            draft.mkdir(parents=True)
            yield draft
            for file in draft.rglob("*"):
                if file.is_file():
                    file.chmod(_default_mode())  # safetensors writes files that only their owner may read
                    _sync(file)
            if path.exists():
                os.rename(path, old)
            os.rename(draft, path)
            shutil.rmtree(old, ignore_errors=True)
        finally:
            if old.exists() and not path.exists():
                os.rename(old, path)
            shutil.rmtree(draft, ignore_errors=True)


def _default_mode() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _sync(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


@contextmanager
def _report_full_disk(path: Path) -> Iterator[None]:
    """Raise an InputError that explains a full disk, in place of the libraries' obscure errors."""
    try:
        yield
    except Exception as error:
        full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)
        if not full:
            raise
        free = shutil.disk_usage(next(folder for folder in path.absolute().parents if folder.exists())).free / 1e6
        do = "Free some space; no existing file was lost"
        raise input_error("save", "disk", f"have room for {path.name}", f"{free:.0f} MB free", do) from error
