"""Europe from Energy-Charts: measured where it is measured, forecast where it says so, nothing where there is none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.errors import ReadFailed, Unavailable
from agent.grids.energy_charts import NAME, EnergyChartsProvider, covers, parse_co2eq
from agent.model import GridIntensity
from tests.agent.grids.asking import HTTP, asked, at, body, refusal, settings
from tests.fakes.engine_server import Answer, EngineServer, answer

PAYLOADS = Path(__file__).parents[2] / "data" / "grid" / "payloads"
FRANCE_NOW_S = 1_791_093_000.0  # 2026-10-04, two hours after the last measured value
MARCH_S = 1_711_152_000.0  # 2024-03-23T00:00Z


def recorded(name: str, country: str, now_s: float) -> tuple[GridIntensity, ...]:
    return parse_co2eq((PAYLOADS / name).read_bytes(), country.upper(), country, now_s)


def parse(times: list[Any], measured: list[Any], forecast: list[Any], now_s: float = MARCH_S) -> list[GridIntensity]:
    return list(
        parse_co2eq(body({"unix_seconds": times, "co2eq": measured, "co2eq_forecast": forecast}), "DE", "de", now_s)
    )


@pytest.fixture
def server() -> Iterator[EngineServer]:
    france = (PAYLOADS / "co2eq_fr_20261004.json").read_bytes()
    with EngineServer({"/co2eq": answer(body=france)}) as started:
        yield started


def test_the_tail_of_double_nulls_is_nothing_at_all() -> None:
    found = recorded("co2eq_fr_20261004.json", "fr", FRANCE_NOW_S)
    raw = json.loads((PAYLOADS / "co2eq_fr_20261004.json").read_bytes())
    assert len(raw["unix_seconds"]) == 192
    assert len(found) == 192 - 93
    assert found[-1].kind == "forecast"


def test_the_last_measured_value_and_the_first_forecast_say_which_they_are() -> None:
    found = recorded("co2eq_fr_20261004.json", "fr", FRANCE_NOW_S)
    seam = [(e.kind, e.g_per_kwh, e.valid_from_s) for e in found if 1_791_085_500 <= e.valid_from_s <= 1_791_086_400]
    assert seam == [("actual", 59.6, 1_791_085_500.0), ("forecast", 49.4, 1_791_086_400.0)]
    (last, *_) = [entry for entry in reversed(found) if entry.kind == "actual"]
    assert last == GridIntensity(
        zone="FR",
        g_per_kwh=59.6,
        provider="energy_charts",
        signal="average",
        basis="lifecycle",
        kind="actual",
        valid_from_s=1_791_085_500.0,
        valid_to_s=1_791_086_400.0,
        fetched_at_s=FRANCE_NOW_S,
        source="Energy-Charts co2eq fr, Fraunhofer ISE; CC BY 4.0, commercial use unclear",
    )


def test_where_both_series_have_a_value_the_measured_one_holds() -> None:
    found = {entry.valid_from_s: entry for entry in recorded("co2eq_ch.json", "ch", MARCH_S)}
    assert (found[1_711_083_600.0].kind, found[1_711_083_600.0].g_per_kwh) == ("actual", 16.3), "37.7 was forecast"
    assert len(found) == 47


@pytest.mark.parametrize(
    ("name", "country", "step_s", "entries"),
    [
        ("co2eq_at.json", "at", 900.0, 284),
        ("co2eq_de_co2.json", "de", 900.0, 188),
        ("co2eq_ch.json", "ch", 3600.0, 47),
        ("co2eq_fr.json", "fr", 3600.0, 47),
    ],
)
def test_quarters_of_an_hour_and_hours_are_told_apart(name: str, country: str, step_s: float, entries: int) -> None:
    found = recorded(name, country, MARCH_S)
    assert len(found) == entries
    assert {entry.valid_to_s - entry.valid_from_s for entry in found} == {step_s}


def test_a_time_that_is_left_out_makes_its_neighbour_no_longer() -> None:
    times = [MARCH_S, MARCH_S + 900, MARCH_S + 3600]
    assert [e.valid_to_s - e.valid_from_s for e in parse(times, [1, 2, None], [None, None, 3])] == [900.0] * 3


def test_zero_is_a_value() -> None:
    assert [e.g_per_kwh for e in parse([MARCH_S, MARCH_S + 900], [0, None], [None, 0.0])] == [0.0, 0.0]


def test_it_asks_once_for_the_country(server: EngineServer) -> None:
    found = EnergyChartsProvider(settings(server), HTTP).fetch("aws:eu-west-3", at(FRANCE_NOW_S))
    assert [asked(server)] == [("/co2eq", {"country": "fr"})]
    assert len(server.asked) == 1
    assert found[0].zone == "aws:eu-west-3"
    assert any(entry.valid_from_s <= FRANCE_NOW_S < entry.valid_to_s for entry in found)


def test_a_region_of_the_settings_is_asked_for_instead(server: EngineServer) -> None:
    EnergyChartsProvider(settings(server, region="eu"), HTTP).fetch("MT", at(FRANCE_NOW_S))
    assert asked(server)[1] == {"country": "eu"}


@pytest.mark.parametrize(
    ("zone", "country"),
    [("FR", "fr"), ("Germany", "de"), ("GB", "uk"), ("DK-DK1", "dk"), ("gcp:europe-west9", "fr"), ("US-CA", None)],
)
def test_it_covers_countries_of_europe(zone: str, country: str | None) -> None:
    assert covers(zone) == country


def test_another_zone_is_unavailable_and_not_asked_for(server: EngineServer) -> None:
    with pytest.raises(Unavailable, match="does not cover US-CA"):
        EnergyChartsProvider(settings(server), HTTP).fetch("US-CA", at(FRANCE_NOW_S))
    assert server.asked == []


@pytest.mark.parametrize(
    ("broken", "fault", "said"),
    [
        (
            answer(400, b"'fr' is not the code for an available country. Available: at, be, ..."),
            Unavailable,
            "energy_charts: country 'fr' is not known there",
        ),
        (answer(400, b"bad start"), ReadFailed, "energy_charts: http 400"),
        (answer(429, b"", retry_after="40"), ReadFailed, "energy_charts: http 429: asked too often"),
        (answer(410), Unavailable, "energy_charts: http 410: the service has ended"),
        (answer(502, b"<html>"), ReadFailed, "energy_charts: http 502: the server is in trouble"),
        (answer(200, b"<html>maintenance</html>"), ReadFailed, "energy_charts: answer is not JSON"),
        (answer(200, b'{"detail": "no content"}'), ReadFailed, "energy_charts: unix_seconds is missing"),
        (answer(200, b""), ReadFailed, "energy_charts: answer is empty"),
    ],
)
def test_a_refusal_says_what_it_is(server: EngineServer, broken: Answer, fault: type[Exception], said: str) -> None:
    server.answers["/co2eq"] = broken
    with pytest.raises(fault) as caught:
        EnergyChartsProvider(settings(server), HTTP).fetch("FR", at(FRANCE_NOW_S))
    assert str(caught.value) == said


def test_how_long_to_wait_reaches_the_caller(server: EngineServer) -> None:
    server.answers["/co2eq"] = answer(429, retry_after="40")
    with pytest.raises(ReadFailed) as caught:
        EnergyChartsProvider(settings(server), HTTP).fetch("FR", at(FRANCE_NOW_S))
    assert caught.value.retry_after_s == 40.0


T = [MARCH_S, MARCH_S + 900]


@pytest.mark.parametrize(
    ("times", "measured", "forecast", "words"),
    [
        (T, [-1, 2], [None, None], ("co2eq[0]", "-1 g/kWh")),
        (T, [1, 10_000], [None, None], ("co2eq[1]", "10000 g/kWh")),
        (T, [None, None], ["7", 2], ("co2eq_forecast[0]", "not a number")),
        (T, [None, None], [None, None], ("holds no value",)),
        (T, [1], [None, None], ("co2eq", "not as long as unix_seconds")),
        (T, [1, 2], None, ("co2eq_forecast", "not as long as unix_seconds")),
        ([], [], [], ("unix_seconds", "empty")),
        (T[:1], [1], [None], ("unix_seconds", "one time alone")),
        ([T[0], T[0]], [1, 2], [None, None], ("unix_seconds", "same time twice")),
        ([t * 1000 for t in T], [1, 2], [None, None], ("unix_seconds", "not Unix seconds")),
        ([T[0], None], [1, 2], [None, None], ("unix_seconds", "is null")),
        ([T[0], T[0] + 86_400], [1, 2], [None, None], ("unix_seconds", "steps of 86400 s")),
        ([T[0] + 7200, T[1] + 7200], [1, None], [None, 5], ("value of the future",)),
    ],
)
def test_a_payload_with_a_fault_is_refused(times: Any, measured: Any, forecast: Any, words: tuple[str, ...]) -> None:
    with refusal(NAME, *words):
        parse(times, measured, forecast)


def test_its_values_are_of_whole_lives_as_a_country_that_burns_nothing_shows() -> None:
    """Of combustion alone, Switzerland's water and uranium would be near 0; over their lives they are 12 to 24."""
    swiss = recorded("co2eq_ch.json", "ch", MARCH_S + 10 * 86_400)
    assert min(e.g_per_kwh for e in swiss) > 9.0
    assert {e.basis for e in swiss} == {"lifecycle"}
