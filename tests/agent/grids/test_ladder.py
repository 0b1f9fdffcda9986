"""The rungs: which one holds when, what it says, and that none is better than it claims."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.carbon import in_force, price
from agent.grids.history import DAY_S, HOUR_S, History, Rung, remember
from agent.grids.ladder import at, timeline
from agent.model import GridIntensity
from tests.agent.grids.test_history import NOON_S, told

YEARLY = GridIntensity("DE", 380.0, "table", basis="direct", kind="yearly", source="Ember")
LIMIT_S = {
    Rung.LAST_VALUE: 3 * HOUR_S,
    Rung.LAST_VALUE_SHAPED: 12 * HOUR_S,
    Rung.SAME_HOUR_YESTERDAY: 48 * HOUR_S,
    Rung.HOUR_PROFILE: 21 * DAY_S,
}
TOLD = ("actual", "estimated", "forecast")


def daily(hour: float) -> float:
    """The same every day: 300 g/kWh, less at noon."""
    return 300.0 + 10.0 * abs(hour % 24 - 12.0)


def days(n: float, *more: GridIntensity) -> History:
    """So many days up to noon, all alike."""
    return remember(History(), [*(told(hour, daily(hour)) for hour in range(-int(24 * n), 0)), *more])


def after_noon(history: History, hours: float, yearly: GridIntensity | None = YEARLY) -> tuple[GridIntensity, ...]:
    return timeline(history, yearly, NOON_S, NOON_S + hours * HOUR_S)


def runs(pieces: Sequence[GridIntensity]) -> list[tuple[str, int]]:
    """The rungs in the order of time, each with its number of pieces; what holds at all times comes first."""
    return [(kind, len(list(group))) for kind, group in groupby(pieces, lambda piece: piece.kind)]


def test_an_outage_goes_down_the_ladder_rung_by_rung() -> None:
    pieces = after_noon(days(9), 30 * 24)
    assert runs(pieces) == [
        ("yearly", 1),
        ("last_value_shaped", 12),
        ("same_hour_yesterday", 36),
        ("hour_profile", 21 * 24 - 48),
    ]
    assert pieces[0] is YEARLY
    assert in_force(pieces, NOON_S + 21 * DAY_S) is YEARLY
    assert in_force(pieces, NOON_S + 21 * DAY_S - 1) is pieces[-1]


def test_a_forecast_of_the_last_success_goes_before_every_fallback() -> None:
    forecast = [told(hour, 500.0 + hour, "forecast", fetched=-0.5) for hour in range(20)]
    pieces = after_noon(days(9, *forecast), 50)
    assert runs(pieces) == [("forecast", 20), ("same_hour_yesterday", 28), ("hour_profile", 2)]
    assert pieces[:20] == tuple(forecast)
    assert pieces[20].g_per_kwh == daily(20)  # not the forecast's end held on


def test_what_is_measured_goes_before_a_forecast() -> None:
    both = days(1, told(0, 500.0, "forecast", fetched=-1), told(1, 510.0, "forecast", fetched=-1), told(0, 320.0))
    assert runs(after_noon(both, 2)) == [("actual", 1), ("forecast", 1)]


def test_the_last_value_is_held_for_three_hours_where_no_day_is_stored() -> None:
    pieces = after_noon(days(1 / 4), 6)
    assert runs(pieces) == [("yearly", 1), ("last_value", 3)]
    assert {piece.g_per_kwh for piece in pieces[1:]} == {daily(-1)}
    assert in_force(pieces, NOON_S + 3 * HOUR_S) is YEARLY


@pytest.mark.parametrize(("stored", "held"), [(1.1, 3), (2.1, 3), (3.0, 3), (3.1, 0), (9.0, 0)])
def test_the_last_value_is_held_until_three_days_are_stored(stored: float, held: int) -> None:
    kinds = [piece.kind for piece in after_noon(days(stored), 5)]
    assert kinds == ["last_value"] * held + ["last_value_shaped"] * (5 - held)


def test_a_shaped_value_follows_the_days_and_drifts_back_to_their_level() -> None:
    history = days(9, told(-1, daily(-1) + 48.0, fetched=1))  # 48 g above every other day
    for n, piece in enumerate(after_noon(history, 12)):
        assert piece.kind == "last_value_shaped"
        assert piece.g_per_kwh == pytest.approx(daily(n) + 48.0 * (1 - (n + 1) / 24))


def test_a_shaped_value_is_never_below_the_lowest_of_what_it_is_made_of() -> None:
    # 300 g before noon, 100 g after it, every day; then 50 g where 300 are usual would shape to -150 g.
    told_hours = [told(hour, 300.0 if hour % 24 >= 12 else 100.0) for hour in range(-9 * 24, -1)]
    pieces = after_noon(remember(History(), [*told_hours, told(-1, 50.0)]), 12)
    assert {piece.kind for piece in pieces} == {"last_value_shaped"}
    assert {piece.g_per_kwh for piece in pieces} == {50.0}


def test_the_newer_days_weigh_more_in_a_profile() -> None:
    jump = [told(hour, 100.0 if hour < -24 else 200.0) for hour in range(-9 * 24, 0)]
    profile = after_noon(remember(History(), jump), 49)[-1]
    weights = [0.8**n for n in range(8)]
    assert profile.kind == "hour_profile"
    assert profile.g_per_kwh == pytest.approx(100.0 + 100.0 * weights[0] / sum(weights))


def test_an_hour_that_yesterday_has_not_is_taken_from_the_day_before() -> None:
    told_hours = [told(hour, 300.0 + hour) for hour in range(-3 * 24, 0) if hour != -24 + 20]
    piece = at(remember(History(), told_hours), None, NOON_S + 20.5 * HOUR_S)
    assert piece is not None
    assert (piece.kind, piece.g_per_kwh) == ("same_hour_yesterday", 300.0 - 48 + 20)


def test_a_hole_in_the_past_is_filled_from_what_came_before_it() -> None:
    history = remember(History(), [told(-6, 100.0), told(-1, 900.0)])
    assert [(p.kind, p.g_per_kwh) for p in timeline(history, None, NOON_S - 6 * HOUR_S, NOON_S)] == [
        ("actual", 100.0),
        ("last_value", 100.0),
        ("last_value", 100.0),
        ("last_value", 100.0),
        ("actual", 900.0),
    ]


def test_a_hole_earlier_in_the_hour_is_not_of_the_time_that_is_asked_for() -> None:
    history = remember(History(), [told(-1, 100.0), told(0.25, 200.0, hours=0.75)])
    assert runs(timeline(history, None, NOON_S + HOUR_S / 2, NOON_S + HOUR_S)) == [("actual", 1)]


def test_between_quarter_hours_pieces_end_at_whole_hours() -> None:
    quarters = [told(q / 4, 300.0, hours=0.25) for q in range(-9 * 96, 2)]  # to half past noon
    pieces = timeline(remember(History(), quarters), None, NOON_S, NOON_S + 3 * HOUR_S)
    bounds = [(p.valid_from_s - NOON_S) / HOUR_S for p in pieces] + [(pieces[-1].valid_to_s - NOON_S) / HOUR_S]
    assert bounds == [0.0, 0.25, 0.5, 1.0, 2.0, 3.0]
    assert runs(pieces) == [("actual", 2), ("last_value_shaped", 3)]


def test_the_hours_of_a_finer_feed_are_its_means() -> None:
    quarters = [told(q / 4, 100.0 * (q % 4), hours=0.25) for q in range(-96, 0)]
    piece = at(remember(History(), quarters), None, NOON_S + 15 * HOUR_S)
    assert piece is not None
    assert (piece.kind, piece.g_per_kwh) == ("same_hour_yesterday", 150.0)


def test_half_an_hour_stands_for_the_hour_and_less_does_not() -> None:
    for minutes, kind in ((30, "same_hour_yesterday"), (29, "yearly")):
        history = remember(History(), [told(-24 + 15, 250.0, hours=minutes / 60), told(-1, 300.0)])
        piece = at(history, YEARLY, NOON_S + 15.5 * HOUR_S)
        assert piece is not None
        assert piece.kind == kind


def test_a_provider_that_only_forecasts_is_built_upon_as_told_when_the_hour_had_begun() -> None:
    known = [told(hour, 300.0, "forecast", fetched=hour + 0.5) for hour in range(-5, 0)]
    assert runs(after_noon(remember(History(), known), 3, None)) == [("last_value", 3)]
    ahead = [told(hour, 300.0, "forecast", fetched=hour - 0.5) for hour in range(-5, 0)]
    assert after_noon(remember(History(), ahead), 3, None) == ()


def test_what_another_agent_made_up_is_taken_as_said_but_not_built_upon() -> None:
    known = [told(hour, 300.0, "same_hour_yesterday") for hour in range(-5, 1)]
    assert runs(after_noon(remember(History(), known), 3, None)) == [("same_hour_yesterday", 1)]


def test_a_fallback_keeps_every_name_of_what_it_is_built_on_and_says_how() -> None:
    last = replace(told(-1, 300.0, fetched=0.25), basis="direct", signal="marginal", source="MOER")
    (held,) = after_noon(remember(History(), [last]), 1, None)
    assert held == replace(last, kind="last_value", valid_from_s=NOON_S, valid_to_s=NOON_S + HOUR_S, source=held.source)
    assert held.source == "MOER; value of 2026-09-21 11:00Z"


def test_the_yearly_figure_of_another_basis_is_better_than_nothing_and_keeps_its_names() -> None:
    assert at(History(), YEARLY, NOON_S) is YEARLY
    assert at(remember(History(), [told(-100, 300.0)]), YEARLY, NOON_S) is YEARLY
    assert timeline(History(), YEARLY, NOON_S, NOON_S + DAY_S) == (YEARLY,)


def test_an_average_figure_never_stands_in_for_a_marginal_value() -> None:
    moer = remember(History(), [replace(told(-1, 300.0), signal="marginal")])
    pieces = timeline(moer, YEARLY, NOON_S - 2 * HOUR_S, NOON_S + 30 * DAY_S)
    assert {piece.signal for piece in pieces} == {"marginal"}
    assert at(moer, YEARLY, NOON_S + 30 * DAY_S) is None
    assert at(moer, replace(YEARLY, signal="marginal"), NOON_S + 30 * DAY_S) is not None


def test_without_a_history_and_a_figure_nothing_is_known() -> None:
    assert at(History(), None, NOON_S) is None
    assert timeline(History(), None, NOON_S, NOON_S + DAY_S) == ()
    assert at(remember(History(), [told(0, 300.0)]), None, NOON_S - 1) is None  # never from what comes later


def test_the_yearly_figure_is_left_out_where_no_time_needs_it() -> None:
    assert YEARLY not in after_noon(days(9), 24)
    assert YEARLY in timeline(days(9), YEARLY, NOON_S - 10 * DAY_S, NOON_S)


# Properties, on feeds with holes, several resolutions and kinds.

feeds = st.lists(
    st.builds(
        told,
        st.integers(-4 * 96, 96).map(lambda quarter: quarter / 4),
        st.floats(0.0, 1500.0),
        st.sampled_from([*TOLD, "last_value"]),
        st.none() | st.integers(-96, 24).map(float),
        st.sampled_from([0.25, 1.0, 1.0, 6.0, 24.0]),
    ),
    max_size=16,
).map(lambda entries: remember(History(), entries))
moments = st.floats(-120.0, 700.0).map(lambda hour: NOON_S + hour * HOUR_S)
lengths = st.floats(0.0, 60.0).map(lambda hours: hours * HOUR_S)


def is_basis(entry: GridIntensity) -> bool:
    fetched_s = entry.fetched_at_s
    return entry.kind in ("actual", "estimated") or (
        entry.kind == "forecast" and fetched_s is not None and fetched_s >= entry.valid_from_s
    )


@given(feeds, moments, lengths)
def test_pieces_do_not_overlap_and_with_a_yearly_figure_every_moment_is_covered(
    history: History, from_s: float, length_s: float
) -> None:
    pieces = [p for p in timeline(history, YEARLY, from_s, from_s + length_s) if p is not YEARLY]
    assert all(a.valid_to_s <= b.valid_from_s for a, b in pairwise(pieces))
    assert all(p.valid_from_s < from_s + length_s and from_s < p.valid_to_s for p in pieces)
    priced = price(3.6e6, from_s, from_s + length_s, timeline(history, YEARLY, from_s, from_s + length_s + 1.0))
    assert priced.unpriced_j == 0.0


@given(feeds, moments, lengths, st.floats(0.0, 1.0))
def test_a_moment_has_the_same_intensity_whatever_window_is_asked_for(
    history: History, from_s: float, length_s: float, part: float
) -> None:
    now_s = from_s + part * length_s
    pieces = timeline(history, YEARLY, from_s, math.nextafter(from_s + length_s, math.inf))
    assert in_force(pieces, now_s) == at(history, YEARLY, now_s)


@given(feeds, moments)
def test_no_rung_is_better_than_it_claims(history: History, now_s: float) -> None:
    held = at(history, YEARLY, now_s)
    assert held is not None
    assert held.valid_from_s <= now_s < held.valid_to_s
    of = [e for e in history.told if e.kind == held.kind and e.g_per_kwh == held.g_per_kwh]
    was_told = any(e.valid_from_s <= held.valid_from_s and held.valid_to_s <= e.valid_to_s for e in of)
    if held.kind in TOLD or was_told:
        assert was_told
        return
    known = [e for e in history.told if is_basis(e)]
    before_s = [min(e.valid_to_s, held.valid_from_s) for e in known if e.valid_from_s < held.valid_from_s]
    if held.kind == "yearly":
        assert held is YEARLY
        return
    age_s = held.valid_to_s - max(before_s)
    assert 0.0 < held.valid_to_s - held.valid_from_s <= HOUR_S
    assert 0.0 < age_s <= LIMIT_S[Rung(held.kind)]
    assert (held.zone, held.provider, held.signal, held.basis) == ("DE", "test", "average", "lifecycle")
    lowest, highest = min(e.g_per_kwh for e in known), max(e.g_per_kwh for e in known)
    assert lowest <= held.g_per_kwh + 1e-9
    if held.kind != "last_value_shaped":
        assert held.g_per_kwh <= highest + 1e-9
    for later_s in (now_s, now_s + HOUR_S):
        if held.fetched_at_s is not None and later_s >= max(e.fetched_at_s or 0.0 for e in known):
            assert later_s - held.fetched_at_s >= 0.0


@given(feeds, moments)
def test_a_fallback_does_not_look_ahead(history: History, now_s: float) -> None:
    held = at(history, YEARLY, now_s)
    assert held is not None
    if held.kind in (*TOLD, "yearly"):
        return
    otherwise = tuple(
        entry if entry.valid_from_s <= held.valid_from_s else replace(entry, g_per_kwh=entry.g_per_kwh / 2 + 1.0)
        for entry in history.told
    )
    assert at(History(history.series, otherwise), YEARLY, now_s) == held


@given(st.integers(1, 9 * 24), st.integers(1, 48))
def test_as_an_outage_goes_on_the_rung_never_gets_better(hours_told: int, day: int) -> None:
    pieces = timeline(days(hours_told / 24), None, NOON_S, NOON_S + day * DAY_S)
    ranks = [list(Rung).index(Rung(piece.kind)) for piece in pieces]
    assert ranks == sorted(ranks)
    assert pieces[0].kind in ("last_value", "last_value_shaped")
    assert all(piece.valid_to_s <= NOON_S + 21 * DAY_S for piece in pieces)
