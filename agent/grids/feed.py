"""Asks one live provider at its own pace, and keeps the best that is known of every hour.

Polite: the provider's own cadence, never more often; after a failure Retry-After, else a wait that doubles; jitter,
so that a thousand agents do not ask at the same second; an answer that is final (no such zone, gone, key refused)
is not asked for again.

One feed asks one provider. Of several live names in grid.providers the first alone is asked, so a source that is a day
late (eia) stands in the list instead of a live one, not behind it: the last hours then stand on the ladder's rungs
until they are told, and final() has them when they are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent.errors import JoulecarError, ReadFailed, Unavailable
from agent.grids.history import HOUR_S, History, final, remember, series_of
from agent.grids.keep import Keep
from agent.grids.ladder import timeline
from agent.grids.payload import PayloadError, Why, bad
from agent.grids.store import Broken
from agent.health import Health
from agent.model import GridIntensity, Instant, Part
from agent.ports import Clock, GridProvider, Lacking

BACK_S = 2 * HOUR_S  # energy that waited is priced at its own hour
AHEAD_S = 2 * HOUR_S
FIRST_RETRY_S = 60.0
LONGEST_RETRY_S = 1800.0
JITTER = 0.1
STATE = "state"


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a provider is asked. jitter() gives 0..1."""

    every_s: float
    jitter: Callable[[], float]

    def after_success_s(self) -> float:
        return self.every_s * (1 + JITTER * self.jitter())

    def after_failures_s(self, failures: int, retry_after_s: float | None) -> float:
        """failures: in a row, this one included."""
        doubled_s = min(LONGEST_RETRY_S, max(FIRST_RETRY_S, self.every_s / 4) * 2.0 ** min(failures - 1, 10))
        return max(doubled_s, retry_after_s or 0.0) * (1 + JITTER * self.jitter())


class Feed:
    """step() is called by one thread every few seconds; known() and final() by the loop at every tick.

    constant: what stands in while nothing else is known, a fixed or yearly figure; None: nothing then.
    keep: where the history outlives a restart; None: nowhere.
    signal: "average" or "marginal" where only that one may come from here: an answer of the other is a failure, and
    a constant of the other is not taken. None: whichever the provider tells.
    """

    def __init__(
        self,
        provider: GridProvider,
        zone: str,
        constant: GridIntensity | None,
        pace: Pace,
        clock: Clock,
        health: Health,
        keep: Keep | None = None,
        signal: str | None = None,
    ) -> None:
        self._provider = provider
        self._zone = zone
        self._signal = signal
        self._constant = constant if constant is not None and signal in (None, constant.signal) else None
        self._pace = pace
        self._clock = clock
        self._health = health
        self._keep_on_disk = keep
        self._history = self._kept()
        self._due_s = float("-inf")
        self._drawn_s = float("-inf")
        self._failures = 0
        self._over = False
        self._known: tuple[GridIntensity, ...] = () if self._constant is None else (self._constant,)
        self._final: tuple[GridIntensity, ...] = () if self._history is None else final(self._history)
        self._lock = threading.Lock()
        self._draw(clock.now())  # what was kept holds before the first answer

    def known(self, _: Instant) -> tuple[GridIntensity, ...]:
        """Every intensity that may be needed now; no thinking, no I/O."""
        with self._lock:
            return self._known

    def final(self) -> tuple[GridIntensity, ...]:
        """What was measured or estimated of the last 9 days, as it was told last, by time. The same object until
        an answer says something else, so that who settles with it can tell by `is` that there is nothing to do."""
        with self._lock:
            return self._final

    def step(self) -> None:
        """Ask if it is time to, and see to it that what is known reaches far enough. Never raises on purpose."""
        now = self._clock.now()
        if not self._over and now.mono_s >= self._due_s:
            self._ask(now)
        if now.wall_s >= self._drawn_s + HOUR_S / 2 or now.wall_s < self._drawn_s:
            self._draw(now)

    def _ask(self, now: Instant) -> None:
        name = self._provider.name
        try:
            told = self._of_signal(self._provider.fetch(self._zone, now))
        except Unavailable as e:
            self._over = True
            self._health.failed(Part.GRID, name, e.reason, e.fix)
            return
        except ReadFailed as e:
            self._failures += 1
            self._due_s = now.mono_s + self._pace.after_failures_s(self._failures, e.retry_after_s)
            self._count(e)
            self._health.failed(Part.GRID, name, e.reason)
            return
        self._failures = 0
        self._due_s = now.mono_s + self._pace.after_success_s()
        self._remember(told)
        self._draw(now)
        self._save(now)
        lacks = self._provider.faults if isinstance(self._provider, Lacking) else ()
        for fault in lacks:
            self._count(fault)
        self._health.ok(Part.GRID, name, now.wall_s, "; ".join(map(str, lacks)))

    def _count(self, fault: JoulecarError) -> None:
        if isinstance(fault, PayloadError):
            self._health.refused(self._provider.name, fault.field, fault.why)

    def _of_signal(self, told: Sequence[GridIntensity]) -> Sequence[GridIntensity]:
        for entry in told:
            if self._signal not in (None, entry.signal):
                fault = f"is {entry.signal}, not {self._signal}"
                raise bad(self._provider.name, "signal", fault, Why.OTHER_QUANTITY)
        return told

    def _remember(self, told: Sequence[GridIntensity]) -> None:
        if not told:
            return
        # One provider tells one series; should it ever change its basis, the older one is another quantity.
        series = series_of(told[-1])
        old = self._history if self._history is not None and self._history.series == series else History(series)
        self._history = remember(old, [entry for entry in told if series_of(entry) == series])
        fresh = final(self._history)
        if list(map(_said, fresh)) != list(map(_said, self._final)):
            with self._lock:
                self._final = fresh

    def _kept(self) -> History | None:
        kept = self._keep_on_disk.load() if self._keep_on_disk is not None else None
        if isinstance(kept, Broken):
            self._health.failed(Part.LEDGER, STATE, f"the history of {self._provider.name} begins anew: {kept.reason}")
            return None
        if kept is not None and kept.series is not None and self._signal not in (None, kept.series.signal):
            return None
        return kept

    def _save(self, now: Instant) -> None:
        if self._keep_on_disk is None or self._history is None:
            return
        try:
            self._keep_on_disk.save(self._history)
        except OSError as e:
            self._health.failed(Part.LEDGER, STATE, e.strerror or str(e), "free space in agent.state_dir")
        else:
            self._health.ok(Part.LEDGER, STATE, now.wall_s)

    def _draw(self, now: Instant) -> None:
        self._drawn_s = now.wall_s
        if self._history is None:
            return
        known = timeline(self._history, self._constant, now.wall_s - BACK_S, now.wall_s + AHEAD_S)
        with self._lock:
            self._known = known


def _said(entry: GridIntensity) -> tuple[float, float, float, str]:
    """All of a statement but when it was fetched."""
    return entry.valid_from_s, entry.valid_to_s, entry.g_per_kwh, entry.kind
