"""A progress bar in a terminal or notebook; elsewhere one line per epoch."""

import os
import sys
import time
from typing import Any

Record = dict[str, Any]


class Progress:
    """A bar that counts samples and shows the loss, the learning rate, samples per second and the time left."""

    def __init__(self, samples: int, done: int, shown: bool | None) -> None:
        from tqdm.auto import tqdm

        self._lines = (shown is None and not in_notebook()) or bool(shown)
        shown = is_interactive() if shown is None else shown
        bar_format = "{l_bar}{bar}| {n_fmt}/{total_fmt} samples, {rate_fmt}, {remaining} left{postfix}"
        self._bar = tqdm(
            total=samples, initial=done, disable=not shown, unit=" samples", desc="fine-tuning", bar_format=bar_format
        )
        self._last = 0.0

    def update(self, record: Record) -> None:
        """Count the samples of one step; the numbers beside the bar are updated at most ten times a second."""
        now = time.monotonic()
        if now - self._last > 0.1:
            self._bar.set_postfix_str(f"loss {record['loss']:.3f}, lr {record['lr']:.1e}", refresh=False)
            self._last = now
        self._bar.update(record["samples"])

    def say(self, line: str) -> None:
        """Print a line about an epoch, above the bar if there is one; in a notebook, print nothing."""
        if self._lines and not in_notebook():
            self._bar.write(line, file=sys.stderr)
            sys.stderr.flush()

    def close(self) -> None:
        """Stop the bar and leave it as it is."""
        self._bar.close()


def count_runs(total: int | None) -> Any:
    """Return a tqdm bar that counts runs; it is hidden unless the session is interactive."""
    from tqdm.auto import tqdm

    return tqdm(total=total, disable=not is_interactive(), unit=" runs", desc="fine-tuning")


def is_interactive() -> bool:
    """Return whether a notebook or terminal is attached and tqdm is not disabled."""
    return (in_notebook() or sys.stderr.isatty()) and os.environ.get("TQDM_DISABLE", "0") in ("", "0")


def in_notebook() -> bool:
    """Return whether this runs in a Jupyter kernel."""
    ipython = sys.modules.get("IPython")
    return bool(ipython and getattr(ipython.get_ipython(), "kernel", None))
