"""The first Ctrl-C is a request to stop, the second stops at once; the handlers of before come back."""

import os
import signal
import threading

import pytest

from ftlab.errors import InterruptionError
from ftlab.training.signals import stop_requests

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_a_request_and_the_second_stops_at_once(number, capsys):
    with stop_requests() as requests:
        assert requests == []
        os.kill(os.getpid(), number)
        assert requests == [number]
        assert "stopping at the next safe point" in capsys.readouterr().err
        with pytest.raises(InterruptionError, match="stopped at once. Files that were saved before are complete"):
            os.kill(os.getpid(), number)
    assert requests == [number]


@pytest.mark.parametrize("error", [None, RuntimeError])
def test_the_handlers_of_before_come_back(error):
    before = [signal.getsignal(number) for number in SIGNALS]
    try:
        with stop_requests():
            assert [signal.getsignal(number) for number in SIGNALS] != before
            if error:
                raise error
    except RuntimeError:
        pass
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_in_another_thread_no_handler_is_set():
    before, seen = signal.getsignal(signal.SIGINT), []

    def train():
        with stop_requests() as requests:
            seen.append((requests, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert seen == [([], before)]
