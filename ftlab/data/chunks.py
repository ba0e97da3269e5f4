"""Read long columns in chunks, so that memory use does not grow with the number of rows."""

from collections.abc import Iterator, Sequence
from typing import Any

CHUNK = 2_000
"""Number of rows in memory at a time."""


def chunks(values: Sequence[Any]) -> Iterator[list[Any]]:
    """Yield the values of a list or of a ``datasets.Dataset`` column in lists of at most ``CHUNK`` values.

    >>> [len(chunk) for chunk in chunks(range(5_000))]
    [2000, 2000, 1000]
    """
    for start in range(0, len(values), CHUNK):
        yield list(values[start : start + CHUNK])
