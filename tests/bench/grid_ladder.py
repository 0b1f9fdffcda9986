"""How far off the intensity is while a feed is cut, and what a mean intensity does to a year's grams.

Mean absolute error over all hours of an outage, in % of the year's mean, cut at every seventh hour of the year, so at
every hour of the day. The annual mean is that of the very year, which no table knows beforehand: it is flattered.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

from agent.grids.history import HOUR_S
from agent.grids.ladder import timeline
from agent.units import J_PER_KWH
from tests.bench.harness import median_s
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

EVERY_H = 7


def outages(year: Year) -> list[Outage]:
    return [outage(year, cut, LONGEST_H) for cut in range(24 * DAYS_TOLD, 8760 - LONGEST_H, EVERY_H)]


def percent(year: Year, seen: Sequence[Outage], way: str, hours: int) -> float:
    errors = [e for o in seen for e in getattr(o, way)[:hours] if not math.isnan(e)]
    return 100 * mean(errors) / year.mean


def at_age(year: Year, seen: Sequence[Outage], way: str, hour: int) -> float:
    return 100 * mean([e for o in seen if not math.isnan(e := getattr(o, way)[hour - 1])]) / year.mean


def run() -> None:
    ways = {"ladder": "ladder", "last value": "last_value", "annual mean": "annual_mean"}
    seen = {zone: outages(load_year(zone)) for zone in ZONES}
    for measure, title in ((percent, "over an outage of"), (at_age, "in its last hour, after")):
        print(f"\nError of the intensity {title} (h), % of the mean; {len(seen[ZONES[0]])} outages a year")
        print(f"  {'':18s}" + "".join(f"{hours:>7d}" for hours in LENGTHS_H))
        for zone in ZONES:
            for name, way in ways.items():
                found = [measure(load_year(zone), seen[zone], way, hours) for hours in LENGTHS_H]
                print(f"  {zone} {name:13s}" + "".join(f"{value:7.1f}" for value in found))

    print("\nA year's grams by hour, against energy x mean intensity")
    for zone, offset_h in (("CISO", -8), ("PJM", -5), ("BPAT", -8)):
        year = load_year(zone)
        load_j = evening_load_j(offset_h)
        ratio = grams_by_hour(year, load_j) / (sum(load_j) / J_PER_KWH * year.mean)
        print(f"  {zone}, load from 19 to 1 o'clock: by hour is {100 * (ratio - 1):+.1f}% of the mean's")

    year = load_year("CISO")
    history, from_s = history_at(year, 4000), START_S + 4000 * HOUR_S
    print("\nWhat it costs, 9 days of hours stored")
    for hours in (2, 48, LONGEST_H):
        took_s = median_s(partial(timeline, history, year.yearly(), from_s, from_s + hours * HOUR_S))
        print(f"  a timeline of {hours:3d} h: {1000 * took_s:.2f} ms")
