"""Tokenise texts in chunks into one flat array of token ids, which is cached on disk if there are many texts."""

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
from ftlab.data.token_cache import Piece, cached, concatenate, entry_path

MANY = 20_000
"""Number of texts from which on their ids are cached on disk."""
SLICE = 1 << 20
"""Number of ids that :meth:`Tokens.count` reads at a time."""


@dataclass(frozen=True, eq=False)
class Tokens:
    """The concatenated token ids of many texts.

    >>> tokens = Tokens(np.array([5, 6, 7], np.int32), np.array([0, 1, 3]), pad=0)
    >>> tokens.batch([1, 0])["input_ids"].tolist()
    [[6, 7], [5, 0]]
    """

    ids: NDArray[np.int32]
    """All ids; row ``i`` has ``ids[starts[i] : starts[i + 1]]``."""
    starts: NDArray[np.int64]
    """The index at which each row begins, and the total number of ids at the end."""
    pad: int
    """The id of the padding token."""

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
        """Return the number of occurrences of a token id in all rows."""
        slices = (self.ids[start : start + SLICE] for start in range(0, len(self.ids), SLICE))
        return int(sum(np.count_nonzero(ids == token) for ids in slices))

    def batch(self, rows: Sequence[int]) -> dict[str, Tensor]:
        """Return the given rows as ``input_ids`` and ``attention_mask``, padded on the right to the longest row."""
        indices = np.asarray(rows, dtype=np.int64)
        starts = self.starts[indices, None]
        lengths = self.starts[indices + 1, None] - starts
        columns = np.arange(lengths.max())
        mask = columns < lengths
        ids = np.full(mask.shape, self.pad, dtype=np.int64)
        ids[mask] = self.ids[(starts + columns)[mask]]
        return {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask.astype(np.int64))}


def tokenise(tokenizer: Any, texts: Sequence[str], max_length: int) -> tuple[Tokens, int]:
    """Return the ids of ``tokenizer(texts, truncation=True, max_length=max_length)``, and the number of truncated texts.

    From 20,000 texts on, the ids are cached in the folder ``$FTLAB_CACHE`` (by default ``~/.cache/ftlab/tokens``) under
    a hash of texts and tokenizer, and are memory-mapped from there. The ids stay in memory if there are fewer texts, if
    the tokenizer cannot be serialised, if the folder cannot be written, or with ``FTLAB_CACHE=off``. The tokenizer's
    own truncation and padding settings are restored afterwards.

    Args:
        tokenizer: A tokenizer of ``transformers``.
        texts: A list, or a column of a ``datasets.Dataset``.
        max_length: Maximum number of tokens per text.
    """
    with _chunk_encoder(tokenizer, max_length) as encode:
        entry = None
        if len(texts) >= MANY:
            settings = _settings_text(tokenizer, max_length)
            entry = entry_path(settings, chunks(texts)) if settings else None
        arrays = cached(entry, len(texts), lambda: map(encode, chunks(texts))) if entry else None
        ids, starts, cut = arrays or concatenate(map(encode, chunks(texts)))
    return Tokens(ids, starts, tokenizer.pad_token_id), cut


@contextmanager
def _chunk_encoder(tokenizer: Any, max_length: int) -> Iterator[Callable[[list[str]], Piece]]:
    """Yield a function that encodes a chunk; set truncation and padding for it, and restore them afterwards."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        yield lambda texts: _encode_slow(tokenizer, texts, max_length)
        return
    truncation, padding, special = backend.truncation, backend.padding, backend.encode_special_tokens
    encode = getattr(backend, "encode_batch_fast", backend.encode_batch)
    try:
        backend.no_padding()
        backend.enable_truncation(max_length, stride=0, strategy="longest_first", direction=tokenizer.truncation_side)
        backend.encode_special_tokens = tokenizer.split_special_tokens
        yield lambda texts: _encode_fast(encode, texts, max_length)
    finally:
        backend.encode_special_tokens = special
        backend.enable_padding(**padding) if padding else backend.no_padding()
        backend.enable_truncation(**truncation) if truncation else backend.no_truncation()


def _encode_fast(encode: Callable[[list[str]], list[Any]], texts: list[str], max_length: int) -> Piece:
    encodings = encode(texts)
    cut = sum(len(encoding) > max_length or bool(encoding.overflowing) for encoding in encodings)
    return _as_piece([encoding.ids for encoding in encodings], cut)


def _encode_slow(tokenizer: Any, texts: list[str], max_length: int) -> Piece:
    rows = tokenizer(texts, verbose=False)["input_ids"]
    too_long = [index for index, ids in enumerate(rows) if len(ids) > max_length]
    if too_long:
        truncated = tokenizer([texts[index] for index in too_long], truncation=True, max_length=max_length)["input_ids"]
        for index, ids in zip(too_long, truncated, strict=True):
            rows[index] = ids
    return _as_piece(rows, len(too_long))


def _as_piece(rows: list[list[int]], cut: int) -> Piece:
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    return np.fromiter(chain.from_iterable(rows), np.int32, int(lengths.sum())), lengths, cut


def _settings_text(tokenizer: Any, max_length: int) -> str | None:
    """Return everything that determines a text's ids, as text; None if a part of the tokenizer is Python code."""
    try:
        serialised = tokenizer.backend_tokenizer.to_str()
    except Exception:  # the Rust library raises nothing narrower
        return None
    return json.dumps([serialised, version("tokenizers"), tokenizer.split_special_tokens, max_length])
