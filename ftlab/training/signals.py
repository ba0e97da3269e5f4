"""Stop a training on Ctrl-C at a point from which it can be resumed."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ftlab.errors import InterruptionError


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """Yield a list to which the first SIGINT or SIGTERM adds its number, so that the caller can stop at a safe point.

    Outside the main thread, signals are not handled.

    Raises:
        InterruptionError: At once, on a second signal.
    """
    requests: list[int] = []

    def handle(number: int, frame: Any) -> None:
        if requests:
            raise InterruptionError("finetune: stopped at once. Files that were saved before are complete.")
        requests.append(number)
        print("\nstopping at the next safe point; press Ctrl-C again to stop at once", file=sys.stderr)

    if threading.current_thread() is not threading.main_thread():
        yield requests
        return
    handlers = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield requests
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
