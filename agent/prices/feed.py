"""Asks one source of day-ahead prices once an hour, and keeps what it said of the last two days.

Polite as agent/grids/feed.py is, with the same pace. An outage costs nothing as long as prices are known ahead; after
that energy has no cost, which is counted: a price that is over is not the price of the next hour.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Sequence
from typing import Protocol

from agent.cost import in_force
from agent.errors import ReadFailed, Unavailable
from agent.grids.feed import Pace
from agent.grids.payload import PayloadError
from agent.health import Health
from agent.model import EnergyPrice, Instant, Part
from agent.ports import Clock

HOUR_S = 3600.0
EVERY_S = HOUR_S
KEEP_S = 48 * HOUR_S
BACK_S = 2 * HOUR_S  # energy that waited is charged at its own hour
AHEAD_S = 2 * HOUR_S
REDRAW_S = HOUR_S / 2


class PriceProvider(Protocol):
    """Tells the prices of one zone."""

    @property
    def name(self) -> str: ...

    def fetch(self, now: Instant) -> tuple[EnergyPrice, ...]:
        """Prices around now, in order, none over another. Raises Unavailable or ReadFailed."""
        ...


class PriceFeed:
    """step() is called by one thread every few seconds; known() by the loop at every tick."""

    def __init__(self, provider: PriceProvider, pace: Pace, clock: Clock, health: Health) -> None:
        self._provider = provider
        self._pace = pace
        self._clock = clock
        self._health = health
        self._told: tuple[EnergyPrice, ...] = ()
        self._known: tuple[EnergyPrice, ...] = ()
        self._due_s = float("-inf")
        self._drawn_s = float("-inf")
        self._failures = 0
        self._over = False
        self._lock = threading.Lock()

    @property
    def part(self) -> str:
        """The name of its part: the same provider may tell intensities as well."""
        return part_name(self._provider.name)

    def known(self, _: Instant) -> tuple[EnergyPrice, ...]:
        """The prices of the hours around now; no thinking, no I/O."""
        with self._lock:
            return self._known

    def history(self) -> tuple[EnergyPrice, ...]:
        """All that was told of the last two days and of the time to come."""
        with self._lock:
            return self._told

    def step(self) -> None:
        """Ask if it is time to, and see to it that what is known reaches far enough. Never raises on purpose."""
        now = self._clock.now()
        if not self._over and now.mono_s >= self._due_s:
            self._ask(now)
        if now.wall_s >= self._drawn_s + REDRAW_S or now.wall_s < self._drawn_s:
            self._draw(now, self._told)

    def _ask(self, now: Instant) -> None:
        try:
            told = self._provider.fetch(now)
        except Unavailable as e:
            self._over = True
            self._health.failed(Part.GRID, self.part, e.reason, e.fix)
            return
        except ReadFailed as e:
            self._failures += 1
            self._due_s = now.mono_s + self._pace.after_failures_s(self._failures, e.retry_after_s)
            if isinstance(e, PayloadError):
                self._health.refused(self.part, e.field, e.why)
            self._health.failed(Part.GRID, self.part, e.reason)
            return
        self._failures = 0
        self._due_s = now.mono_s + self._pace.after_success_s()
        self._draw(now, remember(self._told, told, now.wall_s))
        if in_force(self.history(), now.wall_s) is None:
            self._health.failed(Part.GRID, self.part, f"{self._provider.name}: no price of this hour among those told")
        else:
            self._health.ok(Part.GRID, self.part, now.wall_s)

    def _draw(self, now: Instant, told: tuple[EnergyPrice, ...]) -> None:
        self._drawn_s = now.wall_s
        start_s, end_s = now.wall_s - BACK_S, now.wall_s + AHEAD_S
        known = tuple(e for e in told if e.valid_to_s > start_s and e.valid_from_s < end_s)
        with self._lock:
            self._told, self._known = told, known


def part_name(provider: str) -> str:
    return f"{provider}_price"


def remember(old: Sequence[EnergyPrice], told: Sequence[EnergyPrice], now_s: float) -> tuple[EnergyPrice, ...]:
    """What is known after an answer: the new prices take the place of the old ones of the same time. In order, and
    of the last two days and the time to come alone. told: in order, none over another."""
    starts = [entry.valid_from_s for entry in told]

    def told_anew(entry: EnergyPrice) -> bool:
        i = bisect_left(starts, entry.valid_to_s)  # the first that begins when this one is over
        return i > 0 and told[i - 1].valid_to_s > entry.valid_from_s

    kept = [entry for entry in old if not told_anew(entry)]
    fresh = [entry for entry in (*kept, *told) if entry.valid_to_s > now_s - KEEP_S]
    return tuple(sorted(fresh, key=lambda entry: entry.valid_from_s))
