"""Polling threads and their cells."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from agent.model import Instant
from agent.poll import Cell, Poller, next_deadline


class Beats:
    """A clock that lets a poller run so many beats, then stops it. Each beat's work takes takes_s."""

    def __init__(self, beats: int) -> None:
        self.waits: list[float] = []
        self._left = beats
        self._now_s = 100.0

    def now(self) -> Instant:
        return Instant(self._now_s, self._now_s)

    def wait_until(self, mono_s: float) -> bool:
        self.waits.append(mono_s)
        self._left -= 1
        self._now_s = max(self._now_s, mono_s)
        return self._left >= 0

    def work(self, seconds: float) -> None:
        self._now_s += seconds


def test_a_cell_gives_each_value_once() -> None:
    cell: Cell[int] = Cell()
    assert cell.take() is None
    cell.put(1)
    cell.put(2)
    assert cell.take() == 2
    assert cell.take() is None


def test_a_poller_keeps_its_beat_whatever_its_work_takes() -> None:
    clock = Beats(4)
    poller = Poller("test", lambda: clock.work(0.3), clock, 5.0)
    poller.start()
    poller.join(5.0)
    assert clock.waits == [100.0, 105.0, 110.0, 115.0, 120.0]


def test_a_poller_skips_whole_beats_after_a_slow_answer() -> None:
    clock = Beats(3)
    poller = Poller("test", lambda: clock.work(12.0), clock, 5.0)
    poller.start()
    poller.join(5.0)
    assert clock.waits == [100.0, 115.0, 130.0, 145.0]


def test_a_poller_outlives_an_ask_that_raises() -> None:
    clock = Beats(3)
    asked: list[int] = []

    def ask() -> int:
        asked.append(1)
        if len(asked) == 1:
            raise RuntimeError("surprise")
        return len(asked)

    poller = Poller("test", ask, clock, 1.0)
    poller.start()
    poller.join(5.0)
    assert len(asked) == 3
    assert poller.cell.take() == 3


def test_no_thread_starts_before_start() -> None:
    before = threading.active_count()
    Poller("test", lambda: None, Beats(1), 1.0)
    assert threading.active_count() == before


@given(st.floats(0, 1e6), st.floats(0, 1e4), st.floats(0.1, 60))
def test_the_next_deadline_is_ahead_on_the_grid_and_at_most_one_beat_away(
    last: float, late: float, every: float
) -> None:
    now = last + late
    following = next_deadline(last, now, every)
    beats = (following - last) / every
    assert abs(beats - round(beats)) < 1e-6
    assert now - 1e-6 <= following <= now + every + 1e-6
