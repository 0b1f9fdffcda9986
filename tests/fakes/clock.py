"""A clock that stands still until a test moves it."""

from __future__ import annotations

from agent.model import Instant


class FakeClock:
    def __init__(self, mono_s: float = 100.0, wall_s: float = 1_790_000_000.0) -> None:
        self._now = Instant(mono_s, wall_s)

    def now(self) -> Instant:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now = self._now.plus(seconds)

    def wait_until(self, mono_s: float) -> bool:
        self.advance(max(0.0, mono_s - self._now.mono_s))
        return True
