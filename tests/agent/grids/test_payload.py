"""No fault of a payload becomes a number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import ReadFailed
from agent.grids.payload import each_once, entry, g_per_kwh, read_json, rows, unix_s, utc_s


def fault(check: Callable[[], object]) -> str:
    with pytest.raises(ReadFailed) as failed:
        check()
    assert len(failed.value.reason) < 120
    return failed.value.reason


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "rte: answer is empty"),
        (b" \n", "rte: answer is empty"),
        (b"<html>Bad gateway</html>", "rte: answer is not JSON"),
        (b'{"a": 1', "rte: answer is not JSON"),
        (b'{"a": 1}\x1f\x8b', "rte: answer is not JSON"),
        (b"\xff\xfe\xfd", "rte: answer is not JSON"),
        (b"[" * 200_000, "rte: answer is not JSON"),
        (b'{"a": NaN}', "rte: answer holds NaN"),
        (b'{"a": -Infinity}', "rte: answer holds -Infinity"),
        (b'{"a": ' + b"9" * 5000 + b"}", "rte: answer is not JSON"),
    ],
)
def test_what_is_not_json_is_refused(body: bytes, said: str) -> None:
    assert fault(lambda: read_json(body, "rte")) == said


def test_json_is_read() -> None:
    assert read_json(b'{"a": [1, null]}', "rte") == {"a": [1, None]}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "rte: co2 is null"),
        ("39", "rte: co2 is '39', not a number"),
        ("x" * 5000, "rte: co2 is 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx, not a number"),
        (True, "rte: co2 is True, not a number"),
        ([], "rte: co2 is [], not a number"),
        (float("nan"), "rte: co2 is not finite"),
        (float("inf"), "rte: co2 is not finite"),
        (10**400, "rte: co2 is not finite"),
        (-1, "rte: co2 is -1 g/kWh, not 0 to 3000"),
        (-0.001, "rte: co2 is -0.001 g/kWh, not 0 to 3000"),
        (10_000, "rte: co2 is 10000 g/kWh, not 0 to 3000"),
        (3000.1, "rte: co2 is 3000.1 g/kWh, not 0 to 3000"),
    ],
)
def test_what_is_no_intensity_is_refused(value: Any, said: str) -> None:
    assert fault(lambda: g_per_kwh(value, "rte", "co2")) == said


@given(st.one_of(st.integers(0, 3000), st.floats(0, 3000)))
def test_every_intensity_that_a_grid_can_have_is_taken_as_it_is(value: float) -> None:
    assert g_per_kwh(value, "rte", "co2") == value


@given(st.one_of(st.none(), st.booleans(), st.text(), st.integers(), st.floats(), st.lists(st.integers())))
def test_an_intensity_is_a_number_in_range_or_a_fault(value: Any) -> None:
    try:
        assert 0 <= g_per_kwh(value, "rte", "co2") <= 3000
    except ReadFailed as failed:
        assert failed.reason.startswith("rte: co2 ")


@pytest.mark.parametrize(
    "text",
    ["2026-10-06T02:30:00+00:00", "2026-10-06T02:30Z", "2026-10-06T02:30:00.000Z", "2026-10-06T02:30:00Z"],
)
def test_a_time_in_utc_is_its_unix_seconds(text: str) -> None:
    assert utc_s(text, "rte", "at") == 1_791_253_800.0


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("2026-10-06T02:30:00", "rte: at has no time zone"),
        ("2026-10-06", "rte: at has no time zone"),
        ("2026-10-06T02:30:00+02:00", "rte: at is not in UTC"),
        ("2026-10-06T02:30:00+00:01", "rte: at is not in UTC"),
        ("yesterday", "rte: at is 'yesterday', not a time"),
        ("2026-02-30T02:30Z", "rte: at is '2026-02-30T02:30Z', not a time"),
        (None, "rte: at is None, not a time"),
        (1_790_000_000, "rte: at is 1790000000, not a time"),
    ],
)
def test_a_local_time_or_none_is_refused(value: Any, said: str) -> None:
    assert fault(lambda: utc_s(value, "rte", "at")) == said


def test_unix_seconds_are_neither_milliseconds_nor_a_placeholder() -> None:
    assert unix_s(1_790_000_000, "rte", "at") == 1_790_000_000.0
    for value in (0, 1_790_000_000_000, -1_790_000_000):
        assert fault(lambda value=value: unix_s(value, "rte", "at")).endswith("not Unix seconds")  # type: ignore[misc]


def test_a_moment_that_stands_twice_is_refused() -> None:
    each_once((1.0, 2.0, 3.0), "rte", "at")
    assert fault(lambda: each_once((1.0, 2.0, 1.0), "rte", "at")) == "rte: at has the same time twice"


def test_what_is_missing_is_named() -> None:
    assert entry({"a": None}, "a", "rte") is None
    assert fault(lambda: entry({}, "zone", "rte")) == "rte: zone is missing"
    assert fault(lambda: entry([], "zone", "rte")) == "rte: zone is missing: not an object"
    assert rows([1], "rte", "data") == [1]
    assert fault(lambda: rows([], "rte", "data")) == "rte: data is empty"
    assert fault(lambda: rows({}, "rte", "data")) == "rte: data is not a list"
