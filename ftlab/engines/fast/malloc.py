"""Keep the memory that one step frees for the next one, instead of handing it back and getting it again page by page."""

import ctypes
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
"""The numbers of glibc's settings, from its ``malloc.h``."""
USUAL = {MMAP_THRESHOLD: 32 << 20, TRIM_THRESHOLD: 64 << 20, TOP_PAD: 0}
"""Where glibc's own rule takes them in a process that has freed large blocks; once set, they no longer move by it."""
SETTINGS = {
    "MALLOC_MMAP_THRESHOLD_": 1 << 30,
    "MALLOC_TRIM_THRESHOLD_": 2**31 - 1,
    "MALLOC_TOP_PAD_": 1 << 26,
}
"""The same settings as variables of the environment, for a process that is yet to start."""


def can_keep() -> bool:
    """Say whether the allocator of this process is glibc's, which can be told to keep memory.

    >>> isinstance(can_keep(), bool)
    True
    """
    return sys.platform == "linux" and platform.libc_ver()[0] == "glibc"


@contextmanager
def kept_memory() -> Iterator[None]:
    """Keep freed memory in the process while the context lasts; then give it back, and keep no more than usual.

    A step frees and asks for the same large blocks as the one before. By itself glibc hands such blocks back to the
    system, which clears every page before it gives it out again. Under another allocator nothing is changed.
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
