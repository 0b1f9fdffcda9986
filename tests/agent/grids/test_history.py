"""What is remembered of a feed: one statement for each interval, of one series, and not more than it should be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.grids.history import (
    AHEAD_S,
    DAY_S,
    HOUR_S,
    KEEP_S,
    MAX_TOLD,
    History,
    Rung,
    Series,
    remember,
    series_of,
    steps,
)
from agent.model import GridIntensity

NOON_S = 1_790_002_800.0 - 1_790_002_800.0 % DAY_S + 12 * HOUR_S


def told(
    hour: float, g_per_kwh: float, kind: str = "actual", fetched: float | None = None, hours: float = 1.0
) -> GridIntensity:
    """Of an hour counted from noon; fetched when it ended, if nothing else is said."""
    return GridIntensity(
        "DE",
        g_per_kwh,
        "test",
        kind=kind,
        valid_from_s=NOON_S + hour * HOUR_S,
        valid_to_s=NOON_S + (hour + hours) * HOUR_S,
        fetched_at_s=NOON_S + (hour + hours if fetched is None else fetched) * HOUR_S,
        source="made",
    )


statements = st.builds(
    told,
    st.integers(-30, 30).map(lambda quarter: quarter / 4),
    st.floats(0.0, 1500.0),
    st.sampled_from([rung.value for rung in Rung]),
    st.none() | st.integers(-40, 40).map(float),
    st.sampled_from([0.25, 0.5, 1.0, 2.0]),
)


def values(history: History) -> list[tuple[float, str]]:
    return [(entry.g_per_kwh, entry.kind) for entry in history.told]


def test_the_first_statement_decides_the_series_and_the_others_are_left_out() -> None:
    mine = told(0, 300.0)
    others = [
        replace(mine, zone="FR"),
        replace(mine, provider="other"),
        replace(mine, signal="marginal"),
        replace(mine, basis="direct"),
    ]
    history = remember(History(), [mine, *others])
    assert history == History(Series("DE", "test", "average", "lifecycle"), (mine,))
    assert remember(history, others) == history


def test_a_history_begun_for_a_series_takes_no_other() -> None:
    marginal = Series("DE", "test", "marginal", "lifecycle")
    assert remember(History(marginal), [told(0, 300.0)]) == History(marginal)


def test_a_later_fetch_replaces_an_earlier_one_about_the_same_hour_even_when_it_comes_first() -> None:
    early, late = told(0, 300.0, "estimated", fetched=1), told(0, 280.0, fetched=20)
    assert values(remember(remember(History(), [early]), [late])) == [(280.0, "actual")]
    assert values(remember(remember(History(), [late]), [early])) == [(280.0, "actual")]


def test_of_two_statements_of_one_fetch_the_second_holds() -> None:
    assert values(remember(History(), [told(0, 300.0), told(0, 310.0)])) == [(310.0, "actual")]


def test_a_value_that_the_provider_takes_back_is_an_estimate_again() -> None:
    history = remember(History(), [told(0, 300.0, "actual", fetched=1), told(0, 310.0, "estimated", fetched=2)])
    assert values(history) == [(310.0, "estimated")]


@pytest.mark.parametrize("kind", ["forecast", "last_value", "hour_profile"])
def test_what_looks_ahead_never_replaces_what_was_measured(kind: str) -> None:
    history = remember(History(), [told(0, 300.0, "estimated", fetched=1), told(0, 90.0, kind, fetched=5)])
    assert values(history) == [(300.0, "estimated")]
    assert values(remember(history, [told(0, 290.0, "actual", fetched=0.5)])) == [(300.0, "estimated")]


@given(st.lists(statements, max_size=12, unique_by=lambda e: e.fetched_at_s), st.integers(0, 12), st.randoms())
def test_neither_the_order_nor_the_portions_matter(entries: Sequence[GridIntensity], cut: int, random: Random) -> None:
    shuffled = random.sample(entries, len(entries))
    at_once = remember(History(), entries)
    assert remember(remember(History(), shuffled[:cut]), shuffled[cut:]) == at_once
    assert remember(at_once, entries) == at_once


@pytest.mark.parametrize(
    "nothing",
    [
        GridIntensity("DE", 380.0, "test", kind="yearly"),
        told(0, math.nan),
        told(0, math.inf),
        told(0, -1.0),
        told(0, 3000.1),
        told(0, 300.0, hours=0.0),
        told(0, 300.0, hours=-1.0),
        told(0, 300.0, hours=24.5),
        replace(told(0, 300.0), valid_from_s=-math.inf),
        replace(told(0, 300.0), valid_to_s=math.nan),
        replace(told(0, 300.0), fetched_at_s=math.nan),
        replace(told(0, 300.0), valid_from_s=NOON_S * 1000, valid_to_s=(NOON_S + 1) * 1000, fetched_at_s=None),
        told(0, 300.0, "forecast", fetched=-(AHEAD_S / HOUR_S) - 1),
    ],
)
def test_what_tells_nothing_of_an_hour_is_left_out(nothing: GridIntensity) -> None:
    assert remember(History(), [nothing]) == History()


def test_zero_grams_are_a_value() -> None:
    assert values(remember(History(), [told(0, 0.0)])) == [(0.0, "actual")]


def test_nine_days_are_kept_and_the_last_fetch_is_what_they_are_counted_from() -> None:
    hours = int(KEEP_S / HOUR_S)
    history = remember(History(), [told(hour, 300.0) for hour in range(-2 * hours, 0)])
    assert history.told == tuple(told(hour, 300.0) for hour in range(-hours, 0))
    assert hours >= 8 * 24
    no_fetch_no_loss = remember(history, [])
    assert no_fetch_no_loss == history


def test_the_number_of_statements_is_bounded_and_the_newest_stay() -> None:
    minutes = [told(minute / 60, 300.0, hours=1 / 60) for minute in range(-5000, 0)]
    history = remember(History(), minutes)
    assert len(history.told) == MAX_TOLD
    assert history.told[-1] == minutes[-1]


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (told(0, 1.0, "actual", hours=2.0), told(0.5, 2.0, "estimated")),
        (told(0, 1.0, "estimated", hours=2.0), told(0.5, 2.0, "forecast")),
        (told(0, 1.0, "forecast", hours=2.0), told(0.5, 2.0, "last_value")),
        (told(0.5, 1.0, hours=1.5), told(0, 2.0, hours=2.0)),
    ],
)
def test_where_statements_overlap_the_better_rung_holds_then_the_one_that_began_later(
    better: GridIntensity, worse: GridIntensity
) -> None:
    held = steps([worse, better])
    assert [e for e in held if e.g_per_kwh == 1.0] == [better]
    assert {e.g_per_kwh for e in held} == ({1.0} if better.valid_from_s <= worse.valid_from_s else {1.0, 2.0})


def test_an_hour_with_a_finer_statement_in_its_middle_holds_before_and_after_it() -> None:
    around, within = told(0, 100.0), told(0.25, 200.0, hours=0.5)
    ends = [0, 0.25, 0.75, 1.0]
    held = [(e.g_per_kwh, e.valid_from_s, e.valid_to_s) for e in steps([around, within])]
    assert held == [
        (g, NOON_S + a * HOUR_S, NOON_S + b * HOUR_S)
        for g, a, b in zip((100.0, 200.0, 100.0), ends, ends[1:], strict=False)
    ]


@given(st.lists(statements, max_size=10))
def test_steps_cover_the_time_that_was_told_of_once_and_no_other(entries: list[GridIntensity]) -> None:
    held = steps(entries)
    assert all(a.valid_to_s <= b.valid_from_s for a, b in pairwise(held))
    for quarter in range(-32, 44):
        middle_s = NOON_S + (quarter / 4 + 0.125) * HOUR_S
        covering = [e for e in entries if e.valid_from_s <= middle_s < e.valid_to_s]
        holding = [e for e in held if e.valid_from_s <= middle_s < e.valid_to_s]
        assert len(holding) == bool(covering)
        for entry in holding:
            assert list(Rung).index(Rung(entry.kind)) == min(list(Rung).index(Rung(e.kind)) for e in covering)
            assert entry.g_per_kwh in {e.g_per_kwh for e in covering}


def test_the_series_is_all_that_must_not_be_mixed() -> None:
    entry = GridIntensity("GB", 200.0, "neso", signal="marginal", basis="direct")
    assert series_of(entry) == Series("GB", "neso", "marginal", "direct")
