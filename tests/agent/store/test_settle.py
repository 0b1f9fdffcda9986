"""Final figures against what was booked: the difference, once, whatever the order in which they come."""

from __future__ import annotations

import math
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.model import Entry, GridIntensity, Use
from agent.store import rollups
from agent.store.schema import upgrade
from agent.store.settle import settle

T0 = 1_790_000_000 // 3600 * 3600
KWH = 3.6e6


def opened(*entries: Entry) -> sqlite3.Connection:
    db = sqlite3.connect(":memory:", isolation_level=None)
    upgrade(db)
    rollups.add(db, entries)
    return db


def booked(n: int, gco2e: float | None, *, energy_j: float = KWH, zone: str = "DE", model: str = "m") -> Entry:
    return Entry(
        T0 + n * 300, "e", model, Use.DECODE, zone=zone, kind="forecast", energy_j=energy_j, facility_j=energy_j,
        gco2e=gco2e,
    )  # fmt: skip


def final(n: int, g_per_kwh: float, *, pieces: int = 12, zone: str = "DE") -> GridIntensity:
    return GridIntensity(zone, g_per_kwh, "p", valid_from_s=T0 + n * 300, valid_to_s=T0 + (n + pieces) * 300)


def test_an_hour_that_is_told_anew_leaves_its_difference() -> None:
    db = opened(booked(0, 400.0), booked(1, 400.0), booked(12, 400.0))
    assert settle(db, [final(0, 310.0)]) == {("e", "m"): pytest.approx(-180.0)}


def test_telling_the_same_twice_adds_nothing() -> None:
    db = opened(booked(0, 400.0))
    settle(db, [final(0, 310.0)])
    assert settle(db, [final(0, 310.0)]) == {}


def test_a_value_that_is_rewritten_again_moves_the_difference_on() -> None:
    db = opened(booked(0, 400.0))
    sums = [settle(db, [final(0, g)]).get(("e", "m"), 0.0) for g in (310.0, 350.0, 400.0)]
    assert sums == pytest.approx([-90.0, 40.0, 50.0])


def test_energy_that_nobody_priced_is_settled_whole() -> None:
    db = opened(booked(0, None, zone=""))
    assert settle(db, [final(0, 310.0)]) == {("e", "m"): pytest.approx(310.0)}


def test_another_zones_figures_settle_nothing() -> None:
    db = opened(booked(0, 400.0))
    assert settle(db, [final(0, 310.0, zone="FR")]) == {}


def test_a_piece_that_is_told_in_part_waits_for_the_rest() -> None:
    db = opened(booked(0, 400.0))
    half = GridIntensity("DE", 100.0, "p", valid_from_s=T0, valid_to_s=T0 + 150)
    assert settle(db, [half]) == {}
    rest = GridIntensity("DE", 300.0, "p", valid_from_s=T0 + 150, valid_to_s=T0 + 300)
    assert settle(db, [half, rest]) == {("e", "m"): pytest.approx(-200.0)}


def test_what_is_booked_to_a_piece_that_is_settled_already_is_no_difference() -> None:
    db = opened(booked(0, 400.0))
    before = settle(db, [final(0, 310.0)])
    rollups.add(db, [booked(0, 310.0)])
    assert before == {("e", "m"): pytest.approx(-90.0)}
    assert settle(db, [final(0, 310.0)]) == {}
    assert settle(db, [final(0, 300.0)]) == {("e", "m"): pytest.approx(-20.0)}


def test_many_owners_are_settled_a_few_at_a_time_and_all_of_them() -> None:
    db = opened(*(booked(n, 400.0, model=f"m{m}") for n in range(40) for m in range(5)))
    told = settle(db, [final(h * 12, 300.0) for h in range(4)])
    assert told == {("e", f"m{m}"): pytest.approx(-4000.0) for m in range(5)}


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.floats(0, 800)), min_size=1, max_size=20, unique_by=lambda p: p[0]),
    st.lists(st.tuples(st.integers(0, 2), st.floats(0, 800)), max_size=12),
)
def test_the_counter_and_the_difference_are_the_energy_at_the_last_word(
    rows: list[tuple[int, float]], told: list[tuple[int, float]]
) -> None:
    db = opened(*(booked(n, g) for n, g in rows))
    difference = 0.0
    last: dict[int, float] = {}
    for hour, g in told:
        last[hour] = g
        difference += math.fsum(settle(db, [final(hour * 12, g)]).values())
    truth = math.fsum(last.get(n // 12, g) for n, g in rows)
    assert math.fsum(g for _, g in rows) + difference == pytest.approx(truth, abs=1e-6)
