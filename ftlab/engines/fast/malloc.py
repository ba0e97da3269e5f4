"""Keep the memory that a step frees for the next step, instead of returning it to the system page by page."""

import ctypes
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
"""The codes of glibc's settings, from its ``malloc.h``."""
USUAL = {MMAP_THRESHOLD: 32 << 20, TRIM_THRESHOLD: 64 << 20, TOP_PAD: 0}
"""The values that glibc itself adapts to in a process that frees large blocks; once set, they are no longer adapted."""
SETTINGS = {
    "MALLOC_MMAP_THRESHOLD_": 1 << 30,
    "MALLOC_TRIM_THRESHOLD_": 2**31 - 1,
    "MALLOC_TOP_PAD_": 1 << 26,
}
"""The same settings as environment variables, for a process that has not started."""


def can_keep() -> bool:
    """Return whether this process uses glibc's allocator, which can be set to keep memory.

    >>> isinstance(can_keep(), bool)
    True
    """
    return sys.platform == "linux" and platform.libc_ver()[0] == "glibc"


@contextmanager
def kept_memory() -> Iterator[None]:
    """Keep freed memory in the process while the context lasts; then return it and restore the usual limits.

    Each step allocates and frees the same large blocks. By default glibc returns such blocks to the system, which clears
    every page before the next allocation. With another allocator this does nothing.
    """
    if not can_keep():
        yield
        return
    libc = ctypes.CDLL(None)
    for number, value in zip((MMAP_THRESHOLD, TRIM_THRESHOLD, TOP_PAD), SETTINGS.values(), strict=True):
        if not libc.mallopt(number, value):  # an older glibc has a limit
            libc.mallopt(number, USUAL[number])
    try:
        yield
    finally:
        for number, value in USUAL.items():
            libc.mallopt(number, value)
        libc.malloc_trim(0)
