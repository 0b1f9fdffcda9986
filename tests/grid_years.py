"""The recorded years of hourly intensity, and what the ladder makes of a feed that is cut in the middle of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from agent.grids.history import History, remember
from agent.grids.ladder import timeline
from agent.model import GridIntensity

HOUR_S = 3600.0
START_S = 1_640_995_200.0  # 2022-01-01T00:00Z
DAYS_TOLD = 9
LONGEST_H = 168
ZONES = ("CISO", "PJM", "BPAT")
LENGTHS_H = (1, 2, 3, 6, 12, 24, 48, 72, 168)

DATA = Path(__file__).parent / "data" / "grid" / "hourly"


@dataclass(frozen=True)
class Year:
    zone: str
    g_per_kwh: tuple[float | None, ...]  # by hour from START_S; None: not recorded

    @cached_property
    def mean(self) -> float:
        known = [g for g in self.g_per_kwh if g is not None]
        return sum(known) / len(known)

    def told(self, hour: int) -> GridIntensity | None:
        """As a provider tells it, at the end of the hour."""
        g_per_kwh = self.g_per_kwh[hour]
        if g_per_kwh is None:
            return None
        begin_s = START_S + hour * HOUR_S
        return GridIntensity(
            zone=f"US-{self.zone}",
            g_per_kwh=g_per_kwh,
            provider="recorded",
            valid_from_s=begin_s,
            valid_to_s=begin_s + HOUR_S,
            fetched_at_s=begin_s + HOUR_S,
            source="EIA-930",
        )

    def yearly(self) -> GridIntensity:
        """The mean of the very year that is asked about, which no real table can know beforehand."""
        return GridIntensity(f"US-{self.zone}", self.mean, "table", kind="yearly")


@cache
def load_year(zone: str) -> Year:
    lines = (DATA / f"{zone}_2022.csv").read_text("utf-8").splitlines()
    return Year(zone, tuple(float(line) if line else None for line in lines[1:]))


def history_at(year: Year, cut: int, days: int = DAYS_TOLD) -> History:
    """What is remembered when the hours before this one are told and no more come."""
    told = (year.told(hour) for hour in range(cut - 24 * days, cut))
    return remember(History(), (entry for entry in told if entry is not None))


@dataclass(frozen=True)
class Outage:
    """Absolute errors in g/kWh of each hour after the cut whose true value is known: what each way made of it."""

    ladder: tuple[float, ...]
    last_value: tuple[float, ...]
    annual_mean: tuple[float, ...]


def outage(year: Year, cut: int, hours: int) -> Outage:
    """Cut the feed at this hour, for so many hours."""
    history = history_at(year, cut)
    from_s = START_S + cut * HOUR_S
    filled = timeline(history, None, from_s, from_s + hours * HOUR_S)
    assert [entry.valid_from_s for entry in filled] == [from_s + n * HOUR_S for n in range(hours)]
    last = history.told[-1].g_per_kwh
    truth = [(n, g) for n, g in enumerate(year.g_per_kwh[cut : cut + hours]) if g is not None]
    return Outage(
        tuple(abs(filled[n].g_per_kwh - g) for n, g in truth),
        tuple(abs(last - g) for _, g in truth),
        tuple(abs(year.mean - g) for _, g in truth),
    )


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
