"""Great Britain from NESO: null is not zero, zero is not nothing, and a region has forecasts alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.errors import ReadFailed, Unavailable
from agent.grids.neso import NAME, NesoProvider, covers, parse_national, parse_regional
from agent.model import GridIntensity
from tests.agent.grids.asking import HTTP, asked, at, body, refusal, settings
from tests.fakes.engine_server import Answer, EngineServer, answer

PAYLOADS = Path(__file__).parents[2] / "data" / "grid" / "payloads"
NATIONAL = (PAYLOADS / "neso_intensity.json").read_bytes()
LONDON = (PAYLOADS / "neso_regional_london.json").read_bytes()
NOW_S = 1_701_601_500.0  # 2023-12-03T11:05Z
AHEAD, BEHIND = "/intensity/2023-12-03T11:00Z/fw48h", "/intensity/2023-12-03T11:00Z/pt24h"
REGIONAL = "/regional/intensity/2023-12-03T11:00Z/fw48h/regionid/13"


def slot(begin: str, end: str, **intensity: Any) -> dict[str, Any]:
    return {"from": f"2023-12-03T{begin}Z", "to": f"2023-12-03T{end}Z", "intensity": intensity}


YESTERDAY = {
    "data": [slot("10:00", "10:30", forecast=200, actual=198), slot("10:30", "11:00", forecast=211, actual=206)]
}


@pytest.fixture
def server() -> Iterator[EngineServer]:
    answers = {
        AHEAD: answer(body=NATIONAL),
        BEHIND: answer(body=body(YESTERDAY)),
        REGIONAL: answer(body=LONDON),
    }
    with EngineServer(answers) as started:
        yield started


def national(*slots: dict[str, Any]) -> tuple[GridIntensity, ...]:
    return parse_national(body({"data": slots}), "GB", NOW_S)


def test_a_recorded_answer_is_one_actual_value_and_forecasts() -> None:
    found = parse_national(NATIONAL, "GB", NOW_S)
    assert [entry.kind for entry in found] == ["actual"] + ["forecast"] * 95
    assert found[0] == GridIntensity(
        zone="GB",
        g_per_kwh=206.0,
        provider="neso",
        signal="average",
        basis="direct",
        kind="actual",
        valid_from_s=1_701_599_400.0,
        valid_to_s=1_701_601_200.0,
        fetched_at_s=NOW_S,
        source="Carbon Intensity API national, NESO; CC BY 4.0",
    )
    assert found[1].g_per_kwh == 216.0, "the forecast where actual is null"


def test_null_is_not_zero_and_zero_is_not_null() -> None:
    windy = national(
        slot("10:00", "10:30", forecast=3, actual=0),
        slot("10:30", "11:00", forecast=0, actual=None),
        slot("11:00", "11:30", forecast=None, actual=None),
    )
    assert [(entry.kind, entry.g_per_kwh) for entry in windy] == [("actual", 0.0), ("forecast", 0.0)]


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_region_has_forecasts_alone_whether_it_comes_in_a_list_or_not(wrapped: bool) -> None:
    answered = LONDON
    if wrapped:
        answered = LONDON.replace(b'{"data":{', b'{"data":[{', 1).rstrip()[:-1] + b"]}"
    found = parse_regional(answered, "GB", "13", NOW_S)
    assert {entry.kind for entry in found} == {"forecast"}
    assert len(found) == 12
    assert (found[0].g_per_kwh, found[0].basis) == (134.0, "direct")
    assert found[0].source == "Carbon Intensity API 13, NESO; CC BY 4.0"


def test_the_figures_of_another_region_are_refused() -> None:
    with refusal(NAME, "regionid", "is 13, not 7"):
        parse_regional(LONDON, "GB", "7", NOW_S)


def test_it_asks_for_the_day_behind_and_two_ahead_and_joins_them(server: EngineServer) -> None:
    found = NesoProvider(settings(server), HTTP).fetch("GB", at(NOW_S))
    assert [path for path, _ in server.asked] == [AHEAD, BEHIND]
    assert [(e.kind, e.g_per_kwh) for e in found[:3]] == [("actual", 198.0), ("actual", 206.0), ("forecast", 216.0)]
    assert len(found) == 97, "10:30 stands in both and is there once"


def test_where_the_two_answers_meet_the_actual_value_holds(server: EngineServer) -> None:
    late = {"data": [slot("10:30", "11:00", forecast=211, actual=None)]}
    server.answers[BEHIND] = answer(body=body(late))
    found = NesoProvider(settings(server), HTTP).fetch("GB", at(NOW_S))
    assert (found[0].kind, found[0].g_per_kwh) == ("actual", 206.0)


def test_a_region_of_the_settings_is_asked_for_by_its_number(server: EngineServer) -> None:
    found = NesoProvider(settings(server, region="13"), HTTP).fetch("GB", at(NOW_S))
    assert [asked(server)] == [(REGIONAL, {})]
    assert found[0].g_per_kwh == 134.0


@pytest.mark.parametrize("region", ["18", "0", "London", "13/../../x"])
def test_a_region_that_is_none_is_unavailable_and_not_asked_for(server: EngineServer, region: str) -> None:
    with pytest.raises(Unavailable) as caught:
        NesoProvider(settings(server, region=region), HTTP).fetch("GB", at(NOW_S))
    assert (str(caught.value), caught.value.fix) == (
        f"neso: region {region!r} is none of its own",
        "write 1 to 17, or national",
    )
    assert server.asked == []


@pytest.mark.parametrize(
    ("zone", "region"), [("GB", "national"), ("UK", "national"), ("aws:eu-west-2", "national"), ("FR", None)]
)
def test_it_covers_great_britain(zone: str, region: str | None) -> None:
    assert covers(zone) == region


def test_another_zone_is_unavailable_and_not_asked_for(server: EngineServer) -> None:
    with pytest.raises(Unavailable, match="does not cover FR"):
        NesoProvider(settings(server), HTTP).fetch("FR", at(NOW_S))
    assert server.asked == []


def test_without_the_day_behind_the_days_ahead_stand_and_the_lack_is_told(server: EngineServer) -> None:
    provider = NesoProvider(settings(server), HTTP)
    server.answers[BEHIND] = answer(500, b'{"error": {"code": "500", "message": "Requested resource not found."}}')
    assert len(provider.fetch("GB", at(NOW_S))) == 96
    assert [str(f) for f in provider.faults] == ["neso: http 500: the server is in trouble"]
    server.answers[BEHIND] = answer(body=body(YESTERDAY))
    provider.fetch("GB", at(NOW_S))
    assert provider.faults == ()


@pytest.mark.parametrize(
    ("broken", "fault", "said"),
    [
        (answer(400, b'{"error": {"code": "400 Bad Request"}}'), ReadFailed, "neso: http 400"),
        (answer(429), ReadFailed, "neso: http 429: asked too often"),
        (answer(500, b"Requested resource not found."), ReadFailed, "neso: http 500: the server is in trouble"),
        (answer(410), Unavailable, "neso: http 410: the service has ended"),
        (answer(200, b""), ReadFailed, "neso: answer is empty"),
        (answer(200, b'{"error": {"code": "400"}}'), ReadFailed, "neso: answer is an error in spite of its status"),
        (answer(200, b'{"data": []}'), ReadFailed, "neso: data is empty"),
        (answer(200, b"[]"), ReadFailed, "neso: data is missing: not an object"),
    ],
)
def test_a_refusal_says_what_it_is(server: EngineServer, broken: Answer, fault: type[Exception], said: str) -> None:
    server.answers[AHEAD] = broken
    with pytest.raises(fault) as caught:
        NesoProvider(settings(server), HTTP).fetch("GB", at(NOW_S))
    assert str(caught.value) == said


GOOD = slot("10:30", "11:00", forecast=211, actual=206)


@pytest.mark.parametrize(
    ("slots", "words"),
    [
        ((slot("10:30", "11:00", forecast=1, actual=-1),), ("data[0].intensity.actual", "-1 g/kWh")),
        ((slot("10:30", "11:00", forecast=10_000, actual=None),), ("data[0].intensity.forecast", "10000 g/kWh")),
        ((slot("10:30", "11:00", forecast=1),), ("actual", "missing")),
        ((slot("10:30", "11:00", actual=1),), ("forecast", "missing")),
        ((slot("10:30", "12:00", forecast=1, actual=None),), ("data[0].to", "5400 s after from")),
        ((slot("11:00", "10:30", forecast=1, actual=None),), ("data[0].to", "-1800 s after from")),
        ((GOOD, GOOD), ("two values", "repeated hour")),
        ((slot("12:00", "12:30", forecast=1, actual=5), slot("12:30", "13:00", forecast=1, actual=None)), ("future",)),
        (({**GOOD, "from": "2023-12-03T10:30"},), ("data[0].from", "no time zone")),
        (({**GOOD, "to": "2023-12-03T12:00+01:00"},), ("data[0].to", "not in UTC")),
        (({**GOOD, "intensity": None},), ("forecast", "not an object")),
        (({"to": "x"},), ("from", "missing")),
        ((slot("10:30", "11:00", forecast=None, actual=None),), ("holds no value",)),
    ],
)
def test_a_payload_with_a_fault_is_refused(slots: tuple[dict[str, Any], ...], words: tuple[str, ...]) -> None:
    with refusal(NAME, *words):
        national(*slots)


def test_two_regions_in_one_answer_are_refused() -> None:
    with refusal(NAME, "data", "2 regions"):
        parse_regional(body({"data": [{"regionid": 13}, {"regionid": 7}]}), "GB", "13", NOW_S)
