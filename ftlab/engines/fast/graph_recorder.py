"""Record the kernels of a run as a CUDA graph, and launch them all at once."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch

Run = Callable[[], None]


class Recorder:
    """Records runs as CUDA graphs. All graphs share one memory pool, since they never run at the same time."""

    def __init__(self) -> None:
        self.stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self.first: Any = None
        """The first graph, which keeps the shared memory pool alive."""

    def warm(self, run: Run) -> None:
        """Run once on the recording stream, since one-time initialisation must not be part of a recording."""
        self._on_own_stream(run)

    def record(self, run: Run) -> Run:
        """Record a run without executing it; return the function that replays it."""
        pool = {"pool": self.first.pool()} if self.first else {}
        try:
            graph = self._capture(run, **pool)
        except Exception:
            with suppress(Exception):  # a failed capture leaves traces in the generator; a complete one clears them
                self._capture(lambda: None)
            raise
        self.first = self.first or graph
        return graph.replay  # type: ignore[no-any-return]

    def _capture(self, run: Run, **pool: Any) -> Any:
        graph: Any = torch.cuda.CUDAGraph()

        def capture() -> None:
            graph.capture_begin(**pool)
            try:
                run()
            except BaseException:
                with suppress(Exception):
                    graph.capture_end()
                raise
            graph.capture_end()

        self._on_own_stream(capture)
        return graph

    def _on_own_stream(self, run: Run) -> None:
        self.stream.wait_stream(torch.cuda.current_stream())
        try:
            with torch.cuda.stream(self.stream):
                run()
        finally:
            torch.cuda.current_stream().wait_stream(self.stream)
