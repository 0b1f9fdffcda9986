"""A thread that asks one endpoint at its own pace and keeps the latest answer."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from agent.ports import Clock

T = TypeVar("T")
log = logging.getLogger("joulecar")


class Cell(Generic[T]):
    """One slot: the latest value, taken once."""

    def __init__(self) -> None:
        self._value: T | None = None
        self._lock = threading.Lock()

    def put(self, value: T) -> None:
        with self._lock:
            self._value = value

    def take(self) -> T | None:
        """The value if it is new since the last take, else None."""
        with self._lock:
            value, self._value = self._value, None
            return value


class Poller(Generic[T]):
    """Calls ask() every every_s on absolute deadlines: one call in flight, whole beats are skipped after a slow
    one. ask() must not raise; if it does, that is logged and the next beat tries again."""

    def __init__(self, name: str, ask: Callable[[], T], clock: Clock, every_s: float) -> None:
        self.cell: Cell[T] = Cell()
        self._ask = ask
        self._clock = clock
        self._every_s = every_s
        self._thread = threading.Thread(target=self._run, name=f"poll-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def _run(self) -> None:
        deadline_s = self._clock.now().mono_s
        while self._clock.wait_until(deadline_s):
            try:
                self.cell.put(self._ask())
            except Exception:
                # A poller that dies would silently freeze its engine; the next beat may work.
                log.exception("poller failed")
            deadline_s = next_deadline(deadline_s, self._clock.now().mono_s, self._every_s)


def next_deadline(last_s: float, now_s: float, every_s: float) -> float:
    """The first multiple of every_s after last_s that is still ahead: no drift, no queue of missed beats."""
    missed = max(0, int((now_s - last_s) // every_s))
    return last_s + (missed + 1) * every_s
