"""The United States, a day late: hours by their end, fuels times factors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.errors import Unavailable
from agent.grids.eia import NAME, PATH, EiaProvider, covers, parse_fuel_mix
from agent.grids.mix import US_DIRECT
from agent.model import GridIntensity
from tests.agent.grids.asking import HTTP, TOKEN, asked, at, body, refusal, settings
from tests.fakes.engine_server import EngineServer, answer

DATA = Path(__file__).parents[2] / "data" / "grid"
NOW_S = 1_667_300_000.0  # 2022-11-01, a day after the hours below
COAL, GAS, OIL = (US_DIRECT[fuel] for fuel in ("coal", "gas", "oil"))


def row(fuel: str, value: object, period: str = "2022-10-31T12", **more: object) -> dict[str, Any]:
    return {
        "period": period,
        "respondent": "CISO",
        "respondent-name": "California Independent System Operator",
        "fueltype": fuel,
        "type-name": "x",
        "value": value,
        "value-units": "megawatthours",
        **more,
    }


def document(*rows: dict[str, Any], **more: object) -> bytes:
    return body({"response": {"total": str(len(rows)), "frequency": "hourly", "data": rows, **more}})


def parse(*rows: dict[str, Any], **more: object) -> tuple[GridIntensity, ...]:
    return parse_fuel_mix(document(*rows, **more), "US-CA", "CISO", NOW_S)


@pytest.fixture
def server() -> Iterator[EngineServer]:
    with EngineServer({PATH: answer(body=document(row("NG", 1000), row("SUN", 1000)))}) as started:
        yield started


def test_a_recorded_answer_with_a_null_gives_the_hour_that_has_a_value() -> None:
    """The recorded period 2022-10-31T12 is the hour that ENDS then; the one of the null before it is no 0."""
    recorded = (DATA / "eia_fuel_mix_with_nulls.json").read_bytes()
    (entry,) = parse_fuel_mix(recorded, "US-OR", "PGE", NOW_S)
    assert (entry.valid_from_s, entry.valid_to_s) == (1_667_214_000.0, 1_667_217_600.0)  # 11:00Z to 12:00Z
    assert entry.g_per_kwh == pytest.approx(GAS)


def test_an_hour_is_actual_and_its_validity_says_how_old_it_is() -> None:
    assert parse(row("NG", 1000), row("SUN", "3000")) == (
        GridIntensity(
            zone="US-CA",
            g_per_kwh=1000 * GAS / 4000,
            provider="eia",
            signal="average",
            basis="direct",
            kind="actual",
            valid_from_s=1_667_214_000.0,
            valid_to_s=1_667_217_600.0,
            fetched_at_s=NOW_S,
            source="EIA-930 net generation of CISO, public domain; factors: EIA, U.S. plants of 2023",
        ),
    )


def test_every_fuel_has_its_factor() -> None:
    mix = {"COL": 1, "NG": 2, "OIL": 3, "NUC": 4, "WAT": 5, "GEO": 6, "SUN": 7, "SNB": 8, "WND": 9, "WNB": 10}
    (entry,) = parse(*(row(fuel, mwh) for fuel, mwh in mix.items()))
    assert entry.g_per_kwh == pytest.approx((COAL + 2 * GAS + 3 * OIL) / 55)


def test_storage_is_no_generation_whatever_it_does() -> None:
    with_storage = parse(row("NG", 1000), row("SUN", 1000), row("BAT", 900), row("PS", -700), row("UES", None))
    assert with_storage[0].g_per_kwh == pytest.approx(GAS / 2)


def test_what_a_standing_plant_draws_is_no_negative_generation() -> None:
    assert parse(row("NG", 1000), row("SUN", -20))[0].g_per_kwh == pytest.approx(GAS)


def test_an_hour_that_lacks_one_of_the_fuels_is_left_out() -> None:
    found = parse(
        row("NG", 1000, "2022-10-31T10"),
        row("COL", 1000, "2022-10-31T10"),
        row("NG", 1000, "2022-10-31T11"),
        row("COL", None, "2022-10-31T11"),
        row("NG", 1000, "2022-10-31T12"),
    )
    assert [entry.g_per_kwh for entry in found] == [pytest.approx((GAS + COAL) / 2)]
    assert found[0].valid_to_s == 1_667_210_400.0


def test_fuels_without_a_factor_are_left_out_as_long_as_they_are_few() -> None:
    assert parse(row("NG", 1000), row("OTH", 170))[0].g_per_kwh == pytest.approx(GAS)
    with refusal(NAME, "data", "with a factor"):
        parse(row("NG", 1000), row("OTH", 180))


def test_it_asks_for_three_days_of_its_authority_with_the_key(server: EngineServer) -> None:
    (entry,) = EiaProvider(settings(server), HTTP).fetch("US-CA", at(NOW_S))
    assert entry.g_per_kwh == pytest.approx(GAS / 2)
    path, query = asked(server)
    assert path == "/v2/electricity/rto/fuel-type-data/data/"
    assert query["api_key"] == TOKEN
    assert query["facets[respondent][]"] == "CISO"
    assert (query["frequency"], query["data[]"], query["length"]) == ("hourly", "value", "5000")
    assert query["start"] == "2022-10-29T10"


def test_without_a_key_nothing_is_asked(server: EngineServer) -> None:
    with pytest.raises(Unavailable, match="needs a key") as caught:
        EiaProvider(settings(server, token=None), HTTP).fetch("US-CA", at(NOW_S))
    assert "token_env" in caught.value.fix
    assert server.asked == []


@pytest.mark.parametrize(
    ("zone", "authority"),
    [
        ("US-CA", "CISO"),
        ("US-TX", "ERCO"),
        ("US-VT", "ISNE"),
        ("us-east-1", "PJM"),  # in Virginia
        ("gcp:us-central1", "MISO"),  # in Iowa
        ("US", "US48"),
        ("US-HI", None),
        ("US-AK", None),
        ("DE", None),
    ],
)
def test_states_have_the_authority_that_serves_most_of_them(zone: str, authority: str | None) -> None:
    assert covers(zone) == authority


def test_a_region_of_ones_own_is_asked_for(server: EngineServer) -> None:
    server.answers[PATH] = answer(body=document(row("NG", 1, respondent="LDWP")))
    (entry,) = EiaProvider(settings(server, region="LDWP"), HTTP).fetch("US-CA", at(NOW_S))
    assert asked(server)[1]["facets[respondent][]"] == "LDWP"
    assert "LDWP" in entry.source


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"respondent": "PJM"}, ("data[1].respondent", "'PJM', not 'CISO'")),
        ({"value-units": "kilowatthours"}, ("data[1].value-units", "kilowatthours")),
        ({"period": "2022-10-31T05-07"}, ("data[1].period", "not a time in UTC")),
        ({"period": None}, ("data[1].period",)),
        ({"value": "lots"}, ("data[1].value", "not a number")),
        ({"value": "nan"}, ("data[1].value", "not finite")),
        ({"fueltype": None}, ("data[1].fueltype",)),
        ({"fueltype": "NG"}, ("data[1].period", "twice")),
        ({"period": "2022-11-30T12"}, ("data", "with a factor")),  # another hour: neither has both fuels
    ],
)
def test_a_faulty_row_refuses_the_answer_with_its_field(change: dict[str, Any], words: tuple[str, ...]) -> None:
    with refusal(NAME, *words):
        parse(row("NG", 1000), {**row("SUN", 1000), **change})


def test_an_hour_of_the_future_is_refused() -> None:
    with refusal(NAME, "future"):
        parse(row("NG", 1000, "2022-11-30T12"))


def test_an_answer_that_is_cut_off_or_in_local_time_is_refused() -> None:
    with refusal(NAME, "total", "cut off"):
        parse(row("NG", 1000), total="5001")
    with refusal(NAME, "frequency", "local-hourly"):
        parse(row("NG", 1000), frequency="local-hourly")


@pytest.mark.parametrize(
    ("answered", "words"),
    [
        ({"error": {"code": "API_KEY_INVALID", "message": f"An invalid api_key was supplied: {TOKEN}"}}, ("error",)),
        ({"error": "Invalid data 'x'", "code": 400}, ("error",)),
        ({"response": {"total": "0", "frequency": "hourly", "data": []}}, ("data", "empty")),
        ({"response": {}}, ("frequency",)),
        ({}, ("response",)),
    ],
)
def test_an_error_with_status_200_is_refused_and_never_quoted(answered: Any, words: tuple[str, ...]) -> None:
    with refusal(NAME, *words) as said:
        parse_fuel_mix(body(answered), "US-CA", "CISO", NOW_S)
    assert TOKEN not in said[0]
