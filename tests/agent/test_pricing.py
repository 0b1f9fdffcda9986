"""What follows from a joule: each account for itself, and the parts add up to the whole."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import pricing
from agent.carbon import price
from agent.model import EnergyPrice, Entry, GridIntensity, Use
from agent.pricing import BUCKET_S, Site, Tally, Tariffs, tariffs, with_embodied

T0 = 1_790_000_000.0 // BUCKET_S * BUCKET_S
A = ("vllm", "llama", Use.DECODE)
B = ("vllm", "llama", Use.PREFILL)
KWH = 3.6e6


def hour(n: int, g_per_kwh: float, *, signal: str = "average", step_s: float = 900.0) -> GridIntensity:
    begin_s = T0 + n * step_s
    return GridIntensity("DE", g_per_kwh, "p", signal=signal, valid_from_s=begin_s, valid_to_s=begin_s + step_s)


def told(n: int, per_kwh: float) -> EnergyPrice:
    return EnergyPrice("DE-LU", per_kwh, "EUR", "p", valid_from_s=T0 + n * 900, valid_to_s=T0 + n * 900 + 900)


def booked(site: Site, known: Tariffs, *spent: tuple[float, float, float], overhead: float = 0.0) -> tuple[Entry, ...]:
    tally = Tally(site, known)
    total_j = sum(j for _, _, j in spent)
    tally.add(spent, [(A, total_j)], overhead * total_j, total_j)
    return tally.entries()


def total(entries: tuple[Entry, ...], name: str) -> float:
    return math.fsum(getattr(e, name) or 0.0 for e in entries)


def test_pue_and_grid_loss_multiply_grams_and_never_joules() -> None:
    known = tariffs([hour(0, 360.0)])
    (e,) = booked(Site(pue=1.5, grid_loss=1.1), known, (T0, T0 + 5, KWH))
    assert [e.energy_j, e.facility_j] == pytest.approx([KWH, KWH * 1.65])
    assert [e.it_gco2e, e.gco2e] == pytest.approx([360.0, 360.0 * 1.65])


def test_the_market_based_account_takes_the_contracts_factor_alone() -> None:
    site = Site(pue=1.5, market_g_per_kwh=40.0)
    (e,) = booked(site, tariffs([hour(0, 360.0)]), (T0, T0 + 5, KWH))
    assert e.market_gco2e == pytest.approx(60.0)
    assert e.gco2e == pytest.approx(540.0)
    (without,) = booked(Site(), tariffs([]), (T0, T0 + 5, KWH))
    assert without.market_gco2e is None
    assert without.gco2e is None


def test_a_marginal_intensity_never_prices_the_footprint() -> None:
    known = tariffs([hour(0, 100.0), hour(0, 900.0, signal="marginal")])
    (e,) = booked(Site(), known, (T0, T0 + 5, KWH))
    assert [e.gco2e, e.marginal_gco2e] == pytest.approx([100.0, 900.0])
    (alone,) = booked(Site(), tariffs([hour(0, 900.0, signal="marginal")]), (T0, T0 + 5, KWH))
    assert (alone.gco2e, alone.unpriced_j) == (None, KWH)


def test_water_follows_it_energy_with_its_overhead_and_not_pue() -> None:
    (e,) = booked(Site(pue=2.0, wue_l_per_kwh=1.8), tariffs([]), (T0, T0 + 5, KWH), overhead=0.5)
    assert e.water_l == pytest.approx(1.8 * 1.5)


def test_a_negative_price_is_a_credit_and_both_totals_only_grow() -> None:
    known = tariffs([], [told(0, 0.30), told(1, -0.10)])
    entries = booked(Site(pue=1.2), known, (T0 + 600, T0 + 1200, 2 * KWH))
    assert total(entries, "cost") == pytest.approx(0.30 * 1.2)
    assert total(entries, "credit") == pytest.approx(0.10 * 1.2)
    assert all((e.cost or 0.0) >= 0 and (e.credit or 0.0) >= 0 for e in entries)


def test_joules_of_a_time_without_intensity_or_price_are_counted() -> None:
    known = tariffs([hour(0, 100.0)], [told(0, 0.3)])
    entries = booked(Site(), known, (T0 + 450, T0 + 1350, 9.0))
    assert total(entries, "unpriced_j") == pytest.approx(4.5)
    assert total(entries, "uncosted_j") == pytest.approx(4.5)
    assert total(booked(Site(), tariffs([]), (T0, T0 + 1, 9.0)), "uncosted_j") == 0.0  # nobody asked for money


def test_energy_whose_price_is_configured_and_not_told_yet_is_counted_as_uncosted() -> None:
    (e,) = booked(Site(currency="EUR"), tariffs([]), (T0, T0 + 5, 9.0))
    assert (e.cost, e.uncosted_j) == (0.0, 9.0)


def test_overhead_of_almost_no_joules_is_a_number() -> None:
    tally = Tally(Site(), tariffs([]))
    tally.add([(T0, T0 + 5, 5e-324)], [(A, 5e-324)], 500.0, 5e-324)
    (e,) = tally.entries()
    assert e.overhead_j == 500.0


def test_embodied_grams_stand_on_one_entry_of_each_owner() -> None:
    known = tariffs([hour(0, 100.0)])
    entries = booked(Site(), known, (T0 + 200, T0 + 400, 9.0))
    assert len(entries) == 2
    more = with_embodied(entries, {A: 5.0, B: 2.0}, T0)
    assert {e.use: e.embodied_gco2e for e in more if e.embodied_gco2e} == {Use.DECODE: 5.0, Use.PREFILL: 2.0}
    assert total(more, "energy_j") == total(entries, "energy_j")


spans = st.lists(st.tuples(st.floats(0, 7000), st.floats(0, 2000), st.floats(1e-3, 1e6)), min_size=1, max_size=6).map(
    lambda some: [(T0 + s, T0 + s + length, j) for s, length, j in some]
)


@given(spans, st.lists(st.floats(0, 1000), min_size=11, max_size=11))
def test_the_parts_of_a_time_add_up_to_the_whole_in_joules_and_in_grams(
    spent: list[tuple[float, float, float]], values: list[float]
) -> None:
    timeline = [hour(n, g) for n, g in enumerate(values)]
    entries = booked(Site(), tariffs(timeline), *spent)
    assert total(entries, "energy_j") == pytest.approx(sum(j for _, _, j in spent), rel=1e-9)
    whole = sum(price(j, s, e, timeline).gco2e for s, e, j in spent)
    assert total(entries, "gco2e") == pytest.approx(whole, rel=1e-9, abs=1e-12)
    assert all(e.bucket_s % BUCKET_S == 0 for e in entries)


@given(spans, st.integers(1, 5))
def test_the_length_of_ticks_does_not_change_the_grams(spent: list[tuple[float, float, float]], ticks: int) -> None:
    timeline = tariffs([hour(n, 50.0 * n) for n in range(11)])
    cut = [
        (s + (e - s) * i / ticks, s + (e - s) * (i + 1) / ticks, j / ticks) for s, e, j in spent for i in range(ticks)
    ]
    one, many = booked(Site(), timeline, *spent), booked(Site(), timeline, *cut)
    assert total(many, "gco2e") == pytest.approx(total(one, "gco2e"), rel=1e-6, abs=1e-9)


def test_overhead_without_any_metered_joule_is_nobodys() -> None:
    tally = Tally(Site(), tariffs([hour(0, 360.0)]))
    tally.add_overhead([(T0, T0 + 5, 1.0)], pricing.NOBODY, KWH)
    (e,) = tally.entries()
    assert (e.engine, e.use, e.energy_j, e.overhead_j) == ("", Use.UNASSIGNED, 0.0, KWH)
    assert e.gco2e == pytest.approx(360.0)
