"""Keep token ids on disk, found by their content: whole or not at all, and never more than fits a bound."""

import hashlib
import json
import os
import re
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ftlab.errors import InputError
from ftlab.files import new_folder

FORMAT = 1
LIMIT = 5 * 10**9
"""How many bytes the cache may hold; beyond them, what was not used for longest goes."""

Piece = tuple[NDArray[np.int32], NDArray[np.int64], int]
"""The ids of some texts one after another, the length of each text, and how many were cut."""
Arrays = tuple[NDArray[np.int32], NDArray[np.int64], int]
"""All ids, where each text begins, and how many were cut."""

_OURS = re.compile(r"\.?[0-9a-f]{64}(\.(draft|old)\.\d+)?")


def cache_folder() -> Path | None:
    """Return the folder of the cache: ``$FTLAB_CACHE``, else ``~/.cache/ftlab/tokens``; none where it is ``off``."""
    given = os.environ.get("FTLAB_CACHE", "")
    if given.lower() == "off":
        return None
    try:
        return Path(given or "~/.cache/ftlab/tokens").expanduser()
    except RuntimeError:  # there is no home folder
        return None


def entry_for(settings: str, texts: Iterable[list[str]]) -> Path | None:
    """Return the place of texts in the cache: a SHA-256 over their content and the settings that make their ids.

    Args:
        settings: All that the ids of a text depend on besides the text.
        texts: All texts, in chunks.
    """
    folder = cache_folder()
    if folder is None:
        return None
    digest = hashlib.sha256(f"{FORMAT}:{settings}".encode())
    for chunk in texts:
        digest.update(json.dumps(chunk).encode())
    return folder / digest.hexdigest()


def kept(entry: Path, rows: int, pieces: Callable[[], Iterator[Piece]]) -> Arrays | None:
    """Return what is kept at a place, made first where it is not there whole; nothing where it cannot be written.

    Args:
        entry: From :func:`entry_for`.
        rows: The number of texts.
        pieces: Tokenises them again.
    """
    found = _read(entry, rows)
    if found is None:
        try:
            _write(entry, pieces())
        except (OSError, InputError):
            return None
        found = _read(entry, rows)
        _trim(entry)
    return found


def flat(pieces: Iterable[Piece]) -> Arrays:
    """Lay pieces one after another, in memory."""
    ids, lengths, cut = [np.empty(0, np.int32)], [np.empty(0, np.int64)], 0
    for some, sizes, lost in pieces:
        ids.append(some)
        lengths.append(sizes)
        cut += lost
    return np.concatenate(ids), _starts(lengths), cut


def _starts(lengths: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(lengths))])


def _read(entry: Path, rows: int) -> Arrays | None:
    """Return what is kept, mapped into memory, or nothing where it is not there whole."""
    try:
        facts = json.loads((entry / "entry.json").read_text(encoding="utf-8"))
        ids, starts = (_mapped(entry / name) for name in ("ids.npy", "starts.npy"))
    except (OSError, ValueError, EOFError):
        return None
    if len(starts) != rows + 1 or not isinstance(facts, dict) or facts != _facts(ids, starts, facts.get("cut")):
        return None
    with suppress(OSError):
        os.utime(entry)
    return ids, starts, facts["cut"]


def _mapped(file: Path) -> NDArray[Any]:
    return np.asarray(np.load(file, mmap_mode="r"))


def _facts(ids: NDArray[Any], starts: NDArray[Any], cut: Any) -> dict[str, Any]:
    """Say of arrays what tells them from damaged ones."""
    arrays = {"ids": ids, "starts": starts}
    return {"cut": cut} | {name: [one.dtype.str, len(one), zlib.crc32(one.data)] for name, one in arrays.items()}


def _write(entry: Path, pieces: Iterator[Piece]) -> None:
    """Write ids as they come, then where each text begins."""
    entry.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with new_folder(entry) as draft:
        lengths, cut, count = [np.empty(0, np.int64)], 0, 0
        with open(draft / "ids.npy", "wb") as file:
            _head(file, count)
            for ids, sizes, lost in pieces:
                file.write(ids.data)
                lengths.append(sizes)
                cut, count = cut + lost, count + len(ids)
            _head(file, count)
        np.save(draft / "starts.npy", _starts(lengths))
        facts = _facts(_mapped(draft / "ids.npy"), _mapped(draft / "starts.npy"), cut)
        (draft / "entry.json").write_text(json.dumps(facts), encoding="utf-8")


def _head(file: IO[bytes], count: int) -> None:
    """Write the head of an ``.npy`` file, which leaves room for any number of digits, at its beginning."""
    file.seek(0)
    descr = np.lib.format.dtype_to_descr(np.dtype(np.int32))
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": (count,)})


def _trim(newest: Path) -> None:
    """Remove what was not used for longest, but never the newest, until the rest is within the bound."""
    with suppress(OSError):  # another process may trim at the same time
        entries = [one for one in newest.parent.iterdir() if _OURS.fullmatch(one.name) and one != newest]
        sizes = {one: sum(file.stat().st_size for file in one.iterdir()) for one in [newest, *entries]}
        total = sum(sizes.values())
        for one in sorted(entries, key=lambda one: one.stat().st_mtime):
            if total <= LIMIT:
                break
            shutil.rmtree(one, ignore_errors=True)
            total -= sizes[one]
