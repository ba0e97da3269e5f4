"""A live progress bar in a terminal and in a notebook; elsewhere a line an epoch."""

import os
import sys
import time
from typing import Any

Record = dict[str, Any]


class Progress:
    """Counts samples; shows the loss, the learning rate, samples per second and the time left."""

    def __init__(self, samples: int, done: int, shown: bool | None) -> None:
        from tqdm.auto import tqdm

        self._lines = (shown is None and not in_notebook()) or bool(shown)
        shown = watched() if shown is None else shown
        form = "{l_bar}{bar}| {n_fmt}/{total_fmt} samples, {rate_fmt}, {remaining} left{postfix}"
        self._bar = tqdm(
            total=samples, initial=done, disable=not shown, unit=" samples", desc="fine-tuning", bar_format=form
        )
        self._last = 0.0

    def update(self, record: Record) -> None:
        """Move on by one step; the numbers beside the bar change at most ten times a second."""
        now = time.monotonic()
        if now - self._last > 0.1:
            self._bar.set_postfix_str(f"loss {record['loss']:.3f}, lr {record['lr']:.1e}", refresh=False)
            self._last = now
        self._bar.update(record["samples"])

    def say(self, line: str) -> None:
        """Print a line about an epoch: above the bar in a terminal, alone where no terminal is attached."""
        if self._lines and not in_notebook():
            self._bar.write(line, file=sys.stderr)
            sys.stderr.flush()

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._bar.close()


def count_runs(total: int | None) -> Any:
    """Return a bar that counts whole runs, silent where nobody watches: ``update()`` moves it on, ``close()`` ends it."""
    from tqdm.auto import tqdm

    return tqdm(total=total, disable=not watched(), unit=" runs", desc="fine-tuning")


def watched() -> bool:
    """Return whether somebody may be watching."""
    return (in_notebook() or sys.stderr.isatty()) and os.environ.get("TQDM_DISABLE", "0") in ("", "0")


def in_notebook() -> bool:
    """Return whether this runs in a Jupyter kernel."""
    ipython = sys.modules.get("IPython")
    return bool(ipython and getattr(ipython.get_ipython(), "kernel", None))
