"""Go through long columns a chunk at a time, so that memory does not grow with the rows."""

from collections.abc import Iterator, Sequence
from typing import Any

CHUNK = 2_000
"""How many rows are in memory at a time."""


def chunks(values: Sequence[Any]) -> Iterator[list[Any]]:
    """Yield the values of a list, or of a column of a ``datasets.Dataset``, in lists of at most ``CHUNK``.

    >>> [len(one) for one in chunks(range(5_000))]
    [2000, 2000, 1000]
    """
    for start in range(0, len(values), CHUNK):
        yield list(values[start : start + CHUNK])
