"""Signals end a command, however many of them come at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from agent.commands.process import stop_on_signals


class CountedClock:
    """Remembers who stopped it, and is signalled once more while that happens."""

    def __init__(self) -> None:
        self.stopped_by: list[threading.Thread] = []
        self.done = threading.Event()

    def stop(self) -> None:
        self.stopped_by.append(threading.current_thread())
        if len(self.stopped_by) == 1:
            signal.raise_signal(signal.SIGTERM)
        self.done.set()


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_clock(number: signal.Signals) -> None:
    clock = CountedClock()
    stop_on_signals(clock)
    signal.raise_signal(number)
    assert clock.done.wait(5.0)


def test_a_signal_within_a_signal_is_not_handled_inside_the_stop_that_it_interrupts() -> None:
    clock = CountedClock()
    stop_on_signals(clock)
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGINT)
    assert clock.done.wait(5.0)
    assert len(clock.stopped_by) == 1, "once is enough; twice at a time can wait for itself"
    assert clock.stopped_by[0] is not threading.main_thread(), "the main thread may hold the clock's lock"
