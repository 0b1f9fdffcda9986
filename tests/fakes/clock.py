"""A clock that stands still until a test moves it."""

from __future__ import annotations

import threading

from agent.model import Instant


class FakeClock:
    """Waiting moves it at once to the moment waited for. Threads may share it."""

    def __init__(self, mono_s: float = 100.0, wall_s: float = 1_790_000_000.0) -> None:
        self._lock = threading.Lock()
        self._now = Instant(mono_s, wall_s)
        self._stopped = False

    def now(self) -> Instant:
        return self._now

    def advance(self, seconds: float) -> None:
        with self._lock:
            self._now = self._now.plus(seconds)

    def set_wall(self, wall_s: float) -> None:
        """As if somebody set the machine's clock: the monotonic one goes on."""
        with self._lock:
            self._now = Instant(self._now.mono_s, wall_s)

    def wait_until(self, mono_s: float) -> bool:
        """False once stop() was called, as of the real clock."""
        with self._lock:
            if not self._stopped:
                self._now = self._now.plus(max(0.0, mono_s - self._now.mono_s))
            return not self._stopped

    def stop(self) -> None:
        self._stopped = True
