"""France: RTE's own estimate, where it has one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from agent.errors import Unavailable
from agent.grids.rte import NAME, RteProvider, covers, parse_records
from agent.model import GridIntensity
from tests.agent.grids.asking import HTTP, asked, at, body, refusal, settings
from tests.fakes.engine_server import EngineServer, answer

PATH = "/api/explore/v2.1/catalog/datasets/eco2mix-national-tr/records"
NOW_S = 1_791_254_820.0  # 2026-10-06T02:47:00Z
ROW = {"date_heure": "2026-10-06T02:30:00+00:00", "taux_co2": 39}
BEFORE = {"date_heure": "2026-10-06T02:15:00+00:00", "taux_co2": 38}
NOT_YET = {"date_heure": "2026-10-06T02:45:00+00:00", "taux_co2": None}


def parse(*rows: dict[str, Any]) -> tuple[GridIntensity, ...]:
    return parse_records(body({"total_count": len(rows), "results": rows}), "FR", NOW_S)


@pytest.fixture
def server() -> Iterator[EngineServer]:
    with EngineServer({PATH: answer(body=body({"total_count": 7000, "results": [ROW, BEFORE]}))}) as started:
        yield started


def test_a_row_is_a_quarter_of_an_hour_of_direct_production_intensity() -> None:
    assert parse(ROW) == (
        GridIntensity(
            zone="FR",
            g_per_kwh=39.0,
            provider="rte",
            signal="average",
            basis="direct",
            kind="actual",
            valid_from_s=1_791_253_800.0,
            valid_to_s=1_791_254_700.0,
            fetched_at_s=NOW_S,
            source="eCO2mix, RTE through ODRE; production only; Licence Ouverte 2.0",
        ),
    )


def test_it_asks_for_the_newest_values_that_are_not_null(server: EngineServer) -> None:
    found = RteProvider(settings(server), HTTP).fetch("France", at(NOW_S))
    assert [entry.g_per_kwh for entry in found] == [38.0, 39.0]
    path, query = asked(server)
    assert path == PATH
    assert query["where"] == "taux_co2 is not null"
    assert query["order_by"] == "date_heure desc"
    assert int(query["limit"]) == 100


def test_rows_of_nulls_are_not_yet_and_never_zero() -> None:
    assert [entry.g_per_kwh for entry in parse(NOT_YET, ROW)] == [39.0]
    with refusal(NAME, "results", "holds no value"):
        parse(NOT_YET)


@pytest.mark.parametrize(("zone", "region"), [("FR", "FR"), ("gcp:europe-west9", "FR"), ("DE", None), ("RE", None)])
def test_it_covers_metropolitan_france_and_the_clouds_in_it(zone: str, region: str | None) -> None:
    assert covers(zone) == region


def test_another_zone_is_unavailable_and_not_asked_for(server: EngineServer) -> None:
    with pytest.raises(Unavailable, match="does not cover DE"):
        RteProvider(settings(server), HTTP).fetch("DE", at(NOW_S))
    assert server.asked == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"taux_co2": -5}, ("taux_co2", "-5 g/kWh")),
        ({"taux_co2": 3001}, ("taux_co2", "3001 g/kWh")),
        ({"taux_co2": "39"}, ("taux_co2", "not a number")),
        ({"date_heure": "2026-10-06T02:30:00"}, ("date_heure", "no time zone")),
        ({"date_heure": "2026-10-06T04:30:00+02:00"}, ("date_heure", "not in UTC")),
        ({"date_heure": None}, ("date_heure",)),
        ({"date_heure": BEFORE["date_heure"]}, ("two values for 2026-10-06T02:15Z", "repeated hour")),
        ({"date_heure": "2026-10-06T04:30:00+00:00"}, ("future",)),
    ],
)
def test_a_faulty_row_refuses_the_answer_with_its_field(change: dict[str, Any], words: tuple[str, ...]) -> None:
    with refusal(NAME, *words):
        parse(BEFORE, {**ROW, **change})


def test_a_row_without_the_field_is_a_change_of_the_dataset_and_no_null() -> None:
    with refusal(NAME, "results[0].taux_co2"):
        parse({"date_heure": ROW["date_heure"], "taux_co2_moyen": 39})


@pytest.mark.parametrize(
    "answered", [b"", b"[]", b"oops", b'{"error_code": "ODSQLError", "message": "wrong"}', b'{"results": []}']
)
def test_an_answer_that_is_none_is_refused(answered: bytes) -> None:
    with refusal(NAME):
        parse_records(answered, "FR", NOW_S)
