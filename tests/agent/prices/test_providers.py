"""The sources of day-ahead prices: what they say is read, what they get wrong is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agent.errors import JoulecarError, ReadFailed, Unavailable
from agent.grids.payload import PayloadError
from agent.model import EnergyPrice
from agent.prices import awattar, energinet, energy_charts
from agent.prices.table import DAY_AHEAD
from agent.settings import PriceSettings
from tests.agent.grids.asking import HTTP, asked, at, body, refusal
from tests.fakes.engine_server import EngineServer, answer

NOW_S = 1_760_184_300.0  # 2025-10-11T12:05Z
NOON_S = 1_760_184_000.0
QUARTER = 900.0


def row(minute: int, eur: Any, dkk: Any = "same", area: str = "DK1", **other: Any) -> dict[str, Any]:
    """A record of DayAheadPrices, as the dataset has it; the minutes after 12:00 UTC."""
    clock = f"{minute // 60 + 12:02d}:{minute % 60:02d}:00"
    local = f"{minute // 60 + 14:02d}:{minute % 60:02d}:00"
    return {
        "TimeUTC": f"2025-10-11T{clock}",
        "TimeDK": f"2025-10-11T{local}",
        "PriceArea": area,
        "DayAheadPriceEUR": eur,
        "DayAheadPriceDKK": round(eur * 7.4640, 6) if dkk == "same" else dkk,
    } | other


def danish(*rows: dict[str, Any]) -> bytes:
    return body({"total": len(rows), "limit": 1000, "dataset": "DayAheadPrices", "records": list(rows)})


def charts(*prices: Any, **other: Any) -> bytes:
    return body(
        {
            "license_info": "CC BY 4.0 (creativecommons.org/licenses/by/4.0) from Bundesnetzagentur | SMARD.de",
            "unix_seconds": [int(NOON_S + QUARTER * i) for i in range(len(prices))],
            "price": list(prices),
            "unit": "EUR / MWh",
            "deprecated": False,
        }
        | other
    )


def slot(hour: int, price: Any, **other: Any) -> dict[str, Any]:
    start_ms = int(NOON_S + 3600 * hour) * 1000
    return {
        "start_timestamp": start_ms,
        "end_timestamp": start_ms + 3_600_000,
        "marketprice": price,
        "unit": "Eur/MWh",
    } | other


def viennese(*slots: dict[str, Any]) -> bytes:
    return body({"object": "list", "data": list(slots), "url": "/at/v1/marketdata"})


def of_denmark(data: bytes, currency: str = "EUR") -> tuple[EnergyPrice, ...]:
    return energinet.parse(data, "DK1", currency, NOW_S)


def of_germany(data: bytes) -> tuple[EnergyPrice, ...]:
    return energy_charts.parse(data, "DE-LU", NOW_S)


def of_austria(data: bytes) -> tuple[EnergyPrice, ...]:
    return awattar.parse(data, "AT", NOW_S)


PARSERS: dict[str, Callable[[bytes], tuple[EnergyPrice, ...]]] = {
    "energinet": of_denmark,
    "energy_charts": of_germany,
    "awattar": of_austria,
}


def test_denmark_in_euro_and_in_kroner_by_quarters_of_an_hour() -> None:
    data = danish(row(0, 99.27, 740.95), row(15, 104.44, 779.54))
    first, second = of_denmark(data)
    assert first == EnergyPrice(
        zone="DK1",
        per_kwh=0.09927,
        currency="EUR",
        provider="energinet",
        kind="day_ahead",
        valid_from_s=NOON_S,
        valid_to_s=NOON_S + QUARTER,
        fetched_at_s=NOW_S,
        source="DayAheadPrices DK1, Energinet; CC BY 4.0",
    )
    assert second.valid_from_s == NOON_S + QUARTER
    (kroner, _) = of_denmark(data, "DKK")
    assert kroner.currency == "DKK" and kroner.per_kwh == pytest.approx(0.74095)


def test_the_limits_of_a_price_in_kroner_are_those_in_euro() -> None:
    dear = danish(row(0, 9_000.0), row(15, 9_000.0))
    assert of_denmark(dear, "DKK")[0].per_kwh == pytest.approx(67.176)
    with refusal("energinet", "no market allows"):
        of_denmark(danish(row(0, 11_000.0), row(15, 10.0)), "DKK")


def test_germany_from_energy_charts_with_a_hole_where_there_is_no_price() -> None:
    found = of_germany(charts(94.87, None, 86.19, None))
    assert [e.valid_from_s - NOON_S for e in found] == [0.0, 2 * QUARTER]
    assert [e.per_kwh for e in found] == pytest.approx([0.09487, 0.08619])
    assert {e.valid_to_s - e.valid_from_s for e in found} == {QUARTER}, "the hole makes no price longer"


def test_austria_from_awattar_with_an_hour_below_zero() -> None:
    found = of_austria(viennese(slot(1, -5.12), slot(0, 42.09)))
    assert [(e.valid_from_s, e.valid_to_s, e.per_kwh) for e in found] == [
        (NOON_S, NOON_S + 3600, 0.04209),
        (NOON_S + 3600, NOON_S + 7200, -0.00512),
    ]


def test_a_zone_that_may_not_be_published_says_so_in_its_source() -> None:
    (first, *_) = energy_charts.parse(charts(1.0, 2.0), "ES", NOW_S)
    assert "private and internal use only" in first.source


def test_negative_prices_are_legal_everywhere() -> None:
    assert of_denmark(danish(row(0, -12.3), row(15, -0.01, -0.07)))[0].per_kwh < 0
    assert of_germany(charts(-500.0, 10.0))[0].per_kwh == pytest.approx(-0.5)


FAULTS: list[tuple[str, bytes, str]] = [
    # Denmark
    ("energinet", danish(row(0, 10.0), row(15, 10.0, PriceArea="DK2")), "PriceArea"),
    ("energinet", danish(row(0, None, None), row(15, 10.0)), "DayAheadPriceEUR is null"),
    ("energinet", danish(row(0, "10", None), row(15, 10.0)), "DayAheadPriceEUR"),
    ("energinet", danish(row(0, True, None), row(15, 10.0)), "not a number"),
    ("energinet", danish(row(0, 99_000.0), row(15, 10.0)), "no market allows"),
    ("energinet", danish(row(0, -5_000.0), row(15, 10.0)), "no market allows"),
    ("energinet", danish(row(0, 10.0, 0.0746), row(15, 10.0)), "times the price in EUR"),
    ("energinet", danish(row(0, 10.0), row(15, 10.0, TimeUTC="2025-10-11T14:15:00")), "not UTC"),
    ("energinet", danish(row(0, 10.0), row(15, 10.0, TimeUTC="2025-10-11T12:15:00+02:00")), "not a time in UTC"),
    ("energinet", danish(row(0, 10.0), row(15, 10.0, TimeUTC=1_760_184_000)), "not a time in UTC"),
    ("energinet", danish(row(0, 10.0), row(15, 10.0), row(15, 11.0)), "two prices"),
    ("energinet", danish(row(0, 10.0)), "one time alone"),
    ("energinet", danish(), "is empty"),
    ("energinet", body({"message": "error"}), "records is missing"),
    ("energinet", body({"records": [3]}), "records[0]"),
    # Energy-Charts
    ("energy_charts", charts(1.0, 2.0, unit="No Unit"), "unit is 'No Unit'"),
    ("energy_charts", charts(1.0, 2.0, unit="ct/kWh"), "unit"),
    ("energy_charts", charts(1.0, 2.0, unit=None), "unit"),
    ("energy_charts", charts(1.0, 2.0, price=[1.0]), "not as long"),
    ("energy_charts", charts(1.0, 2.0, unix_seconds=[1_760_184_000_000, 1_760_184_900_000]), "not Unix seconds"),
    ("energy_charts", charts(1.0, 2.0, unix_seconds=[1_760_184_000, 1_760_184_000]), "the same time twice"),
    ("energy_charts", charts(1.0, 2.0, unix_seconds=["2025-10-11T12:00", "2025-10-11T12:15"]), "unix_seconds"),
    ("energy_charts", charts(1.0, 2.0, unix_seconds=[1_760_184_000, 1_760_270_400]), "not for an hour or less"),
    ("energy_charts", charts(1.0, 2.0, unix_seconds=[1_770_184_000, 1_770_184_900]), "no auction was held yet"),
    ("energy_charts", charts(None, None), "holds no price"),
    ("energy_charts", charts("1.0", 2.0), "price[0]"),
    ("energy_charts", charts(10_001.0, 2.0), "no market allows"),
    ("energy_charts", charts(1.0), "one time alone"),
    ("energy_charts", charts(), "is empty"),
    ("energy_charts", body({"detail": "not a bidding zone"}), "unix_seconds is missing"),
    # aWATTar
    ("awattar", viennese(slot(0, None)), "data[0].marketprice is null"),
    ("awattar", viennese(slot(0, 42.0, unit="Eur/kWh")), "data[0].unit"),
    ("awattar", viennese(slot(0, 42.0, unit="No Unit")), "data[0].unit"),
    ("awattar", viennese(slot(0, 42.0, start_timestamp=1_760_184_000)), "not milliseconds"),
    ("awattar", viennese(slot(0, 42.0, end_timestamp=None)), "data[0].end_timestamp is null"),
    ("awattar", viennese(slot(0, 42.0, start_timestamp="2025-10-11T12:00:00")), "data[0].start_timestamp"),
    ("awattar", viennese(slot(0, 42.0, end_timestamp=1_760_184_000_000)), "not for an hour or less"),
    ("awattar", viennese(slot(0, 42.0, start_timestamp=10**400)), "data[0].start_timestamp is not finite"),
    ("awattar", viennese(slot(0, 42.0, start_timestamp=True)), "data[0].start_timestamp"),
    ("awattar", viennese(slot(0, 10**400)), "data[0].marketprice is not finite"),
    ("awattar", viennese(slot(0, 42.0), slot(0, 43.0)), "two prices"),
    ("awattar", viennese(slot(0, 9e9)), "no market allows"),
    ("awattar", viennese(slot(24 * 5, 40.0)), "no auction was held yet"),
    ("awattar", viennese(), "data is empty"),
    ("awattar", body({"error": "quota exceeded"}), "data is missing"),
]


@pytest.mark.parametrize(("provider", "data", "words"), FAULTS)
def test_a_fault_of_the_answer_is_refused_by_provider_and_field(provider: str, data: bytes, words: str) -> None:
    with refusal(provider, words):
        PARSERS[provider](data)


@pytest.mark.parametrize(
    ("provider", "data", "field", "why"),
    [
        ("energinet", danish(row(0, None, None), row(15, 10.0)), "DayAheadPriceEUR", "null"),
        ("energinet", danish(row(0, 10.0, 0.0746), row(15, 10.0)), "DayAheadPriceDKK", "other_quantity"),
        ("energinet", danish(row(0, 10.0), row(15, 10.0, TimeUTC="2025-10-11T14:15:00")), "TimeUTC", "not_utc"),
        ("energy_charts", charts(1.0, 2.0, unit="No Unit"), "unit", "other_quantity"),
        ("energy_charts", charts(1.0, 20_000.0), "price", "out_of_range"),
        ("energy_charts", charts(None, None), "price", "empty"),
        ("awattar", viennese(slot(0, 42.0), slot(0, 43.0)), "data", "repeated_time"),
        ("awattar", viennese(slot(0, 42.0, start_timestamp=1_760_184_000)), "start_timestamp", "not_utc"),
        ("awattar", viennese(slot(24 * 5, 40.0)), "data", "other_time"),
    ],
)
def test_a_refusal_is_counted_by_its_field_and_reason(provider: str, data: bytes, field: str, why: str) -> None:
    with pytest.raises(PayloadError) as caught:
        PARSERS[provider](data)
    assert caught.value.field.endswith(field)
    assert caught.value.why == why


@pytest.mark.parametrize("provider", PARSERS)
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"<html>sorry</html>", "is not JSON"),
        (b"[]", "not an object"),
        (b"null", "not an object"),
        (b'{"records": [NaN], "price": [NaN], "data": [NaN]}', "holds NaN"),
    ],
)
def test_no_provider_takes_what_is_no_answer_at_all(provider: str, data: bytes, words: str) -> None:
    with refusal(provider, words):
        PARSERS[provider](data)


def settings(server: EngineServer, provider: str, zone: str, **other: Any) -> PriceSettings:
    return PriceSettings(provider, "EUR", zone=zone, base_url=server.url + "/", **other)


def fetch(own: PriceSettings) -> tuple[EnergyPrice, ...]:
    return DAY_AHEAD[own.provider].build(own, HTTP).fetch(at(NOW_S))


def test_energinet_is_asked_for_the_area_in_utc_from_yesterday_on() -> None:
    with EngineServer({"/dataset/DayAheadPrices": answer(body=danish(row(0, 10.0), row(15, 11.0)))}) as server:
        assert len(fetch(settings(server, "energinet", "DK1"))) == 2
        path, query = asked(server)
    assert path == "/dataset/DayAheadPrices"
    assert query["filter"] == '{"PriceArea":["DK1"]}'
    assert (query["timezone"], query["start"]) == ("UTC", "2025-10-10T12:05")


def test_energy_charts_is_asked_for_the_zone_and_the_days_around_now() -> None:
    with EngineServer({"/price": answer(body=charts(80.0, 90.0))}) as server:
        assert [e.per_kwh for e in fetch(settings(server, "energy_charts", "DE-LU"))] == [0.08, 0.09]
        assert asked(server) == (
            "/price",
            {"bzn": "DE-LU", "start": "2025-10-10T12:05Z", "end": "2025-10-13T12:05Z"},
        )


def test_awattar_is_asked_in_milliseconds() -> None:
    with EngineServer({"/v1/marketdata": answer(body=viennese(slot(0, 42.09)))}) as server:
        assert len(fetch(settings(server, "awattar", "AT"))) == 1
        path, query = asked(server)
    assert path == "/v1/marketdata"
    assert (int(query["start"]), int(query["end"])) == (1_760_097_600_000, 1_760_356_800_000)


def test_fees_and_value_added_tax_come_on_top_of_the_market() -> None:
    with EngineServer({"/v1/marketdata": answer(body=viennese(slot(0, 100.0), slot(1, -100.0)))}) as server:
        dear, cheap = fetch(settings(server, "awattar", "AT", add_per_kwh=0.15, vat=0.2))
    assert dear.per_kwh == pytest.approx((0.10 + 0.15) * 1.2)
    assert cheap.per_kwh == pytest.approx((-0.10 + 0.15) * 1.2), "fees are paid on a negative price, too"
    assert "0.15 EUR/kWh" in dear.source and "x 1.2" in dear.source


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (500, ReadFailed, "http 500"),
        (429, ReadFailed, "asked too often"),
        (410, Unavailable, "ended"),
        (403, Unavailable, "not allowed"),
        (404, Unavailable, "nothing there"),
    ],
)
def test_a_status_is_read_for_what_it_means(status: int, kind: type[JoulecarError], words: str) -> None:
    with EngineServer({"/price": answer(status, b"{}", retry_after="120")}) as server, pytest.raises(kind) as caught:
        fetch(settings(server, "energy_charts", "DE-LU"))
    assert words in str(caught.value)
    assert "energy_charts" in str(caught.value)
    if isinstance(caught.value, Unavailable):
        assert "[site.price]" in caught.value.fix and "[grid" not in caught.value.fix
    if status == 429:
        assert getattr(caught.value, "retry_after_s", None) == 120.0
