"""The recorded years of hourly intensity, and what the ladder makes of a feed that is cut in the middle of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from agent.carbon import price
from agent.grids.history import DAY_S, HOUR_S, History, remember
from agent.grids.ladder import timeline
from agent.model import GridIntensity
from agent.units import J_PER_KWH

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

    @cached_property
    def told(self) -> tuple[GridIntensity | None, ...]:
        """By hour, as a provider tells it at the end of the hour."""
        return tuple(
            None
            if g_per_kwh is None
            else GridIntensity(
                zone=f"US-{self.zone}",
                g_per_kwh=g_per_kwh,
                provider="recorded",
                valid_from_s=START_S + hour * HOUR_S,
                valid_to_s=START_S + (hour + 1) * HOUR_S,
                fetched_at_s=START_S + (hour + 1) * HOUR_S,
                source="EIA-930",
            )
            for hour, g_per_kwh in enumerate(self.g_per_kwh)
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
    return remember(History(), (entry for entry in year.told[cut - 24 * days : cut] if entry is not None))


@dataclass(frozen=True)
class Outage:
    """Absolute errors in g/kWh by hour after the cut, of three ways to fill it; NaN where the truth is not known."""

    ladder: tuple[float, ...]
    last_value: tuple[float, ...]
    annual_mean: tuple[float, ...]

    def first(self, hours: int) -> Outage:
        """The part of an outage of so many hours, less the hours without truth."""

        def cut(errors: tuple[float, ...]) -> tuple[float, ...]:
            return tuple(error for error in errors[:hours] if not math.isnan(error))

        return Outage(cut(self.ladder), cut(self.last_value), cut(self.annual_mean))


def outage(year: Year, cut: int, hours: int) -> Outage:
    """Cut the feed at this hour, for so many hours."""
    history = history_at(year, cut)
    from_s = START_S + cut * HOUR_S
    filled = timeline(history, None, from_s, from_s + hours * HOUR_S)
    assert [entry.valid_from_s for entry in filled] == [from_s + n * HOUR_S for n in range(hours)]
    last = history.told[-1].g_per_kwh
    truth = [math.nan if g is None else g for g in year.g_per_kwh[cut : cut + hours]]
    return Outage(
        tuple(abs(entry.g_per_kwh - g) for entry, g in zip(filled, truth, strict=True)),
        tuple(abs(last - g) for g in truth),
        tuple(abs(year.mean - g) for g in truth),
    )


def evening_load_j(utc_offset_h: int, hours: int = 8760) -> list[float]:
    """Joules by hour of the year: 1 kW from 19 to 1 o'clock, else nothing."""
    clock = [(hour + utc_offset_h) % 24 for hour in range(hours)]
    return [J_PER_KWH if hour >= 19 or hour < 1 else 0.0 for hour in clock]


def grams_by_hour(year: Year, load_j: Sequence[float]) -> float:
    """Grams of a load by hour of the year, from the timeline that the agent prices with."""
    history = History()
    total_g = 0.0
    for day in range(len(load_j) // 24):
        history = remember(history, (entry for entry in year.told[24 * day : 24 * day + 24] if entry is not None))
        from_s = START_S + day * DAY_S
        known = timeline(history, year.yearly(), from_s, from_s + DAY_S)
        for hour in range(24):
            begin_s = from_s + hour * HOUR_S
            priced = price(load_j[24 * day + hour], begin_s, begin_s + HOUR_S, known)
            assert priced.unpriced_j == 0.0
            total_g += priced.gco2e
    return total_g


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
