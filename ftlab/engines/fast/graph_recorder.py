"""Record what a GPU is asked for, as a CUDA graph, and ask for all of it again at once."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch

Run = Callable[[], None]


class Recorder:
    """Records what a GPU is asked for, in memory that all recordings of a training share: they never run at once."""

    def __init__(self) -> None:
        self.stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self.first: Any = None
        """The first recording; while it lives, so does the memory that the others share."""

    def warm(self, run: Run) -> None:
        """Run something for the first time where it is going to be recorded: what it sets up must not be in a recording."""
        self._aside(run)

    def record(self, run: Run) -> Run:
        """Record a run, without the GPU doing anything; return what replays it."""
        pool = {"pool": self.first.pool()} if self.first else {}
        try:
            graph = self._captured(run, **pool)
        except Exception:
            with suppress(
                Exception
            ):  # a capture that broke off leaves its marks in the generator; a whole one clears them
                self._captured(lambda: None)
            raise
        self.first = self.first or graph
        return graph.replay  # type: ignore[no-any-return]

    def _captured(self, run: Run, **pool: Any) -> Any:
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

        self._aside(capture)
        return graph

    def _aside(self, run: Run) -> None:
        self.stream.wait_stream(torch.cuda.current_stream())
        try:
            with torch.cuda.stream(self.stream):
                run()
        finally:
            torch.cuda.current_stream().wait_stream(self.stream)
