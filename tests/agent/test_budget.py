"""Budgets: periods at the right instant, use that never falls, and rates and ends that mean what they say."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.budget import BUCKET_S, DAY_S, HOUR_S, advance, begin, history_from_s, period_at, selects, view
from agent.model import BudgetView, Entry, Use
from agent.settings import BudgetSettings

NOON_S = datetime(2026, 11, 18, 12, tzinfo=UTC).timestamp()  # a Wednesday
DAY = BudgetSettings("b", "energy", 24_000.0, "joules", "day")  # 1,000 J an hour
ZONES = ["UTC", "Europe/Paris", "America/Havana", "Africa/Cairo", "Asia/Kathmandu", "Australia/Lord_Howe"]


def used_j(energy_j: float, at_s: float, engine: str = "e", model: str = "m") -> Entry:
    return Entry(at_s // BUCKET_S * BUCKET_S, engine, model, Use.DECODE, energy_j=energy_j)


def even(per_hour_j: float, from_s: float, to_s: float) -> list[Entry]:
    """The same use in every quarter of an hour."""
    pieces = round((to_s - from_s) / BUCKET_S)
    return [used_j(per_hour_j / 4, from_s + n * BUCKET_S) for n in range(pieces)]


def seen(budget: BudgetSettings, entries: list[Entry], now_s: float = NOON_S) -> BudgetView:
    return view(begin(budget, entries, now_s), now_s)


# -- periods


@pytest.mark.parametrize(
    ("zone", "period", "now", "start", "hours"),
    [
        ("UTC", "day", "2026-11-18T12:00+00:00", "2026-11-18T00:00+00:00", 24),
        ("UTC", "week", "2026-11-18T12:00+00:00", "2026-11-16T00:00+00:00", 7 * 24),
        ("UTC", "month", "2026-02-28T23:59+00:00", "2026-02-01T00:00+00:00", 28 * 24),
        ("UTC", "month", "2026-12-31T23:59+00:00", "2026-12-01T00:00+00:00", 31 * 24),
        ("Europe/Paris", "day", "2026-03-29T12:00+02:00", "2026-03-29T00:00+01:00", 23),
        ("Europe/Paris", "day", "2026-10-25T12:00+01:00", "2026-10-25T00:00+02:00", 25),
        ("Europe/Paris", "day", "2026-10-25T02:30+01:00", "2026-10-25T00:00+02:00", 25),
        ("Europe/Paris", "week", "2026-03-29T23:59+02:00", "2026-03-23T00:00+01:00", 7 * 24 - 1),
        ("Europe/Paris", "month", "2026-10-31T23:59+01:00", "2026-10-01T00:00+02:00", 31 * 24 + 1),
        ("Asia/Kathmandu", "day", "2026-11-18T12:00+05:45", "2026-11-18T00:00+05:45", 24),
        ("America/Havana", "day", "2026-11-01T00:30-05:00", "2026-11-01T00:00-04:00", 25),  # 0 to 1 h comes twice
        ("Africa/Cairo", "day", "2026-04-24T12:00+03:00", "2026-04-24T01:00+03:00", 23),  # there is no midnight
        ("Pacific/Apia", "day", "2011-12-29T12:00-10:00", "2011-12-29T00:00-10:00", 24),  # the 30th never was
    ],
)
def test_a_period_begins_and_ends_at_midnight_on_its_own_clock(
    zone: str, period: str, now: str, start: str, hours: int
) -> None:
    found = period_at(replace(DAY, period=period, timezone=zone), datetime.fromisoformat(now).timestamp())
    assert found.start_s == datetime.fromisoformat(start).timestamp()
    assert found.length_s == hours * HOUR_S


@given(
    st.sampled_from(ZONES),
    st.sampled_from(["day", "week", "month"]),
    st.floats(datetime(2000, 1, 1, tzinfo=UTC).timestamp(), datetime(2036, 1, 1, tzinfo=UTC).timestamp()),
)
def test_periods_follow_each_other_without_gap_or_overlap(zone: str, period: str, now_s: float) -> None:
    budget = replace(DAY, period=period, timezone=zone)
    found = period_at(budget, now_s)
    assert found.start_s <= now_s < found.end_s
    assert period_at(budget, found.start_s) == found == period_at(budget, math.nextafter(found.end_s, 0))
    assert period_at(budget, found.end_s).start_s == found.end_s
    assert datetime.fromtimestamp(found.start_s, ZoneInfo(zone)).minute == 0
    assert found.start_s % BUCKET_S == 0, "a roll-up never belongs to two periods"


def test_the_use_begins_anew_at_the_very_moment_of_the_reset() -> None:
    budget = replace(DAY, timezone="Europe/Paris")
    midnight_s = datetime.fromisoformat("2026-10-26T00:00+01:00").timestamp()
    state = begin(budget, even(1000.0, midnight_s - 25 * HOUR_S, midnight_s), midnight_s - 1)
    before, after = view(state, midnight_s - 1), view(state, midnight_s)
    assert (before.used, before.resets_at_s) == (25_000.0, midnight_s)
    assert (after.used, after.resets_at_s) == (0.0, midnight_s + DAY_S)


# -- use


def test_use_limit_and_ratio_stand_in_the_budgets_unit() -> None:
    found = seen(DAY, even(1000.0, NOON_S - 12 * HOUR_S, NOON_S))
    assert (found.name, found.unit, found.limit, found.used, found.used_ratio) == ("b", "joules", 24e3, 12e3, 0.5)


@pytest.mark.parametrize(
    ("quantity", "extra", "used"),
    [
        ("energy", {}, 1.0),
        ("energy", {"boundary": "facility"}, 2.0),
        ("carbon", {}, 4.0),
        ("carbon", {"scope": "total"}, 12.0),
        ("water", {}, 16.0),
        ("cost", {}, 32.0),
    ],
)
def test_every_quantity_counts_its_own_amounts(quantity: str, extra: dict[str, str], used: float) -> None:
    entry = replace(
        used_j(1.0, NOON_S), facility_j=2.0, gco2e=4.0, embodied_gco2e=8.0, water_l=16.0, cost=32.0, credit=64.0
    )
    budget = BudgetSettings("b", quantity, 100.0, "", "day", **extra)  # type: ignore[arg-type]  # texts, all of them
    assert seen(budget, [entry]).used == used


@pytest.mark.parametrize("quantity", ["carbon", "water", "cost"])
def test_what_is_not_known_takes_nothing(quantity: str) -> None:
    assert seen(replace(DAY, quantity=quantity, scope="total"), [used_j(1.0, NOON_S)]).used == 0.0


@pytest.mark.parametrize(
    ("engines", "models", "used"),
    [
        ((), (), 7.0),
        (("a",), (), 3.0),
        ((), ("m",), 5.0),
        (("a",), ("m",), 1.0),
        (("",), (), 0.0),
        (("gone",), (), 0.0),
    ],
)
def test_a_budget_counts_whom_it_selects(engines: tuple[str, ...], models: tuple[str, ...], used: float) -> None:
    entries = [used_j(1.0, NOON_S, "a", "m"), used_j(2.0, NOON_S, "a", "n"), used_j(4.0, NOON_S, "b", "m")]
    assert seen(replace(DAY, engines=engines, models=models), entries).used == used


def test_nobodys_joules_count_where_nobody_is_selected() -> None:
    nobody = used_j(1.0, NOON_S, "", "")
    assert selects(DAY, nobody)
    assert not selects(replace(DAY, engines=("a",)), nobody)
    assert selects(replace(DAY, engines=("a", "")), nobody)


def test_a_negative_amount_gives_no_budget_back() -> None:
    assert seen(DAY, [used_j(5.0, NOON_S), used_j(-3.0, NOON_S)]).used == 5.0


@given(st.lists(st.tuples(st.floats(0, 7200), st.floats(0, 1e6), st.floats(0, 3600)), max_size=30))
def test_the_use_of_a_period_never_falls_within_it(steps: list[tuple[float, float, float]]) -> None:
    """Each step: time that passes, joules, and how late they are booked."""
    state, now_s = begin(DAY, [], NOON_S - 11 * HOUR_S), NOON_S - 11 * HOUR_S
    views = [(period_at(DAY, now_s), view(state, now_s).used)]
    for passed_s, energy_j, late_s in steps:
        now_s += passed_s
        state = advance(state, [used_j(energy_j, now_s - late_s)], now_s)
        views.append((period_at(DAY, now_s), view(state, now_s).used))
    for (period, used), (next_period, next_used) in pairwise(views):
        assert next_period != period or next_used >= used


@given(
    st.sampled_from(["day", "week", "month", "rolling"]),
    st.lists(st.tuples(st.floats(1, 20_000), st.floats(0.001, 1e6)), min_size=1, max_size=40),
)
def test_a_restart_goes_on_from_the_ledgers_rows_as_if_there_had_been_none(
    period: str, steps: list[tuple[float, float]]
) -> None:
    budget = replace(DAY, period=period, over_s=3 * DAY_S)
    state, now_s, booked = begin(budget, [], NOON_S), NOON_S, []
    for passed_s, energy_j in steps:
        now_s += passed_s
        booked.append(used_j(energy_j, now_s))
        state = advance(state, booked[-1:], now_s)
    rows = [row for row in booked if row.bucket_s >= history_from_s(budget, now_s)]
    lived, restarted = view(state, now_s), view(begin(budget, rows, now_s), now_s)
    assert restarted.used == pytest.approx(lived.used, rel=1e-12)
    assert restarted.resets_at_s == lived.resets_at_s


def test_a_clock_that_steps_back_a_day_loses_nothing_and_lowers_no_periods_use() -> None:
    booked = even(1000.0, NOON_S - 36 * HOUR_S, NOON_S)
    state = begin(DAY, booked, NOON_S)
    today = view(state, NOON_S).used
    yesterday = view(state, NOON_S - DAY_S).used
    stepped = advance(state, [used_j(7.0, NOON_S - DAY_S)], NOON_S - DAY_S)
    assert view(stepped, NOON_S - DAY_S).used == yesterday + 7.0
    assert view(stepped, NOON_S).used == today
    assert math.fsum(stepped.amounts) == math.fsum(state.amounts) + 7.0


def test_a_clock_that_steps_back_before_the_agents_start_has_rates_again_from_then_on() -> None:
    """What was used until the step stands in the future now: it is in no window."""
    before = begin(DAY, [], NOON_S)
    before = advance(before, even(1e6, NOON_S, NOON_S + HOUR_S), NOON_S + HOUR_S)
    back_s = NOON_S - DAY_S
    used = advance(before, even(1000.0, back_s, back_s), back_s)
    used = advance(used, [used_j(250.0, back_s)], back_s + BUCKET_S)
    assert view(used, back_s + BUCKET_S).burn_rates == pytest.approx({"1h": 1.0, "6h": 1.0, "24h": 1.0})
    booked_at_once = advance(before, [used_j(0.1, back_s)], back_s)
    assert view(booked_at_once, back_s + 600).burn_rates["1h"] == pytest.approx(0.1 / 600 * 3.6)
    restarted = begin(DAY, even(1e6, NOON_S, NOON_S + HOUR_S), back_s)
    assert view(restarted, back_s + 600).burn_rates["1h"] == 0.0


def test_finer_pieces_are_put_together_to_quarters_of_an_hour() -> None:
    entries = [replace(used_j(1.0, NOON_S), bucket_s=NOON_S + minute * 60.0) for minute in range(30)]
    assert begin(DAY, entries, NOON_S + 1800).starts_s == (NOON_S, NOON_S + BUCKET_S)


def test_a_budget_wants_the_rows_of_its_period_and_of_the_longest_window() -> None:
    midnight_s = NOON_S - 12 * HOUR_S
    assert history_from_s(DAY, midnight_s + 1800) == midnight_s + 1800 - DAY_S
    assert history_from_s(replace(DAY, period="week"), NOON_S) == midnight_s - 2 * DAY_S
    assert history_from_s(replace(DAY, period="rolling", over_s=3 * DAY_S), NOON_S + 60) == NOON_S - 3 * DAY_S


def test_a_clock_that_is_years_ahead_for_a_while_makes_no_budget_forget() -> None:
    state = begin(DAY, even(1000.0, NOON_S - 12 * HOUR_S, NOON_S), NOON_S)
    ahead_s = NOON_S + 10 * 366 * DAY_S
    state = advance(state, [used_j(5.0, ahead_s)], ahead_s)
    assert view(state, ahead_s).used == 5.0
    assert view(state, NOON_S).used == 12_000.0


def test_a_rolling_period_keeps_what_was_used_before_the_clock_stepped_back() -> None:
    rolling = replace(DAY, period="rolling", over_s=2 * DAY_S)
    state = begin(rolling, even(1000.0, NOON_S - DAY_S, NOON_S), NOON_S)
    assert view(state, NOON_S - HOUR_S).used == view(state, NOON_S).used == 24_000.0


def test_a_rolling_period_forgets_what_grew_old_bit_by_bit() -> None:
    rolling = replace(DAY, period="rolling", over_s=DAY_S)
    state = begin(rolling, even(1000.0, NOON_S - DAY_S, NOON_S), NOON_S)
    left = [view(state, NOON_S + minutes * 60).used for minutes in (0, 1, 60, 23 * 60, 25 * 60)]
    assert left == pytest.approx([24_000.0, 24_000.0 - 1000 / 60, 23_000.0, 1000.0, 0.0])
    assert view(state, NOON_S).resets_at_s is None


def test_what_a_budget_remembers_is_bounded() -> None:
    state, now_s = begin(DAY, [], NOON_S), NOON_S
    for _ in range(2000):
        now_s += BUCKET_S
        state = advance(state, [used_j(1.0, now_s)], now_s)
    assert len(state.starts_s) == len(state.amounts) == 4 * 96
    assert view(state, now_s).used == 1.0 + (now_s - period_at(DAY, now_s).start_s) / BUCKET_S


# -- rates


@pytest.mark.parametrize(("per_hour_j", "rate"), [(1000.0, 1.0), (500.0, 0.5), (3000.0, 3.0)])
def test_a_burn_rate_of_1_is_on_course_to_use_exactly_the_limit(per_hour_j: float, rate: float) -> None:
    found = seen(DAY, even(per_hour_j, NOON_S - 36 * HOUR_S, NOON_S))
    assert found.burn_rates == pytest.approx({"1h": rate, "6h": rate, "24h": rate})


def test_each_window_sees_its_own_time() -> None:
    quiet, loud = even(600.0, NOON_S - 36 * HOUR_S, NOON_S - HOUR_S), even(2400.0, NOON_S - HOUR_S, NOON_S)
    assert seen(DAY, quiet + loud).burn_rates == pytest.approx(
        {"1h": 2.4, "6h": (5 * 0.6 + 2.4) / 6, "24h": (23 * 0.6 + 2.4) / 24}
    )


def test_a_window_that_cuts_a_quarter_of_an_hour_takes_its_part() -> None:
    now_s = NOON_S + 300
    found = seen(DAY, [*even(900.0, NOON_S - 2 * HOUR_S, NOON_S), used_j(75.0, NOON_S)], now_s)
    assert found.burn_rates["1h"] == pytest.approx(0.9)


def test_a_month_of_31_days_and_an_hour_is_spent_evenly_at_its_own_length() -> None:
    month = BudgetSettings("b", "energy", 1000.0 * (31 * 24 + 1), "joules", "month", timezone="Europe/Paris")
    now_s = datetime.fromisoformat("2026-10-20T12:00+02:00").timestamp()
    assert seen(month, even(1000.0, now_s - 48 * HOUR_S, now_s), now_s).burn_rates["24h"] == pytest.approx(1.0)


def test_time_before_anything_was_known_is_not_time_without_use() -> None:
    found = seen(DAY, even(1000.0, NOON_S - 2 * HOUR_S, NOON_S))
    assert found.burn_rates == pytest.approx({"1h": 1.0, "6h": 1.0, "24h": 1.0})


def test_what_others_used_tells_since_when_a_budget_is_known() -> None:
    other = used_j(1.0, NOON_S - 30 * HOUR_S, "other")
    found = seen(replace(DAY, engines=("e",)), [other, *even(1000.0, NOON_S - HOUR_S, NOON_S)])
    assert found.burn_rates == pytest.approx({"1h": 1.0, "6h": 1 / 6, "24h": 1 / 24})


def test_there_is_no_rate_in_the_first_minutes() -> None:
    state = advance(begin(DAY, [], NOON_S), [used_j(100.0, NOON_S)], NOON_S + 299)
    assert set(view(state, NOON_S + 299).burn_rates.values()) == {None}
    assert view(state, NOON_S + 360).burn_rates["1h"] == pytest.approx(1.0)


def test_a_budget_that_nobody_uses_burns_nothing_and_ends_never() -> None:
    found = seen(replace(DAY, engines=("gone",)), even(1000.0, NOON_S - 36 * HOUR_S, NOON_S))
    assert set(found.burn_rates.values()) == {0.0}
    assert (found.used, found.exhausted_at_s) == (0.0, None)


# -- the end


def test_the_end_is_told_at_the_rate_of_the_last_6_hours() -> None:
    earlier, later = even(500.0, NOON_S - 12 * HOUR_S, NOON_S - 6 * HOUR_S), even(2000.0, NOON_S - 6 * HOUR_S, NOON_S)
    found = seen(DAY, earlier + later)
    assert found.used == 15_000.0
    assert found.exhausted_at_s == pytest.approx(NOON_S + 4.5 * HOUR_S)


def test_an_end_beyond_the_reset_is_told_and_one_beyond_a_year_is_not() -> None:
    slow = seen(replace(DAY, limit=24_000.0 * 30), even(1000.0, NOON_S - 12 * HOUR_S, NOON_S))
    assert slow.exhausted_at_s is not None
    assert slow.resets_at_s is not None
    assert slow.exhausted_at_s > slow.resets_at_s
    assert seen(replace(DAY, limit=24_000.0 * 400), even(1000.0, NOON_S - 12 * HOUR_S, NOON_S)).exhausted_at_s is None


def test_a_limit_that_was_passed_says_when_to_the_quarter_of_an_hour_and_keeps_to_it() -> None:
    state = begin(DAY, even(4000.0, NOON_S - 12 * HOUR_S, NOON_S), NOON_S)
    passed_s = NOON_S - 6 * HOUR_S - BUCKET_S  # 24 quarters of 1,000 J from midnight on
    assert view(state, NOON_S).exhausted_at_s == passed_s
    state = advance(state, [used_j(50_000.0, NOON_S)], NOON_S + HOUR_S)
    assert view(state, NOON_S + HOUR_S).exhausted_at_s == passed_s


def test_the_end_of_a_sum_that_rounding_alone_brings_to_the_limit_is_its_last_piece() -> None:
    tenths = even(0.4, NOON_S - 2.5 * HOUR_S, NOON_S)  # ten times 0.1: added one by one, less than 1
    assert seen(replace(DAY, limit=1.0), tenths).exhausted_at_s == NOON_S - BUCKET_S


def test_a_rolling_limit_was_passed_with_the_part_of_the_oldest_piece_that_counts() -> None:
    rolling = replace(DAY, period="rolling", over_s=DAY_S)
    pieces = even(4000.0, NOON_S - DAY_S, NOON_S)
    now_s = NOON_S + 450  # half of the oldest 1,000 J are gone
    assert seen(replace(rolling, limit=1500.0), pieces, now_s).exhausted_at_s == NOON_S - DAY_S + BUCKET_S
    assert seen(replace(rolling, limit=1501.0), pieces, now_s).exhausted_at_s == NOON_S - DAY_S + 2 * BUCKET_S


def test_what_stands_in_the_future_leaves_a_rolling_period_too_late_to_be_waited_for() -> None:
    """At 1,000 J an hour a day holds 24 kJ, and 5 kJ stand in the future, since the clock stepped back."""
    rolling = replace(DAY, period="rolling", over_s=DAY_S, limit=36_000.0)
    entries = [*even(1000.0, NOON_S - DAY_S, NOON_S), used_j(5000.0, NOON_S + 2 * DAY_S)]
    assert seen(rolling, entries).used == 29_000.0
    assert seen(rolling, entries).exhausted_at_s is None


def test_a_rolling_budget_in_balance_never_ends() -> None:
    rolling = replace(DAY, period="rolling", over_s=DAY_S, limit=24_001.0)
    assert seen(rolling, even(1000.0, NOON_S - DAY_S, NOON_S)).exhausted_at_s is None


@given(
    st.lists(st.floats(0, 2000), min_size=24, max_size=24),
    st.floats(1.01, 3.0),
)
def test_a_rolling_budget_ends_when_a_walk_through_time_says_so(hourly_j: list[float], room: float) -> None:
    """The same rate goes on, and what is a day old leaves: stepped through in minutes."""
    entries = [
        e for n, j in enumerate(hourly_j) for e in even(j, NOON_S - (24 - n) * HOUR_S, NOON_S - (23 - n) * HOUR_S)
    ]
    limit = max(1.0, sum(hourly_j) * room)
    rolling = replace(DAY, period="rolling", over_s=DAY_S, limit=limit)
    found = seen(rolling, entries)
    rate = sum(hourly_j[-6:]) / (6 * HOUR_S)
    end_s = next(
        (
            NOON_S + minute * 60
            for minute in range(1, 24 * 60 + 1)
            if rate * minute * 60 + _left(hourly_j, minute / 60) >= limit * (1 + 1e-9)
        ),
        None,
    )
    if end_s is not None:
        assert found.exhausted_at_s is not None
        assert found.exhausted_at_s <= end_s + 1e-3
    if found.exhausted_at_s is not None and found.exhausted_at_s > NOON_S:
        minute = (found.exhausted_at_s - NOON_S) / 60
        assert rate * minute * 60 + _left(hourly_j, minute / 60) == pytest.approx(limit, rel=1e-6)
        assert end_s is None or end_s - found.exhausted_at_s <= 60 + 1e-3


def _left(hourly_j: list[float], hours: float) -> float:
    """What is left of a day's use after some hours: whole ones are gone, one is going."""
    gone = int(min(hours, 24))
    going = hourly_j[gone] * (1 - (hours - gone)) if gone < 24 else 0.0
    return going + sum(hourly_j[gone + 1 :])
