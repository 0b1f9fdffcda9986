"""Roll-ups by piece of time: nothing is lost as they grow coarser, and what is too old or too much is dropped."""

from __future__ import annotations

import math
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.model import Entry, GridIntensity, Use
from agent.store import rollups
from agent.store.rollups import DAY_S, KEEP_S
from agent.store.schema import upgrade
from agent.store.settle import settle

T0 = 1_790_000_000 // 3600 * 3600


def opened() -> sqlite3.Connection:
    db = sqlite3.connect(":memory:", isolation_level=None)
    upgrade(db)
    return db


def entry(start_s: float, energy_j: float = 1.0, gco2e: float | None = 1.0, **more: object) -> Entry:
    base = {"zone": "DE", "kind": "last_value", "facility_j": energy_j}
    return Entry(start_s, "e", "m", Use.DECODE, energy_j=energy_j, gco2e=gco2e, **(base | more))  # type: ignore[arg-type]


def total(db: sqlite3.Connection, what: str) -> float:
    return float(db.execute(f"SELECT ifnull(sum({what}), 0) FROM energy").fetchone()[0])


def widths(db: sqlite3.Connection) -> set[int]:
    return {w for (w,) in db.execute("SELECT DISTINCT width_s FROM energy")}


def test_what_is_booked_to_the_same_piece_adds_up() -> None:
    db = opened()
    rollups.add(db, [entry(T0, 1.0), entry(T0, 2.0), entry(T0, 4.0, None), entry(T0 + 300, 8.0)])
    assert [(e.bucket_s, e.energy_j, e.gco2e) for e in rollups.entries(db, 0.0)] == [
        (T0, 7.0, 2.0),
        (T0 + 300, 8.0, 1.0),
    ]


def test_for_budgets_the_uses_of_a_quarter_of_an_hour_are_one_row() -> None:
    db = opened()
    rollups.add(db, [entry(T0 + n * 300, 1.0, None if n else 2.0, kind=f"k{n % 2}") for n in range(4)])
    found = list(rollups.by_owner(db, T0))
    assert [(e.bucket_s, e.energy_j, e.gco2e) for e in found] == [(T0, 3.0, 2.0), (T0 + 900, 1.0, None)]


def test_what_nobody_priced_stays_unknown_and_is_not_zero() -> None:
    db = opened()
    rollups.add(db, [entry(T0, 1.0, None), entry(T0, 2.0, None)])
    (only,) = rollups.entries(db, 0.0)
    assert (only.gco2e, only.cost, only.water_l) == (None, None, None)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 410 * 24 * 12), st.floats(0, 1e6)), max_size=60),
    st.lists(st.integers(0, 500 * DAY_S), max_size=4),
)
def test_growing_coarser_loses_nothing_that_is_not_too_old(booked: list[tuple[int, float]], moments: list[int]) -> None:
    db = opened()
    rollups.add(db, [entry(T0 + n * 300, j) for n, j in booked])
    now_s = T0
    for later_s in sorted(moments):
        now_s = T0 + later_s
        rollups.compact(db, now_s)
    kept = math.fsum(j for n, j in booked if T0 + n * 300 >= now_s - KEEP_S + 3600)
    most = math.fsum(j for n, j in booked if T0 + n * 300 >= now_s - KEEP_S - 3600)
    assert kept - 1e-6 <= total(db, "energy_j") <= most + 1e-6


def test_pieces_are_as_wide_as_their_age_asks_for() -> None:
    db = opened()
    rollups.add(db, [entry(T0 + day * DAY_S) for day in range(401)])
    rollups.compact(db, T0 + 400 * DAY_S)
    assert widths(db) == {300, 900, 3600}
    ages = {
        w: (T0 + 400 * DAY_S - s) / DAY_S for w, s in db.execute("SELECT width_s, min(start_s) FROM energy GROUP BY 1")
    }
    assert ages == {300: pytest.approx(9, abs=1), 900: pytest.approx(95, abs=1), 3600: pytest.approx(400, abs=1)}


def test_a_settled_piece_stays_settled_when_it_grows_coarser() -> None:
    db = opened()
    rollups.add(db, [entry(T0, 3.6e6, 100.0), entry(T0 + 300, 3.6e6, 100.0)])
    final = GridIntensity("DE", 150.0, "p", valid_from_s=T0, valid_to_s=T0 + 300)
    assert settle(db, [final]) == {("e", "m"): pytest.approx(50.0)}
    rollups.compact(db, T0 + 20 * DAY_S)
    assert [total(db, "settled_gco2e"), total(db, "gco2e")] == pytest.approx([250.0, 200.0])


def test_what_is_booked_late_joins_a_piece_that_grew_coarser_already_and_loses_nothing() -> None:
    """As when the clock stepped back for a while, or after weeks without the agent."""
    db = opened()
    final = GridIntensity("DE", 150.0, "p", valid_from_s=T0, valid_to_s=T0 + 300)
    for settled, costs in ((False, None), (True, 5.0), (False, None)):
        rollups.add(db, [entry(T0, 3.6e6, 100.0, cost=costs)])
        if settled:
            settle(db, [final])
        rollups.compact(db, T0 + 20 * DAY_S)
    assert [total(db, a) for a in ("energy_j", "gco2e", "settled_gco2e", "cost")] == pytest.approx(
        [3 * 3.6e6, 300.0, 350.0, 5.0]
    )


def test_no_more_than_so_many_rows_are_kept() -> None:
    db = opened()
    rollups.add(db, [entry(T0 + n * 300) for n in range(25)])
    rollups.compact(db, T0 + 25 * 300, max_rows=10)
    assert [e.bucket_s for e in rollups.entries(db, 0.0)] == [T0 + n * 300 for n in range(15, 25)]
