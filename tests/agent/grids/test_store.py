"""A history as a file: what comes back is what was written, and a broken file is an answer, never an exception."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.grids.history import DAY_S, HOUR_S, History, Series, remember
from agent.grids.ladder import timeline
from agent.grids.store import MAX_BYTES, Broken, decode, encode, file_name
from tests.agent.grids.test_history import NOON_S, statements, told
from tests.grid_years import START_S, history_at, load_year

histories = st.lists(statements, max_size=10).map(lambda entries: remember(History(), entries))
SMALL = remember(History(), [told(0, 300.0), told(1, 310.5, "forecast", fetched=0.5)])


def stored(**changes: Any) -> str:
    """SMALL's text with other fields."""
    return json.dumps({**json.loads(encode(SMALL)), **changes})


def with_row(*row: Any) -> str:
    return stored(told=[list(row)])


GOOD = (NOON_S, NOON_S + HOUR_S, 300.0, 0, NOON_S, 0)


def reason(text: str | bytes) -> str:
    found = decode(text)
    assert isinstance(found, Broken), found
    return found.reason


@given(histories)
def test_a_history_comes_back_as_it_was(history: History) -> None:
    assert decode(encode(history)) == history
    assert decode(encode(history).encode()) == history


def test_a_restart_in_the_middle_of_an_outage_changes_nothing() -> None:
    year = load_year("CISO")
    history = history_at(year, 4000)
    restarted = decode(encode(history))
    assert isinstance(restarted, History)
    from_s = START_S + 4000 * HOUR_S
    assert timeline(restarted, year.yearly(), from_s, from_s + 30 * DAY_S) == timeline(
        history, year.yearly(), from_s, from_s + 30 * DAY_S
    )


def test_nine_days_of_hours_take_12_kilobytes_and_of_five_minutes_far_less_than_what_is_read() -> None:
    assert len(encode(history_at(load_year("CISO"), 4000))) < 13_000
    five_minutes = remember(History(), [told(n / 12, 300.123, hours=1 / 12) for n in range(-9 * 288, 0)])
    assert len(encode(five_minutes)) < MAX_BYTES / 10


def test_a_history_without_statements_keeps_its_series() -> None:
    for history in (History(), History(Series("DE", "neso", "average", "direct"))):
        assert decode(encode(history)) == history


@given(st.text(max_size=40) | st.binary(max_size=40))
def test_no_text_raises(text: str | bytes) -> None:
    decode(text)


@given(st.integers(0, 400), st.binary(min_size=1, max_size=3))
def test_a_history_cut_or_overwritten_anywhere_is_broken_or_well_formed(place: int, scrawl: bytes) -> None:
    whole = encode(SMALL).encode()
    place %= len(whole)
    assert isinstance(decode(whole[:place]), Broken)
    found = decode(whole[:place] + scrawl + whole[place + len(scrawl) :])
    assert isinstance(found, Broken | History)
    if isinstance(found, History):
        assert found == remember(History(found.series), found.told)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=7) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


@given(st.sampled_from(["joulecar_grid_history", "series", "kinds", "sources", "told"]), json_values, st.integers(0, 5))
def test_no_field_of_another_type_raises(field: str, value: Any, place: int) -> None:
    decode(stored(**{field: value}))
    row: list[Any] = list(GOOD)
    row[place] = value
    decode(with_row(*row))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not JSON"),
        ('{"joulecar_grid_history": 1, "told": [[1790', "not JSON"),
        ("[" * 100_000, "nested too deep"),
        (b"\xff\xfe\x00", "not JSON"),
        (" " * (MAX_BYTES + 1), "larger than"),
        ("[]", "not a stored grid history"),
        ('{"told": []}', "not a stored grid history"),
        (stored(joulecar_grid_history=2), "joulecar_grid_history is 2, and this version of Joulecar reads 1"),
        (stored(joulecar_grid_history=True), "joulecar_grid_history is True"),
        (stored(told=None), "told is not a list"),
        (stored(series=None), "series is missing"),
        (stored(series=[]), "series is not an object"),
        (stored(series={"zone": "DE", "provider": "x", "signal": "average"}), "series.basis is missing"),
        (stored(series={"zone": 1, "provider": "x", "signal": "a", "basis": "b"}), "series.zone is 1, not a text"),
        (stored(kinds=[1]), "kinds is not a list of texts"),
        (stored(sources={}), "sources is not a list"),
        (with_row(*GOOD[:5]), "told[0] is not a list of 6"),
        (with_row(*GOOD, 0), "told[0] is not a list of 6"),
        (with_row("now", *GOOD[1:]), "told[0][0] is not a number"),
        (with_row(GOOD[0], None, *GOOD[2:]), "told[0][1] is not a number"),
        (with_row(*GOOD[:2], float("nan"), *GOOD[3:]), "told[0][2] is not a number"),
        (with_row(*GOOD[:2], True, *GOOD[3:]), "told[0][2] is not a number"),
        (with_row(*GOOD[:2], 10**400, *GOOD[3:]), "told[0][2] is not a number"),
        (with_row(*GOOD[:2], -5.0, *GOOD[3:]), "told[0] is no intensity of an hour"),
        (with_row(GOOD[1], GOOD[0], *GOOD[2:]), "told[0] is no intensity of an hour"),
        (with_row(GOOD[0] * 1000, GOOD[1] * 1000, *GOOD[2:]), "told[0] is no intensity of an hour"),
        (with_row(*GOOD[:3], 9, *GOOD[4:]), "told[0][3] is not a place in its list"),
        (with_row(*GOOD[:3], -1, *GOOD[4:]), "told[0][3] is not a place in its list"),
        (with_row(*GOOD[:4], "x", 0), "told[0][4] is not a number"),
        (with_row(*GOOD[:5], 1.0), "told[0][5] is not a place in its list"),
        (stored(told=[list(GOOD), list(GOOD)]), "told holds an interval twice"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str | bytes, says: str) -> None:
    assert says in reason(text)


def test_one_bad_statement_breaks_the_file_since_half_a_history_would_mislead() -> None:
    rows = json.loads(encode(SMALL))["told"]
    assert "told[1]" in reason(stored(told=[rows[0], [*rows[1][:2], None, *rows[1][3:]]]))


def test_every_series_has_a_file_of_its_own_with_a_plain_name() -> None:
    gcp = Series("gcp:europe-west1", "electricity_maps", "average", "lifecycle")
    others = [
        replace(gcp, zone="gcp_europe-west1"),
        replace(gcp, basis="direct"),
        replace(gcp, signal="marginal"),
        replace(gcp, provider="table"),
        replace(gcp, zone="../../etc/passwd"),
        replace(gcp, zone="x" * 5000),
    ]
    names = {file_name(series) for series in (gcp, *others)}
    assert len(names) == 7
    assert all(len(name) < 110 and set(name) <= set(map(chr, range(45, 123))) - set("/:") for name in names)
    assert file_name(gcp).startswith("grid-gcp_europe-west1-electricity_maps-average-lifecycle-")
    assert not any(".." in name for name in names)
