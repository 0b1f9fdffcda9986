"""No source of prices is asked without being named, and check says which one, its value and its licence."""

from __future__ import annotations

import pytest

from agent.errors import ReadFailed, Unavailable
from agent.model import EnergyPrice, Instant
from agent.prices.lines import price_lines
from agent.prices.table import DAY_AHEAD, PriceKind, constant, day_ahead
from agent.settings import PriceSettings

NOW = Instant(0.0, 1_790_000_100.0)
FIXED = PriceSettings("fixed", "EUR", 0.25)
GERMANY = PriceSettings("energy_charts", "EUR", zone="DE-LU")


class Told:
    name = "energy_charts"

    def __init__(self, *told: EnergyPrice, failing: Exception | None = None) -> None:
        self.told, self.failing = told, failing

    def fetch(self, now: Instant) -> tuple[EnergyPrice, ...]:
        if self.failing is not None:
            raise self.failing
        return self.told


def entry(from_s: float, per_kwh: float) -> EnergyPrice:
    return EnergyPrice("DE-LU", per_kwh, "EUR", "energy_charts", "day_ahead", from_s, from_s + 900, source="market")


def test_a_fixed_price_asks_nobody() -> None:
    assert day_ahead(FIXED) is None
    held = constant(FIXED)
    assert held is not None and (held.per_kwh, held.currency, held.kind) == (0.25, "EUR", "fixed")
    assert price_lines(FIXED, None, NOW) == [
        ("price", True, "0.25 EUR/kWh at every hour; the configuration, site.price.per_kwh", "")
    ]


def test_no_price_is_neither_fixed_nor_asked_for_and_no_line() -> None:
    assert (constant(None), day_ahead(None), price_lines(None, None, NOW)) == (None, None, [])


def test_a_day_ahead_source_is_no_constant() -> None:
    assert constant(GERMANY) is None
    assert day_ahead(GERMANY) is DAY_AHEAD["energy_charts"]


def test_check_shows_the_price_of_now_how_far_it_is_known_and_the_licence() -> None:
    ((subject, ok, detail, _),) = price_lines(GERMANY, Told(entry(1_790_000_000, 0.1), entry(1_790_000_900, 0.2)), NOW)
    assert (subject, ok) == ("energy_charts_price", True)
    assert "0.1000 EUR/kWh now, known until 2026-09-21 14:43 UTC" in detail
    assert "licence: CC BY 4.0" in detail


def test_check_without_asking_names_the_source_alone() -> None:
    ((_, ok, detail, _),) = price_lines(GERMANY, None, NOW)
    assert ok and "DE-LU in EUR" in detail and "licence" in detail


@pytest.mark.parametrize(
    ("told", "words", "fix"),
    [
        (Told(failing=ReadFailed("timed out")), "timed out", ""),
        (Told(failing=Unavailable("gone", "another")), "gone", "another"),
        (Told(entry(1_789_990_000, 0.1)), "none of this hour among 1", ""),
        (Told(), "none of this hour", ""),
    ],
)
def test_check_says_what_is_wrong_and_still_the_licence(told: Told, words: str, fix: str) -> None:
    ((_, ok, detail, mend),) = price_lines(GERMANY, told, NOW)
    assert not ok and words in detail and "licence" in detail and mend == fix


@pytest.mark.parametrize("kind", DAY_AHEAD.values(), ids=DAY_AHEAD)
def test_every_source_names_its_zones_currencies_and_licence(kind: PriceKind) -> None:
    assert kind.zones and kind.currencies and kind.licence
