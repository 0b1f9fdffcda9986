"""Electricity Maps: the zone that was asked for, as final as it says, and a 401 read for what it means."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from agent.errors import JoulecarError, ReadFailed, Unavailable
from agent.grids.electricity_maps import EVERY_S, NAME, ElectricityMapsProvider, covers, parse_latest, parse_rows
from agent.model import GridIntensity, Instant
from agent.settings import ProviderSettings
from tests.agent.grids.asking import HTTP, TOKEN, asked, at, body, refusal, settings
from tests.fakes.engine_server import Answer, EngineServer, answer

NOW_S = 1_787_420_040.0  # 2026-08-22T17:34:00Z
HOUR_17_S = 1_787_418_000.0
# As v4 answered on that day.
LATEST: dict[str, Any] = {
    "zone": "DK-DK2",
    "carbonIntensity": 75,
    "datetime": "2026-08-22T17:00:00.000Z",
    "updatedAt": "2026-08-22T17:24:08.708Z",
    "createdAt": "2026-08-21T22:35:11.365Z",
    "emissionFactorType": "lifecycle",
    "flowTraced": True,
    "isEstimated": True,
    "estimationMethod": "FORECASTS_HIERARCHY",
    "temporalGranularity": "hourly",
}
V3_LATEST: dict[str, Any] = {k: v for k, v in LATEST.items() if k not in ("flowTraced", "temporalGranularity")}


def row(hour: str, g: Any, estimated: bool, **more: Any) -> dict[str, Any]:
    method = "FORECASTS_HIERARCHY" if estimated else None
    return {
        "zone": "DK-DK2",
        "carbonIntensity": g,
        "datetime": f"2026-08-22T{hour}:00:00.000Z",
        "updatedAt": "2026-08-22T17:24:08.708Z",
        "createdAt": "2026-08-19T22:35:11.365Z",
        "emissionFactorType": "lifecycle",
        "isEstimated": estimated,
        "estimationMethod": method,
        **more,
    }


ROWS = [row("14", 60, False), row("15", 64, False), row("16", 70, True), row("17", 75, True)]
HISTORY = {"zone": "DK-DK2", "temporalGranularity": "hourly", "history": ROWS}
FORECAST = {
    "zone": "DK-DK2",
    "updatedAt": "2026-08-22T17:24:08.708Z",
    "forecast": [
        {"carbonIntensity": g, "datetime": f"2026-08-22T{hour}:00:00.000Z"}
        for hour, g in ((17, 74), (18, 80), (19, 83))
    ],
}
V4 = "/v4/carbon-intensity/"


@pytest.fixture
def server() -> Iterator[EngineServer]:
    answers = {
        V4 + "latest": answer(body=body(LATEST)),
        V4 + "history": answer(body=body(HISTORY)),
        V4 + "forecast": answer(body=body(FORECAST)),
    }
    with EngineServer(answers) as started:
        yield started


def latest(**change: Any) -> GridIntensity:
    (found,) = parse_latest(body({**LATEST, **change}), "DK-DK2", "DK-DK2", NOW_S)
    return found


def history(*rows: Any, **change: Any) -> tuple[GridIntensity, ...]:
    return parse_rows(body({**HISTORY, "history": rows, **change}), "DK-DK2", "DK-DK2", NOW_S)


def test_latest_is_mostly_an_estimate_and_says_so() -> None:
    assert latest() == GridIntensity(
        zone="DK-DK2",
        g_per_kwh=75.0,
        provider="electricity_maps",
        signal="average",
        basis="lifecycle",
        kind="estimated",
        valid_from_s=HOUR_17_S,
        valid_to_s=HOUR_17_S + 3600,
        fetched_at_s=NOW_S,
        source="ElectricityMaps.com, DK-DK2, forecasts_hierarchy; free keys: no commercial use",
    )


def test_version_3_says_the_same_in_fewer_fields() -> None:
    assert parse_latest(body(V3_LATEST), "DK-DK2", "DK-DK2", NOW_S) == (latest(),)


@pytest.mark.parametrize(
    ("is_estimated", "method", "kind"),
    [
        (False, None, "actual"),
        (True, "TIME_SLICER_AVERAGE", "estimated"),
        (True, None, "estimated"),
        (False, "TIME_SLICER_AVERAGE", "estimated"),
        (None, None, "estimated"),
        ("false", None, "estimated"),
    ],
)
def test_only_what_is_said_to_be_no_estimate_is_actual(is_estimated: Any, method: Any, kind: str) -> None:
    assert latest(isEstimated=is_estimated, estimationMethod=method).kind == kind


def test_what_the_answer_does_not_say_is_an_estimate() -> None:
    bare = {k: v for k, v in LATEST.items() if k not in ("isEstimated", "estimationMethod")}
    assert parse_latest(body(bare), "DK-DK2", "DK-DK2", NOW_S)[0].kind == "estimated"


def test_an_estimate_of_an_hour_that_has_not_begun_is_a_forecast() -> None:
    ahead = latest(datetime="2026-08-22T18:00:00.000Z")
    assert (ahead.kind, ahead.valid_from_s) == ("forecast", HOUR_17_S + 3600)


def test_when_the_row_was_created_says_nothing() -> None:
    assert latest(createdAt="not a time") == latest(createdAt=None) == latest()


@pytest.mark.parametrize(("granularity", "seconds"), [("hourly", 3600), ("15_minutes", 900), ("5_minutes", 300)])
def test_an_interval_is_as_long_as_it_says(granularity: str, seconds: int) -> None:
    found = latest(temporalGranularity=granularity)
    assert found.valid_to_s - found.valid_from_s == seconds


def test_history_keeps_apart_what_is_final_and_what_is_not() -> None:
    assert [(e.kind, e.g_per_kwh) for e in history(*ROWS)] == [
        ("actual", 60.0),
        ("actual", 64.0),
        ("estimated", 70.0),
        ("estimated", 75.0),
    ]


@pytest.mark.parametrize("key", ["history", "data", "forecast"])
def test_the_rows_may_stand_under_any_of_the_three_names(key: str) -> None:
    assert len(parse_rows(body({"zone": "DK-DK2", key: ROWS}), "DK-DK2", "DK-DK2", NOW_S)) == 4


def test_an_hour_that_is_null_is_left_out_and_zero_is_kept() -> None:
    assert [e.g_per_kwh for e in history(row("14", None, False), row("15", 0, False))] == [0.0]
    with refusal(NAME, "holds no value"):
        history(row("14", None, False))


def test_forecast_rows_have_a_value_and_a_time_alone() -> None:
    found = parse_rows(body(FORECAST), "DK-DK2", "DK-DK2", NOW_S, forecast=True)
    assert [(e.kind, e.g_per_kwh) for e in found] == [("forecast", 74.0), ("forecast", 80.0), ("forecast", 83.0)]


def test_a_day_behind_and_the_days_ahead_are_joined_with_one_statement_about_each_hour(server: EngineServer) -> None:
    provider = ElectricityMapsProvider(settings(server), HTTP)
    found = provider.fetch("DK-DK2", at(NOW_S))
    assert [(e.kind, e.g_per_kwh) for e in found] == [
        ("actual", 60.0),
        ("actual", 64.0),
        ("estimated", 70.0),
        ("estimated", 75.0),
        ("forecast", 80.0),
        ("forecast", 83.0),
    ]
    assert provider.faults == ()


def test_every_request_names_the_zone_forbids_the_lookup_of_the_caller_and_carries_the_key_in_a_header(
    server: EngineServer,
) -> None:
    ElectricityMapsProvider(settings(server), HTTP).fetch("DK-DK2", at(NOW_S))
    usual = {"zone": "DK-DK2", "disableCallerLookup": "true", "emissionFactorType": "lifecycle"}
    assert [asked(server, n) for n in range(3)] == [
        (V4 + "latest", usual),
        (V4 + "history", usual),
        (V4 + "forecast", {**usual, "horizonHours": "72"}),
    ]
    assert {headers["auth-token"] for _, headers in server.asked} == {TOKEN}
    assert TOKEN not in str([path for path, _ in server.asked])


def test_base_url_may_name_version_3(server: EngineServer) -> None:
    old = "/v3/carbon-intensity/"
    server.answers = {
        old + "latest": answer(body=body(V3_LATEST)),
        old + "history": answer(body=body(HISTORY)),
        old + "forecast": answer(body=body(FORECAST)),
    }
    given = settings(server)
    v3 = ProviderSettings(f"{server.url}/v3", 10.0, given.token)
    assert len(ElectricityMapsProvider(v3, HTTP).fetch("DK-DK2", at(NOW_S))) == 6


def test_a_cloud_region_is_asked_for_as_a_data_centre(server: EngineServer) -> None:
    for endpoint, data in (("latest", LATEST), ("history", HISTORY), ("forecast", FORECAST)):
        server.answers[V4 + endpoint] = answer(body=body(data).replace(b"DK-DK2", b"BE"))
    found = ElectricityMapsProvider(settings(server), HTTP).fetch("gcp:europe-west1", at(NOW_S))
    query = asked(server, 0)[1]
    assert (query["dataCenterProvider"], query["dataCenterRegion"]) == ("gcp", "europe-west1")
    assert "zone" not in query
    assert {entry.zone for entry in found} == {"gcp:europe-west1"}
    assert "BE" in found[0].source


def test_a_cloud_region_in_another_country_is_refused(server: EngineServer) -> None:
    with refusal(NAME, "zone", "'DK-DK2'", "not one in BE"):
        ElectricityMapsProvider(settings(server), HTTP).fetch("gcp:europe-west1", at(NOW_S))


def test_the_zone_of_the_caller_is_refused_in_every_answer(server: EngineServer) -> None:
    with refusal(NAME, "zone", "'FR'", "not 'DK-DK2'"):
        latest(zone="FR")
    with refusal(NAME, "zone", "'FR'"):
        history(*ROWS, zone="FR")
    with refusal(NAME, "zone", "'FR'"):
        history(row("14", 60, False, zone="FR"))
    with refusal(NAME, "zone", "missing"):
        parse_latest(body({"carbonIntensity": 75}), "DK-DK2", "DK-DK2", NOW_S)


@pytest.mark.parametrize(
    ("zone", "region"),
    [
        ("FR", "FR"),
        ("France", "FR"),
        ("DK-DK1", "DK-DK1"),
        ("CA-QC", "CA-QC"),
        ("US-CA", "US-CAL-CISO"),
        ("US-VT", "US-NE-ISNE"),
        ("US-WY", None),
        ("CA-NL", None),
        ("aws:us-east-1", "aws:us-east-1"),
        ("nowhere", None),
    ],
)
def test_zones_are_called_as_it_calls_them(zone: str, region: str | None) -> None:
    assert covers(zone) == region


def test_a_zone_without_a_name_there_is_unavailable_and_not_asked_for(server: EngineServer) -> None:
    with pytest.raises(Unavailable, match="does not cover US-WY"):
        ElectricityMapsProvider(settings(server), HTTP).fetch("US-WY", at(NOW_S))
    assert server.asked == []


def test_without_a_key_nothing_is_asked(server: EngineServer) -> None:
    with pytest.raises(Unavailable, match="no key"):
        ElectricityMapsProvider(settings(server, token=None), HTTP).fetch("DK-DK2", at(NOW_S))
    assert server.asked == []


OUTSIDE_THE_PLAN = (
    b'{"error":"Request unauthorized for zoneKey=DK-DK2,requestType=latest,dataType=carbon-intensity.",'
    b'"message":"You do not have access to this specific endpoint for this specific zone."}'
)


@pytest.mark.parametrize(
    ("broken", "fault", "said"),
    [
        (
            answer(401, b'{"error":"Invalid auth-token"}'),
            Unavailable,
            "electricity_maps: http 401: the key is missing or was refused",
        ),
        (
            answer(401, OUTSIDE_THE_PLAN),
            Unavailable,
            "electricity_maps: http 401: the key's plan lacks latest of DK-DK2",
        ),
        (
            answer(403, b"Access denied"),
            Unavailable,
            "electricity_maps: http 403: not allowed for this key or this address",
        ),
        (
            answer(400, b'{"status":"error","message":"Zone is not valid"}'),
            Unavailable,
            "electricity_maps: http 400: latest of DK-DK2 is not known there",
        ),
        (
            answer(404, b'{"error":"Zone \'DK-DK2\' does not exist."}'),
            Unavailable,
            "electricity_maps: http 404: latest of DK-DK2 is not known there",
        ),
        (
            answer(404, b'{"status":"no-data","message":"No recent data"}'),
            ReadFailed,
            "electricity_maps: http 404: no data of DK-DK2 now",
        ),
        (answer(410), Unavailable, "electricity_maps: http 410: the service has ended"),
        (answer(429, retry_after="7"), ReadFailed, "electricity_maps: http 429: asked too often"),
        (answer(503, b"upstream"), ReadFailed, "electricity_maps: http 503: the server is in trouble"),
        (answer(200, b'{"status":"no-data","data":{}}'), ReadFailed, "electricity_maps: zone is missing"),
        (answer(200, b'{"error":"nothing"}'), ReadFailed, "electricity_maps: zone is missing"),
        (answer(200, b"<html>"), ReadFailed, "electricity_maps: answer is not JSON"),
    ],
)
def test_a_refusal_says_what_it_means(
    server: EngineServer, broken: Answer, fault: type[JoulecarError], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers[V4 + "latest"] = broken
    provider = ElectricityMapsProvider(settings(server), HTTP)
    with caplog.at_level(logging.INFO), pytest.raises(fault) as caught:
        provider.fetch("DK-DK2", at(NOW_S))
    assert str(caught.value) == said
    assert TOKEN not in str(caught.value) + caplog.text + repr(provider) + repr(vars(provider))
    assert len(server.asked) == 1, "without latest nothing else is asked"


def test_what_the_plan_lacks_is_told_and_asked_for_again_after_a_day(server: EngineServer) -> None:
    server.answers[V4 + "forecast"] = answer(401, OUTSIDE_THE_PLAN)
    provider = ElectricityMapsProvider(settings(server), HTTP)
    assert len(provider.fetch("DK-DK2", Instant(0.0, NOW_S))) == 4
    assert [str(f) for f in provider.faults] == ["electricity_maps: http 401: the key's plan lacks forecast of DK-DK2"]
    provider.fetch("DK-DK2", Instant(80_000.0, NOW_S))
    assert [str(f) for f in provider.faults] == ["electricity_maps: the key's plan lacks forecast"]
    assert [asked(server, n)[0] for n in range(5)].count(V4 + "forecast") == 1 and len(server.asked) == 5
    server.answers[V4 + "forecast"] = answer(body=body(FORECAST))
    assert len(provider.fetch("DK-DK2", Instant(86_400.0, NOW_S))) == 6
    assert provider.faults == ()


def test_a_history_that_fails_for_now_is_asked_for_the_next_time(server: EngineServer) -> None:
    server.answers[V4 + "history"] = answer(503)
    provider = ElectricityMapsProvider(settings(server), HTTP)
    assert [e.kind for e in provider.fetch("DK-DK2", at(NOW_S))] == ["estimated", "forecast", "forecast"]
    assert [str(f) for f in provider.faults] == ["electricity_maps: http 503: the server is in trouble"]
    server.answers[V4 + "history"] = answer(body=body(HISTORY))
    assert [e.kind for e in provider.fetch("DK-DK2", at(NOW_S))] == ["actual", "actual", "estimated", "estimated"]
    assert provider.faults == ()


def test_latest_is_asked_for_each_time_and_the_day_behind_once_an_hour(server: EngineServer) -> None:
    provider = ElectricityMapsProvider(settings(server), HTTP)
    for n in range(9):  # two hours
        provider.fetch("DK-DK2", Instant(n * EVERY_S, NOW_S))
    paths = [asked(server, n)[0] for n in range(len(server.asked))]
    assert [paths.count(V4 + what) for what in ("latest", "history", "forecast")] == [9, 3, 3]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"carbonIntensity": None}, ("carbonIntensity", "null")),
        ({"carbonIntensity": -1}, ("carbonIntensity", "-1 g/kWh")),
        ({"carbonIntensity": 10_000}, ("carbonIntensity", "10000 g/kWh")),
        ({"carbonIntensity": "75"}, ("carbonIntensity", "not a number")),
        ({"datetime": "2026-08-22T17:00:00"}, ("datetime", "no time zone")),
        ({"datetime": "2026-08-22T19:00:00+02:00"}, ("datetime", "not in UTC")),
        ({"datetime": None}, ("datetime", "not a time")),
        ({"emissionFactorType": "direct"}, ("emissionFactorType", "'direct'", "not 'lifecycle'")),
        ({"temporalGranularity": "daily"}, ("temporalGranularity", "'daily'")),
        ({"temporalGranularity": ["hourly"]}, ("temporalGranularity",)),
        ({"datetime": "2026-08-22T19:00:00Z", "isEstimated": False, "estimationMethod": None}, ("of the future",)),
    ],
)
def test_a_payload_with_a_fault_is_refused(change: dict[str, Any], words: tuple[str, ...]) -> None:
    with refusal(NAME, *words):
        latest(**change)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ((), ("history", "empty")),
        ((row("14", 60, False), row("14", 61, False)), ("two values", "repeated hour")),
        ((row("14", -60, False),), ("history[0].carbonIntensity", "-60 g/kWh")),
        ((row("14", 60, False, emissionFactorType="direct"),), ("history[0].emissionFactorType",)),
        ((row("19", 60, False), row("20", 60, True)), ("of the future",)),
        (("nothing",), ("carbonIntensity", "not an object")),
    ],
)
def test_rows_with_a_fault_are_refused(rows: tuple[Any, ...], words: tuple[str, ...]) -> None:
    with refusal(NAME, *words):
        history(*rows)


def test_a_method_of_any_name_is_short_and_plain_in_the_source() -> None:
    assert "x" * 40 + ";" in latest(estimationMethod="x" * 500).source
    assert latest(estimationMethod='MODE_\n"{}').source.count("mode_;") == 1


@pytest.mark.parametrize(
    ("zone", "region"), [("scaleway:nl-ams", "NL"), ("ovh:gra", "FR"), ("aws:eu-west-3", "aws:eu-west-3")]
)
def test_a_cloud_that_it_does_not_know_is_asked_for_by_its_country(zone: str, region: str) -> None:
    assert covers(zone) == region
