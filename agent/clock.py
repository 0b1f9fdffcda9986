"""Time, read in this one place."""

from __future__ import annotations

import threading
import time

from agent.model import Instant


class SystemClock:
    """The machine's clock. stop() wakes whoever waits."""

    def __init__(self) -> None:
        self._stop = threading.Event()

    def now(self) -> Instant:
        return Instant(time.monotonic(), time.time())

    def wait_until(self, mono_s: float) -> bool:
        """Sleep until mono_s. False: the clock was stopped, do not go on."""
        return not self._stop.wait(max(0.0, mono_s - time.monotonic()))

    def stop(self) -> None:
        self._stop.set()
