"""Cache token ids on disk, keyed by a hash of the texts and settings; entries are written atomically."""

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
"""Maximum size of the cache in bytes; beyond it, the least recently used entries are removed."""

Piece = tuple[NDArray[np.int32], NDArray[np.int64], int]
"""The concatenated ids of some texts, the number of ids of each text, and the number of truncated texts."""
Arrays = tuple[NDArray[np.int32], NDArray[np.int64], int]
"""The ids of all texts, the index at which each text begins, and the number of truncated texts."""

_ENTRY_NAME = re.compile(r"\.?[0-9a-f]{64}(\.(draft|old)\.\d+)?")


def cache_folder() -> Path | None:
    """Return the cache folder: ``$FTLAB_CACHE``, by default ``~/.cache/ftlab/tokens``; None if it is ``off``."""
    setting = os.environ.get("FTLAB_CACHE", "")
    if setting.lower() == "off":
        return None
    try:
        return Path(setting or "~/.cache/ftlab/tokens").expanduser()
    except RuntimeError:  # there is no home folder
        return None


def entry_path(settings: str, texts: Iterable[list[str]]) -> Path | None:
    """Return the path of the cache entry of texts, named by a SHA-256 of texts and settings; None without a cache.

    Args:
        settings: Everything but the text that determines its ids.
        texts: All texts, in chunks.
    """
    folder = cache_folder()
    if folder is None:
        return None
    digest = hashlib.sha256(f"{FORMAT}:{settings}".encode())
    for chunk in texts:
        digest.update(json.dumps(chunk).encode())
    return folder / digest.hexdigest()


def cached(entry: Path, rows: int, pieces: Callable[[], Iterator[Piece]]) -> Arrays | None:
    """Return a cache entry, written first if it is missing or damaged; None if it cannot be written.

    Args:
        entry: From :func:`entry_path`.
        rows: The number of texts.
        pieces: Tokenises the texts, chunk by chunk.
    """
    arrays = _read_entry(entry, rows)
    if arrays is None:
        try:
            _write_entry(entry, pieces())
        except (OSError, InputError):
            return None
        arrays = _read_entry(entry, rows)
        _evict(entry)
    return arrays


def concatenate(pieces: Iterable[Piece]) -> Arrays:
    """Concatenate pieces in memory."""
    ids, lengths, cut = [np.empty(0, np.int32)], [np.empty(0, np.int64)], 0
    for piece_ids, piece_lengths, piece_cut in pieces:
        ids.append(piece_ids)
        lengths.append(piece_lengths)
        cut += piece_cut
    return np.concatenate(ids), _starts(lengths), cut


def _starts(lengths: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(lengths))])


def _read_entry(entry: Path, rows: int) -> Arrays | None:
    """Return an entry as memory-mapped arrays; None if it is missing or damaged."""
    try:
        checksums = json.loads((entry / "entry.json").read_text(encoding="utf-8"))
        ids, starts = (_memory_map(entry / name) for name in ("ids.npy", "starts.npy"))
    except (OSError, ValueError, EOFError):
        return None
    if len(starts) != rows + 1 or not isinstance(checksums, dict):
        return None
    if checksums != _checksums(ids, starts, checksums.get("cut")):
        return None
    with suppress(OSError):
        os.utime(entry)
    return ids, starts, checksums["cut"]


def _memory_map(file: Path) -> NDArray[Any]:
    return np.asarray(np.load(file, mmap_mode="r"))


def _checksums(ids: NDArray[Any], starts: NDArray[Any], cut: Any) -> dict[str, Any]:
    """Return what ``entry.json`` holds: dtype, length and CRC-32 of each array, which reveal damage."""
    arrays = {"ids": ids, "starts": starts}
    return {"cut": cut} | {
        name: [array.dtype.str, len(array), zlib.crc32(array.data)] for name, array in arrays.items()
    }


def _write_entry(entry: Path, pieces: Iterator[Piece]) -> None:
    """Write the ids piece by piece, then the index at which each text begins, then the checksums."""
    entry.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with new_folder(entry) as draft:
        lengths, cut, count = [np.empty(0, np.int64)], 0, 0
        with open(draft / "ids.npy", "wb") as file:
            _write_header(file, count)
            for ids, piece_lengths, piece_cut in pieces:
                file.write(ids.data)
                lengths.append(piece_lengths)
                cut, count = cut + piece_cut, count + len(ids)
            _write_header(file, count)
        np.save(draft / "starts.npy", _starts(lengths))
        checksums = _checksums(_memory_map(draft / "ids.npy"), _memory_map(draft / "starts.npy"), cut)
        (draft / "entry.json").write_text(json.dumps(checksums), encoding="utf-8")


def _write_header(file: IO[bytes], count: int) -> None:
    """Write the header at the start of an ``.npy`` file; its size does not depend on ``count``."""
    file.seek(0)
    descr = np.lib.format.dtype_to_descr(np.dtype(np.int32))
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": (count,)})


def _evict(newest: Path) -> None:
    """Remove the least recently used entries, but never the newest, until the cache is within its limit."""
    with suppress(OSError):  # another process may remove entries at the same time
        others = [path for path in newest.parent.iterdir() if _ENTRY_NAME.fullmatch(path.name) and path != newest]
        sizes = {entry: sum(file.stat().st_size for file in entry.iterdir()) for entry in [newest, *others]}
        total = sum(sizes.values())
        for entry in sorted(others, key=lambda path: path.stat().st_mtime):
            if total <= LIMIT:
                break
            shutil.rmtree(entry, ignore_errors=True)
            total -= sizes[entry]
