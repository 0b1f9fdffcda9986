"""The ladder on recorded years: the feed is cut at random times, and what it fills in is held against what came."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from random import Random

import pytest

from agent.grids.history import HOUR_S
from agent.grids.ladder import at
from agent.units import J_PER_KWH
from tests.grid_years import (
    DAYS_TOLD,
    LENGTHS_H,
    LONGEST_H,
    START_S,
    ZONES,
    Outage,
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


def test_the_years_are_whole() -> None:
    assert {zone: len(load_year(zone).g_per_kwh) for zone in ZONES} == dict.fromkeys(ZONES, 8760)
    assert max(LENGTHS_H) == LONGEST_H
    empty = [sum(g is None for g in load_year(zone).g_per_kwh) for zone in ZONES]
    assert empty == [3, 23, 0]
    assert [round(load_year(zone).mean, 1) for zone in ZONES] == [256.2, 362.6, 54.7]
