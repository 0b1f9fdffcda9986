"""The ladder on recorded years: the feed is cut at random times, and what it fills in is held against what came."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from agent.carbon import in_force, price
from agent.errors import ReadFailed
from agent.grids.feed import Feed, Pace
from agent.grids.history import DAY_S, HOUR_S
from agent.grids.keep import Keep
from agent.grids.ladder import at
from agent.health import Health
from agent.model import GridIntensity, Instant
from agent.units import J_PER_KWH
from tests.fakes.clock import FakeClock
from tests.grid_years import (
    DAYS_TOLD,
    LENGTHS_H,
    LONGEST_H,
    START_S,
    ZONES,
    Outage,
    Year,
    evening_load_j,
    grams_by_hour,
    history_at,
    load_year,
    mean,
    outage,
)


def cut_at_random(zone: str, cuts: int, hours: int) -> list[Outage]:
    year = load_year(zone)
    starts = Random(20220101).sample(range(24 * DAYS_TOLD, len(year.g_per_kwh) - hours), cuts)
    return [outage(year, start, hours) for start in starts]


def standard_errors_below(lower: Sequence[float], upper: Sequence[float]) -> float:
    """By how many of its standard errors the mean difference of pairs is above 0."""
    differences = [b - a for a, b in zip(lower, upper, strict=True)]
    return mean(differences) / (statistics.stdev(differences) / math.sqrt(len(differences)))


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(("lengths_h", "cuts"), [((1, 2, 3, 6, 12), 1000), ((24, 48, 72, 168), 300)])
def test_the_ladder_errs_less_than_the_last_value_and_the_annual_mean_in_outages_of_every_length(
    zone: str, lengths_h: tuple[int, ...], cuts: int
) -> None:
    """The annual mean is that of the very year, which no table can know while the year lasts: it is flattered."""
    assert set(lengths_h) <= set(LENGTHS_H)
    seen = cut_at_random(zone, cuts, max(lengths_h))
    for hours in lengths_h:
        known = [o.first(hours) for o in seen if o.first(hours).ladder]  # a few hours have no recorded value
        assert len(known) > 0.95 * cuts
        ladder = [mean(o.ladder) for o in known]
        last_value = [mean(o.last_value) for o in known]
        annual_mean = [mean(o.annual_mean) for o in known]
        assert standard_errors_below(ladder, last_value) > 2.0, (zone, hours, mean(ladder), mean(last_value))
        assert standard_errors_below(ladder, annual_mean) > 2.0, (zone, hours, mean(ladder), mean(annual_mean))


@pytest.mark.parametrize("zone", ZONES)
def test_hours_that_are_told_are_what_was_told(zone: str) -> None:
    year = load_year(zone)
    history = history_at(year, 5000)
    for hour in range(5000 - 24 * DAYS_TOLD, 5000):
        held = at(history, year.yearly(), START_S + (hour + 0.5) * HOUR_S)
        if year.g_per_kwh[hour] is not None:
            assert held == year.told[hour]


def test_a_years_evening_load_at_the_mean_intensity_would_lose_a_sixth_of_its_grams() -> None:
    year = load_year("CISO")
    load_j = evening_load_j(utc_offset_h=-8)
    by_hour_g = grams_by_hour(year, load_j)
    at_the_mean_g = sum(load_j) / J_PER_KWH * year.mean
    assert by_hour_g / at_the_mean_g == pytest.approx(1.20, abs=0.02)


EVENING_H = 6  # from 19 to 1 o'clock, Pacific standard time


@pytest.mark.parametrize("tick_s", [300.0, 900.0, HOUR_S, 5000.0, EVENING_H * HOUR_S])
def test_the_mean_would_lose_15_to_25_percent_of_an_evening_load_whatever_the_tick(tick_s: float) -> None:
    """Sum of E_i I_i against E x mean(I), over the evenings of a year; the last tick of an evening is shorter."""
    year = load_year("CISO")
    by_tick_g, kwh = 0.0, 0.0
    for day in range(364):
        begin_s = START_S + day * DAY_S + 27 * HOUR_S  # 19 o'clock, in UTC
        hours = [entry for entry in year.told[24 * day + 27 : 24 * day + 33] if entry is not None]
        if len(hours) < EVENING_H:
            continue
        end_s, at_s = begin_s + EVENING_H * HOUR_S, begin_s
        while at_s < end_s:
            until_s = min(at_s + tick_s, end_s)
            priced = price(1000.0 * (until_s - at_s), at_s, until_s, hours)  # 1 kW
            assert priced.unpriced_j == 0.0
            by_tick_g += priced.gco2e
            at_s = until_s
        kwh += EVENING_H
    assert kwh > 360 * EVENING_H
    assert 1.15 < by_tick_g / (kwh * year.mean) < 1.25
    by_hour_g = sum(e.g_per_kwh for e in _evenings(year))
    assert by_tick_g == pytest.approx(by_hour_g, rel=1e-9)


def _evenings(year: Year) -> list[GridIntensity]:
    whole: list[GridIntensity] = []
    for day in range(364):
        hours = [entry for entry in year.told[24 * day + 27 : 24 * day + 33] if entry is not None]
        whole += hours if len(hours) == EVENING_H else []
    return whole


@dataclass
class Told:
    """A provider that tells nine days up to the cut, once; then it is out."""

    year: Year
    cut: int
    name: str = "recorded"

    def fetch(self, zone: str, now: Instant) -> Sequence[GridIntensity]:
        if now.wall_s > START_S + self.cut * HOUR_S + 60.0:
            raise ReadFailed("timeout")
        return history_at(self.year, self.cut).told


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("restart_h", [1, 5, 30, 100])
def test_a_restart_in_the_middle_of_an_outage_changes_nothing(zone: str, restart_h: int, tmp_path: Path) -> None:
    cut, year = 5000, load_year(zone)
    source, health = Told(year, cut), Health()
    clock = FakeClock(mono_s=0.0, wall_s=START_S + cut * HOUR_S)

    def begin() -> Feed:
        keep = Keep(tmp_path, "recorded", f"US-{zone}")
        return Feed(source, f"US-{zone}", year.yearly(), Pace(900.0, lambda: 0.0), clock, health, keep)

    unbroken, restarted = begin(), begin()
    kinds = []
    for hour in range(168):
        if hour == restart_h:
            restarted = begin()  # what it had in memory is gone
        unbroken.step()
        restarted.step()
        now = clock.now()
        held = in_force(restarted.known(now), now.wall_s)
        assert held is not None and held == in_force(unbroken.known(now), now.wall_s), hour
        assert restarted.final() == unbroken.final()
        kinds.append(held.kind)
        clock.advance(HOUR_S)
    assert list(dict.fromkeys(kinds)) == ["last_value_shaped", "same_hour_yesterday", "hour_profile"]


def test_the_years_are_whole() -> None:
    assert {zone: len(load_year(zone).g_per_kwh) for zone in ZONES} == dict.fromkeys(ZONES, 8760)
    assert max(LENGTHS_H) == LONGEST_H
    empty = [sum(g is None for g in load_year(zone).g_per_kwh) for zone in ZONES]
    assert empty == [3, 23, 0]
    assert [round(load_year(zone).mean, 1) for zone in ZONES] == [256.2, 362.6, 54.7]
