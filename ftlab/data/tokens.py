"""Token ids: texts are tokenised in chunks, and lie one after another in a flat array, on disk where they are many."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ftlab.data.chunks import chunks
from ftlab.data.token_cache import Piece, entry_for, flat, kept

MANY = 20_000
"""From how many texts on the ids are kept on disk."""
SLICE = 1 << 20


@dataclass(frozen=True, eq=False)
class Tokens:
    """The token ids of many texts, one text after another.

    >>> tokens = Tokens(np.array([5, 6, 7], np.int32), np.array([0, 1, 3]), pad=0)
    >>> tokens.batch([1, 0])["input_ids"].tolist()
    [[6, 7], [5, 0]]
    """

    ids: NDArray[np.int32]
    """All ids; those of a row stand from ``starts[row]`` to ``starts[row + 1]``."""
    starts: NDArray[np.int64]
    """Where each row begins; one more than there are rows."""
    pad: int
    """The id that fills up the shorter rows of a batch."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, row: int) -> NDArray[np.int32]:
        if not 0 <= row < len(self):
            raise IndexError(row)
        return self.ids[self.starts[row] : self.starts[row + 1]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The number of tokens of each row."""
        return np.diff(self.starts)

    def count(self, token: int) -> int:
        """Return how often a token stands in all rows together."""
        parts = (self.ids[start : start + SLICE] for start in range(0, len(self.ids), SLICE))
        return int(sum(np.count_nonzero(part == token) for part in parts))

    def batch(self, rows: Sequence[int]) -> dict[str, Tensor]:
        """Return some rows as tensors, padded on the right to the longest of them."""
        places = np.asarray(rows, dtype=np.int64)
        starts = self.starts[places, None]
        lengths = self.starts[places + 1, None] - starts
        columns = np.arange(lengths.max())
        filled = columns < lengths
        ids = np.full(filled.shape, self.pad, dtype=np.int64)
        ids[filled] = self.ids[(starts + columns)[filled]]
        return {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(filled.astype(np.int64))}


def tokenise(tokenizer: Any, texts: Sequence[str], max_length: int) -> tuple[Tokens, int]:
    """Return the ids that ``tokenizer(texts, truncation=True, max_length=max_length)`` gives, and how many texts are cut.

    From 20,000 texts on, the ids are kept in the folder ``$FTLAB_CACHE`` (``~/.cache/ftlab/tokens`` where it is not
    set), are found there by the content of texts and tokenizer the next time, and are read from there as they are
    needed. Fewer texts, those of a tokenizer that cannot be written down, and all of them with ``FTLAB_CACHE=off`` or
    where the folder cannot be written, stay in memory. The tokenizer's own settings stay as they are.

    Args:
        tokenizer: One of ``transformers``.
        texts: A list, or a column of a ``datasets.Dataset``.
        max_length: The most tokens that a text keeps.
    """
    with _encoding(tokenizer, max_length) as encode:
        entry = None
        if len(texts) >= MANY:
            settings = _written_down(tokenizer, max_length)
            entry = entry_for(settings, chunks(texts)) if settings else None
        found = kept(entry, len(texts), lambda: map(encode, chunks(texts))) if entry else None
        ids, starts, cut = found or flat(map(encode, chunks(texts)))
    return Tokens(ids, starts, tokenizer.pad_token_id), cut


@contextmanager
def _encoding(tokenizer: Any, max_length: int) -> Iterator[Callable[[list[str]], Piece]]:
    """Set truncation and padding as a call of the tokenizer does, give what encodes a chunk, and put them back."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        yield lambda texts: _slowly(tokenizer, texts, max_length)
        return
    truncation, padding, special = backend.truncation, backend.padding, backend.encode_special_tokens
    encode = getattr(backend, "encode_batch_fast", backend.encode_batch)
    try:
        backend.no_padding()
        backend.enable_truncation(max_length, stride=0, strategy="longest_first", direction=tokenizer.truncation_side)
        backend.encode_special_tokens = tokenizer.split_special_tokens
        yield lambda texts: _quickly(encode, texts, max_length)
    finally:
        backend.encode_special_tokens = special
        backend.enable_padding(**padding) if padding else backend.no_padding()
        backend.enable_truncation(**truncation) if truncation else backend.no_truncation()


def _quickly(encode: Callable[[list[str]], list[Any]], texts: list[str], max_length: int) -> Piece:
    encodings = encode(texts)
    cut = sum(len(one) > max_length or bool(one.overflowing) for one in encodings)
    return _piece([one.ids for one in encodings], cut)


def _slowly(tokenizer: Any, texts: list[str], max_length: int) -> Piece:
    ids = tokenizer(texts, verbose=False)["input_ids"]
    long = [row for row, one in enumerate(ids) if len(one) > max_length]
    if long:
        short = tokenizer([texts[row] for row in long], truncation=True, max_length=max_length)["input_ids"]
        for row, one in zip(long, short, strict=True):
            ids[row] = one
    return _piece(ids, len(long))


def _piece(rows: list[list[int]], cut: int) -> Piece:
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    return np.fromiter(chain.from_iterable(rows), np.int32, int(lengths.sum())), lengths, cut


def _written_down(tokenizer: Any, max_length: int) -> str | None:
    """Return as text all that the ids of a text depend on, or nothing where a part of the tokenizer is Python code."""
    try:
        whole = tokenizer.backend_tokenizer.to_str()
    except Exception:  # of the Rust library, which has no narrower one
        return None
    return json.dumps([whole, version("tokenizers"), tokenizer.split_special_tokens, max_length])
