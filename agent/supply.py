"""What electricity costs, in money and at the margin: from whom each is told. The footprint's own source is in app."""

from __future__ import annotations

import random
from collections.abc import Callable

from agent.grids.feed import Feed, Pace
from agent.grids.keep import Keep
from agent.grids.table import MARGINAL, marginal
from agent.health import Health
from agent.model import EnergyPrice, Instant
from agent.ports import Clock
from agent.prices import table
from agent.prices.feed import EVERY_S, PriceFeed
from agent.settings import ProviderSettings, Settings

Step = Callable[[], None]


def marginal_feed(settings: Settings, clock: Clock, health: Health) -> Feed | None:
    """What asks it; None: none is named."""
    kind = marginal(settings.grid)
    if kind is None:
        return None
    from agent.grids.client import HttpxClient  # noqa: PLC0415 - an agent without such a source does without

    own = settings.grid.tables.get(kind.name, ProviderSettings())
    provider = kind.build(own, HttpxClient(clock))
    folder, zone = settings.agent.state_dir, settings.grid.zone or ""
    keep = None if folder is None else Keep(folder, kind.name, zone, own.region)
    return Feed(provider, zone, None, Pace(kind.every_s, _jitter()), clock, health, keep, signal=MARGINAL)


class Prices:
    """The prices known now: a fixed one, or those of a day-ahead market, or none."""

    def __init__(self, settings: Settings, clock: Clock, health: Health) -> None:
        fixed = table.constant(settings.site.price)
        self._fixed: tuple[EnergyPrice, ...] = () if fixed is None else (fixed,)
        self._feed = _price_feed(settings, clock, health)

    def known(self, at: Instant) -> tuple[EnergyPrice, ...]:
        return self._fixed if self._feed is None else self._feed.known(at)

    @property
    def step(self) -> Step | None:
        """What a thread calls every few seconds; None: nothing is to be asked."""
        return None if self._feed is None else self._feed.step


def _price_feed(settings: Settings, clock: Clock, health: Health) -> PriceFeed | None:
    kind, own = table.day_ahead(settings.site.price), settings.site.price
    if kind is None or own is None:
        return None
    from agent.grids.client import HttpxClient  # noqa: PLC0415

    return PriceFeed(kind.build(own, HttpxClient(clock)), Pace(EVERY_S, _jitter()), clock, health)


def _jitter() -> Callable[[], float]:
    return random.SystemRandom().random
