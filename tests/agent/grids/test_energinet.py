"""Denmark: values and prognosis, in UTC."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from agent.errors import Unavailable
from agent.grids.energinet import ACTUAL, NAME, PROGNOSIS, EnerginetProvider, covers, parse_records
from agent.model import GridIntensity
from tests.agent.grids.asking import HTTP, asked, at, body, refusal, settings
from tests.fakes.engine_server import EngineServer, answer

NOW_S = 1_791_254_580.0  # 2026-10-06T02:43:00Z
ROW = {"Minutes5UTC": "2026-10-06T02:35:00", "Minutes5DK": "2026-10-06T04:35:00", "PriceArea": "DK1", "CO2Emission": 75}
ROWS = [
    ROW,
    {
        "Minutes5UTC": "2026-10-06T02:30:00",
        "Minutes5DK": "2026-10-06T04:30:00",
        "PriceArea": "DK1",
        "CO2Emission": 74.5,
    },
]
AHEAD = [
    {"Minutes5UTC": "2026-10-06T02:45:00", "Minutes5DK": "2026-10-06T04:45:00", "PriceArea": "DK1", "CO2Emission": 81},
    {"Minutes5UTC": "2026-10-06T02:40:00", "Minutes5DK": "2026-10-06T04:40:00", "PriceArea": "DK1", "CO2Emission": 80},
]


def records(*rows: dict[str, Any], dataset: str = ACTUAL) -> bytes:
    return body({"total": len(rows), "sort": "Minutes5UTC desc", "limit": 1000, "dataset": dataset, "records": rows})


def parse(*rows: dict[str, Any], dataset: str = ACTUAL) -> tuple[GridIntensity, ...]:
    return parse_records(records(*rows), "DK-DK1", "DK1", dataset, NOW_S)


@pytest.fixture
def server() -> Iterator[EngineServer]:
    served = {
        "/dataset/CO2Emis": answer(body=records(*ROWS)),
        "/dataset/CO2EmisProg": answer(body=records(*AHEAD, dataset=PROGNOSIS)),
    }
    with EngineServer(served) as started:
        yield started


def test_a_row_is_five_minutes_of_direct_intensity_that_began_at_its_time_in_utc() -> None:
    assert parse(ROW) == (
        GridIntensity(
            zone="DK-DK1",
            g_per_kwh=75.0,
            provider="energinet",
            signal="average",
            basis="direct",
            kind="actual",
            valid_from_s=1_791_254_100.0,
            valid_to_s=1_791_254_400.0,
            fetched_at_s=NOW_S,
            source="CO2Emis DK1, Energinet; CC BY 4.0",
        ),
    )


def test_values_come_first_and_the_prognosis_of_the_time_after_them_follows(server: EngineServer) -> None:
    provider = EnerginetProvider(settings(server), HTTP)
    found = provider.fetch("DK1", at(NOW_S))
    assert [(entry.kind, entry.g_per_kwh) for entry in found] == [
        ("actual", 74.5),
        ("actual", 75.0),
        ("forecast", 80.0),
        ("forecast", 81.0),
    ]
    assert all(later.valid_from_s - sooner.valid_from_s == 300.0 for sooner, later in pairwise(found))
    assert any(entry.valid_from_s <= NOW_S < entry.valid_to_s for entry in found)
    assert provider.faults == ()


def test_it_asks_in_utc_for_its_area_alone(server: EngineServer) -> None:
    EnerginetProvider(settings(server), HTTP).fetch("DK-DK1", at(NOW_S))
    path, query = asked(server, 0)
    assert path == "/dataset/CO2Emis"
    assert query["timezone"] == "UTC"
    assert query["filter"] == '{"PriceArea":["DK1"]}'
    assert query["start"] == "2026-10-05T00:43"  # yesterday's same hour is in it
    assert asked(server, 1)[1]["start"] == "2026-10-06T02:40"  # where the values end


def test_a_prognosis_that_fails_does_not_take_the_values_with_it_and_is_told(server: EngineServer) -> None:
    provider = EnerginetProvider(settings(server), HTTP)
    server.answers["/dataset/CO2EmisProg"] = answer(503)
    assert [entry.kind for entry in provider.fetch("DK1", at(NOW_S))] == ["actual", "actual"]
    assert "503" in str(provider.faults[0])
    server.answers["/dataset/CO2EmisProg"] = answer(body=records(*AHEAD))
    provider.fetch("DK1", at(NOW_S))
    assert provider.faults == ()


@pytest.mark.parametrize(
    ("zone", "area"),
    [("DK-DK1", "DK1"), ("DK2", "DK2"), ("azure:denmarkeast", "DK2"), ("DK", None), ("SE", None), ("nowhere", None)],
)
def test_it_covers_denmarks_two_areas_and_never_denmark_as_a_whole(zone: str, area: str | None) -> None:
    assert covers(zone) == area


def test_another_zone_is_unavailable_unless_a_region_is_configured(server: EngineServer) -> None:
    with pytest.raises(Unavailable, match="does not cover DK"):
        EnerginetProvider(settings(server), HTTP).fetch("DK", at(NOW_S))
    assert server.asked == []
    (first, *_) = EnerginetProvider(settings(server, region="DK1"), HTTP).fetch("DK", at(NOW_S))
    assert (first.zone, first.source) == ("DK", "CO2Emis DK1, Energinet; CC BY 4.0")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"CO2Emission": None}, ("CO2Emission", "null")),
        ({"CO2Emission": "75"}, ("CO2Emission", "not a number")),
        ({"CO2Emission": True}, ("CO2Emission", "not a number")),
        ({"CO2Emission": -1}, ("CO2Emission", "-1 g/kWh")),
        ({"CO2Emission": 10_000}, ("CO2Emission", "10000 g/kWh")),
        ({"PriceArea": "DK2"}, ("PriceArea", "'DK2', not 'DK1'")),
        ({"Minutes5UTC": "2026-10-06T04:35:00"}, ("Minutes5UTC", "Danish time: not UTC")),
        ({"Minutes5UTC": "2026-10-06T04:35:00+02:00", "Minutes5DK": None}, ("Minutes5UTC", "not a time in UTC")),
        ({"Minutes5UTC": "soon", "Minutes5DK": None}, ("Minutes5UTC", "not a time in UTC")),
        ({"Minutes5UTC": None}, ("Minutes5UTC",)),
        ({"Minutes5UTC": "2026-10-06T04:35:00", "Minutes5DK": None}, ("future", "local time")),
    ],
)
def test_a_faulty_row_refuses_the_answer_with_its_field(change: dict[str, Any], words: tuple[str, ...]) -> None:
    with refusal(NAME, *words):
        parse(ROWS[1], {**ROW, **change})


def test_zero_is_a_value() -> None:
    assert parse({**ROW, "CO2Emission": 0})[0].g_per_kwh == 0.0


def test_winter_time_is_one_hour_ahead_and_as_good() -> None:
    row = {**ROW, "Minutes5UTC": "2026-01-06T02:35:00", "Minutes5DK": "2026-01-06T03:35:00"}
    assert parse(row)[0].valid_from_s == 1_767_666_900.0


def test_the_hour_that_comes_twice_is_refused_where_it_makes_two_values_of_one_time() -> None:
    with refusal(NAME, "records", "two values for 2026-10-06T02:35Z"):
        parse(ROW, {**ROW, "CO2Emission": 70})


@pytest.mark.parametrize(
    ("answered", "words"),
    [
        (b"", ("is empty",)),
        (b"<html>busy</html>", ("is not JSON",)),
        (b'{"records": [{"CO2Emission": NaN}]}', ("NaN",)),
        (body({"message": "Bad Request", "statusCode": 400}), ("records", "is missing")),
        (body({"total": 0, "records": []}), ("records", "is empty")),
        (body({"total": 0, "records": None}), ("records", "not a list")),
        (body({"records": [7]}), ("records[0]", "not an object")),
        (body(["records"]), ("records",)),
    ],
)
def test_an_answer_that_is_none_is_refused(answered: bytes, words: tuple[str, ...]) -> None:
    with refusal(NAME, *words):
        parse_records(answered, "DK-DK1", "DK1", ACTUAL, NOW_S)


def test_a_prognosis_is_a_forecast_and_may_lie_in_the_future() -> None:
    (entry,) = parse(AHEAD[0], dataset=PROGNOSIS)
    assert replace(entry, kind="actual", source="") == replace(parse(AHEAD[0])[0], source="")
    assert entry.kind == "forecast"
    assert "CO2EmisProg" in entry.source
