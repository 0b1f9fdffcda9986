"""The carbon intensity of the place where this machine stands: known at the start, or found out beside the measuring.

A zone that was written down, or that the environment or the pod tells, is there at once. Else the cloud's metadata is
asked by the thread that asks the live sources, never in the way of the start; until there is an answer there are no
grams. Who answers nothing is asked again, at waits that double: a network may come up after the agent.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from agent.errors import Unavailable
from agent.grids.feed import Feed
from agent.grids.table import marginal
from agent.grids.zones import resolve
from agent.health import Health
from agent.model import GridIntensity, Instant, Located, Part
from agent.ports import Clock
from agent.settings import GridSettings, Settings

PART = "zone"
FIRST_RETRY_S = 60.0
LONGEST_RETRY_S = 3600.0
FIX = 'set zone = "DE" (or your own) under [grid], or fixed_g_per_kwh'


@dataclass(frozen=True, slots=True)
class Told:
    """What a zone's intensity comes from. figure: a constant; feed: a live source, which has the constant to stand
    in; marginal: the source of the account beside the footprint."""

    figure: GridIntensity | None = None
    feed: Feed | None = None
    marginal: Feed | None = None


def located(grid: GridSettings) -> Located:
    """What the settings know of the zone, by the code that it is labelled with."""
    if not grid.zone:
        return Located(detail=grid.found_detail)
    try:
        code = resolve(grid.zone).code
    except Unavailable:
        code = grid.zone  # a label of one's own, beside a fixed factor
    return Located(code, "config" if grid.found == "unknown" else grid.found, grid.found_detail)


def may_look(grid: GridSettings) -> bool:
    """Is there somebody to ask for the zone, and any use for it? A fixed factor needs none."""
    fixed = grid.fixed_g_per_kwh is not None and grid.providers in ((), ("fixed",))
    return grid.zone is None and not fixed and bool(grid.metadata_url or grid.geoip_url)


def look(grid: GridSettings, clock: Clock) -> Located:
    """Ask the cloud's metadata, then who is named for geo-IP: about a second each at most. Does not raise."""
    seen = [grid.found_detail]
    if grid.metadata_url:
        from agent.grids import metadata  # noqa: PLC0415 - brings the HTTP client along

        found = metadata.ask(clock, grid.metadata_url)
        if found.zone:
            return found
        seen.append(found.detail)
    if grid.geoip_url:
        from agent.grids import geoip  # noqa: PLC0415
        from agent.grids.client import HttpxClient  # noqa: PLC0415

        found = geoip.ask(HttpxClient(clock), grid.geoip_url)
        if found.zone:
            return found
        seen.append(found.detail)
    return Located(detail="; ".join(filter(None, seen)))


def found_at(settings: Settings, where: Located) -> Settings:
    """The settings as if the zone that was found had been written down."""
    return replace(settings, grid=replace(settings.grid, zone=where.zone, found=where.found, found_detail=where.detail))


def unknown(where: Located) -> str:
    """Why there are no grams."""
    return "no zone configured or found: no grams" + (f" ({where.detail})" if where.detail else "")


class Place:
    """step() and step_marginal() are each called by one thread every few seconds; the rest by the loop at every tick.

    build: what the settings give for a zone that is known. look: who is asked for the zone that is not.
    """

    def __init__(
        self,
        settings: Settings,
        build: Callable[[Settings], Told],
        look: Callable[[], Located],
        clock: Clock,
        health: Health,
    ) -> None:
        self._settings = settings
        self._build = build
        self._look = look
        self._clock = clock
        self._health = health
        self._lock = threading.Lock()
        self._located = located(settings.grid)
        self._told = build(settings)
        self._looking = may_look(settings.grid)
        self._due_s = float("-inf")
        self._waits_s = FIRST_RETRY_S
        if not self._looking:
            self._judge()

    @property
    def located(self) -> Located:
        """The zone and how it was found; zone "" while it is not."""
        with self._lock:
            return self._located

    def steps(self) -> Mapping[str, Callable[[], None]]:
        """What threads have to call, by the thread's name; a zone that is found later may bring both kinds."""
        found: dict[str, Callable[[], None]] = {}
        if self._looking or self._told.feed is not None:
            found["grid"] = self.step
        if self._told.marginal is not None or (self._looking and marginal(self._settings.grid) is not None):
            found["marginal"] = self.step_marginal
        return found

    def known(self, now: Instant) -> tuple[GridIntensity, ...]:
        """Every intensity that may be needed now, average and marginal; no thinking, no I/O."""
        told = self._now()
        constant = () if told.figure is None else (told.figure,)
        average = constant if told.feed is None else told.feed.known(now)
        return average if told.marginal is None else (*average, *told.marginal.known(now))

    def final(self) -> tuple[GridIntensity, ...]:
        """The final values of the live source, as Feed.final() has them; () without one."""
        feed = self._now().feed
        return () if feed is None else feed.final()

    def step(self) -> None:
        """Look for the zone if it is time to, else ask the live source if it is time to."""
        if self._looking and self._clock.now().mono_s >= self._due_s:
            self._search()
        if (feed := self._now().feed) is not None:
            feed.step()

    def step_marginal(self) -> None:
        if (feed := self._now().marginal) is not None:
            feed.step()

    def _now(self) -> Told:
        with self._lock:
            return self._told

    def _search(self) -> None:
        where = self._look()
        now = self._clock.now()
        if not where.zone:
            self._due_s = now.mono_s + self._waits_s
            self._waits_s = min(LONGEST_RETRY_S, 2 * self._waits_s)
            with self._lock:
                self._located = where
            self._health.failed(Part.GRID, PART, unknown(where), FIX)
            return
        told = self._build(found_at(self._settings, where))
        with self._lock:
            self._located, self._told, self._looking = where, told, False
        self._health.ok(Part.GRID, PART, now.wall_s, f"{where.zone}: {where.detail}")
        self._judge()

    def _judge(self) -> None:
        """Say so if there is nothing to price energy with."""
        told, where = self._told, self._located
        if told.figure is not None or told.feed is not None:
            return  # what is wrong with it, it says itself
        if where.zone:
            reason = f"no carbon intensity is known for {where.zone}: no grams"
            self._health.failed(Part.GRID, PART, reason, "set fixed_g_per_kwh, or zone to a neighbour on the same grid")
        else:
            self._health.failed(Part.GRID, PART, unknown(where), FIX)
