"""Grams: the pieces add up to the whole, and what no intensity covers is never priced."""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.carbon import Priced, grams, in_force, price
from agent.model import GridIntensity
from agent.units import J_PER_KWH

HOUR = 3600.0


def hour(n: int, g_per_kwh: float) -> GridIntensity:
    return GridIntensity("FR", g_per_kwh, "test", valid_from_s=n * HOUR, valid_to_s=(n + 1) * HOUR)


def constant(g_per_kwh: float) -> GridIntensity:
    return GridIntensity("FR", g_per_kwh, "test")


intensities = st.floats(min_value=0.0, max_value=1500.0)
energies = st.floats(min_value=0.0, max_value=1e9)
moments = st.floats(min_value=-1e4, max_value=1e5)
timelines = st.lists(
    st.builds(
        lambda start_s, length_s, g, fetched_s: GridIntensity(
            "FR", g, "test", valid_from_s=start_s, valid_to_s=start_s + length_s, fetched_at_s=fetched_s
        ),
        st.integers(-10, 100).map(lambda n: n * 900.0),
        st.sampled_from([300.0, 900.0, 1800.0, 3600.0]),
        intensities,
        st.none() | st.floats(0, 1e5),
    ),
    max_size=12,
)


def test_one_kilowatt_hour_at_a_constant_intensity() -> None:
    assert price(J_PER_KWH, 0.0, 3600.0, [constant(310.0)]) == Priced(310.0)


@given(energies, moments, st.floats(0.0, 1e5), intensities)
def test_a_constant_intensity_gives_energy_times_intensity(energy_j: float, at_s: float, dt: float, g: float) -> None:
    priced = price(energy_j, at_s, at_s + dt, [constant(g)])
    assert priced.gco2e == pytest.approx(energy_j * g / 3.6e6, rel=1e-12)
    assert priced.unpriced_j == 0.0


def test_an_interval_is_split_where_the_intensity_changes() -> None:
    # 3/4 of the time at 100, 1/4 at 500: not the mean of the two.
    priced = price(J_PER_KWH, 0.25 * HOUR, 1.25 * HOUR, [hour(0, 100.0), hour(1, 500.0)])
    assert priced.gco2e == pytest.approx(200.0)
    assert priced.unpriced_j == 0.0


def test_energy_of_a_dirty_hour_is_not_priced_at_the_mean() -> None:
    timeline = [hour(0, 100.0), hour(1, 500.0)]
    evening = price(0.1 * J_PER_KWH, 0.0, HOUR, timeline).gco2e + price(0.9 * J_PER_KWH, HOUR, 2 * HOUR, timeline).gco2e
    assert evening == pytest.approx(460.0)
    assert evening != pytest.approx(300.0)  # E x mean(I)


@given(energies, moments, st.floats(1e-3, 1e5), timelines, st.floats(0.0, 1.0))
def test_two_halves_cost_what_the_whole_costs(
    energy_j: float, start_s: float, dt: float, timeline: list[GridIntensity], cut: float
) -> None:
    end_s = start_s + dt
    middle_s = start_s + cut * dt
    share = (middle_s - start_s) / (end_s - start_s)
    whole = price(energy_j, start_s, end_s, timeline)
    first = price(energy_j * share, start_s, middle_s, timeline)
    second = price(energy_j * (1 - share), middle_s, end_s, timeline)
    scale = max(energy_j, 1.0)
    assert first.gco2e + second.gco2e == pytest.approx(whole.gco2e, rel=1e-9, abs=1e-9 * scale)
    assert first.unpriced_j + second.unpriced_j == pytest.approx(whole.unpriced_j, rel=1e-9, abs=1e-9 * scale)


@given(energies, moments, st.floats(0.0, 1e5), timelines, st.randoms(use_true_random=False))
def test_the_order_of_the_timeline_is_irrelevant(
    energy_j: float, start_s: float, dt: float, timeline: list[GridIntensity], random: Random
) -> None:
    shuffled = list(timeline)
    random.shuffle(shuffled)
    assert price(energy_j, start_s, start_s + dt, shuffled) == price(energy_j, start_s, start_s + dt, timeline)


@given(energies, moments, st.floats(0.0, 1e5), timelines)
def test_every_joule_is_priced_or_reported_as_unpriced(
    energy_j: float, start_s: float, dt: float, timeline: list[GridIntensity]
) -> None:
    """At one intensity everywhere, grams tell how many joules were priced."""
    flat = [replace(entry, g_per_kwh=J_PER_KWH) for entry in timeline]  # 1 g a joule
    priced = price(energy_j, start_s, start_s + dt, flat)
    assert priced.gco2e + priced.unpriced_j == pytest.approx(energy_j, rel=1e-9, abs=1e-9)


@given(energies, moments, st.floats(0.0, 1e5), timelines)
def test_grams_lie_between_the_cleanest_and_the_dirtiest_piece(
    energy_j: float, start_s: float, dt: float, timeline: list[GridIntensity]
) -> None:
    priced = price(energy_j, start_s, start_s + dt, timeline)
    known_j = energy_j - priced.unpriced_j
    values = [entry.g_per_kwh for entry in timeline] or [0.0]
    slack = 1e-9 * max(energy_j, 1.0)
    assert grams(known_j, min(values)) - slack <= priced.gco2e <= grams(known_j, max(values)) + slack


def test_no_intensity_means_unpriced_joules_and_no_grams() -> None:
    assert price(500.0, 0.0, 10.0, []) == Priced(0.0, 500.0)


def test_a_gap_in_the_timeline_is_not_filled_from_its_neighbours() -> None:
    priced = price(3 * J_PER_KWH, 0.0, 3 * HOUR, [hour(0, 100.0), hour(2, 100.0)])
    assert priced.gco2e == pytest.approx(200.0)
    assert priced.unpriced_j == pytest.approx(J_PER_KWH)


@pytest.mark.parametrize(("at_s", "expected"), [(0.0, 100.0), (HOUR - 1e-6, 100.0), (HOUR, 500.0)])
def test_an_interval_without_length_takes_the_intensity_of_its_moment(at_s: float, expected: float) -> None:
    assert price(J_PER_KWH, at_s, at_s, [hour(0, 100.0), hour(1, 500.0)]) == Priced(expected)


def test_an_interval_without_length_outside_the_timeline_is_unpriced() -> None:
    assert price(7.0, 2 * HOUR, 2 * HOUR, [hour(0, 100.0), hour(1, 500.0)]) == Priced(0.0, 7.0)


def test_the_finer_entry_holds_where_entries_overlap() -> None:
    assert price(J_PER_KWH, HOUR, 2 * HOUR, [constant(300.0), hour(1, 50.0)]).gco2e == pytest.approx(50.0)


def test_of_two_entries_for_one_time_the_later_fetch_holds() -> None:
    early = replace(hour(0, 100.0), fetched_at_s=10.0)
    late = replace(hour(0, 120.0), fetched_at_s=20.0)
    assert in_force([late, early], 5.0) == late


def test_zero_grams_of_a_clean_hour_are_priced_not_missing() -> None:
    assert price(10.0, 0.0, 1.0, [constant(0.0)]) == Priced(0.0, 0.0)
    assert not math.isnan(price(0.0, 0.0, 0.0, [constant(10.0)]).gco2e)
