"""Stop a training by Ctrl-C at a place where nothing is lost."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ftlab.errors import InterruptionError


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """On the first SIGINT or SIGTERM, fill the list, so that the loop stops after the current step; stop at once on the second."""
    requests: list[int] = []

    def handle(number: int, frame: Any) -> None:
        if requests:
            raise InterruptionError("finetune: stopped at once. What was saved before this moment is whole.")
        requests.append(number)
        print("\nstopping at the next safe place; once more stops at once", file=sys.stderr)

    if threading.current_thread() is not threading.main_thread():
        yield requests
        return
    before = {one: signal.signal(one, handle) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield requests
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
