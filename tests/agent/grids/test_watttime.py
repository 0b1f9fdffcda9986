"""WattTime: marginal, in pounds, behind a login that is never tried more often than it may be."""

from __future__ import annotations

import logging
from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from agent.errors import ReadFailed, Unavailable
from agent.grids.watttime import NAME, WattTimeProvider, covers, parse_forecast
from agent.model import GridIntensity, Instant
from agent.settings import ProviderSettings, Secret
from tests.agent.grids.asking import HTTP, asked, body, refusal
from tests.fakes.engine_server import Answer, EngineServer, answer

NOW_S = 1_791_254_820.0  # 2026-10-06T02:47:00Z
PASSWORD = "pa55-word"
META = {
    "region": "CAISO_NORTH",
    "signal_type": "co2_moer",
    "model": {"date": "2026-03-01"},
    "units": "lbs_co2_per_mwh",
    "data_point_period_seconds": 300,
    "warnings": [],
    "generated_at": "2026-10-06T02:45:00+00:00",
}
POINTS = [
    {"point_time": "2026-10-06T02:45:00+00:00", "value": 1000.0},
    {"point_time": "2026-10-06T02:50:00+00:00", "value": 900},
    {"point_time": "2026-10-06T02:55:00+00:00", "value": 0},
]
FORECAST = body({"data": POINTS, "meta": META})


def parse(points: Any = POINTS, **meta: Any) -> tuple[GridIntensity, ...]:
    return parse_forecast(body({"data": points, "meta": {**META, **meta}}), "US-CA", "CAISO_NORTH", NOW_S)


def after(seconds: float) -> Instant:
    return Instant(1000.0 + seconds, NOW_S)


class Service:
    """Gives out tokens t1, t2 ... and takes the newest alone, or none."""

    def __init__(self) -> None:
        self.logins = 0
        self.takes_none = False
        self.forgets = False  # the token that was given out

    def login(self, request: BaseHTTPRequestHandler) -> None:
        self.logins += 1
        self.forgets = False
        wanted = "Basic " + b64encode(f"ada:{PASSWORD}".encode()).decode()
        good = request.headers["authorization"] == wanted
        (answer(body=body({"token": f"t{self.logins}"})) if good else answer(401, b'{"error": "no"}'))(request)

    def forecast(self, request: BaseHTTPRequestHandler) -> None:
        good = request.headers["authorization"] == f"Bearer t{self.logins}"
        known = good and not self.takes_none and not self.forgets
        (answer(body=FORECAST) if known else answer(401, b'{"error": "expired"}'))(request)


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def server(service: Service) -> Iterator[EngineServer]:
    with EngineServer({"/login": service.login, "/v3/forecast": service.forecast}) as started:
        yield started


def provider(server: EngineServer, region: str = "", password: str = PASSWORD, path: str = "") -> WattTimeProvider:
    secret = Secret(password, "env WATTTIME_PASSWORD")
    return WattTimeProvider(ProviderSettings(server.url + path, 10.0, None, "ada", secret, region), HTTP)


def test_the_first_point_is_now_and_the_rest_is_forecast_in_grams_a_kilowatt_hour() -> None:
    found = parse()
    assert [entry.kind for entry in found] == ["estimated", "forecast", "forecast"]
    assert [entry.g_per_kwh for entry in found] == pytest.approx([453.59237, 408.233133, 0.0])
    assert found[0] == GridIntensity(
        zone="US-CA",
        g_per_kwh=found[0].g_per_kwh,
        provider="watttime",
        signal="marginal",
        basis="direct",
        kind="estimated",
        valid_from_s=1_791_254_700.0,
        valid_to_s=1_791_255_000.0,
        fetched_at_s=NOW_S,
        source="co2_moer CAISO_NORTH, WattTime; proprietary",
    )


def test_the_signal_index_is_no_intensity() -> None:
    with refusal(NAME, "meta.units", "'percentile'"):
        parse(units="percentile")
    index = {
        "data": [{"point_time": "2026-10-06T02:45:00+00:00", "value": 42}],
        "meta": {**META, "units": "percentile"},
    }
    with refusal(NAME, "meta.units"):
        parse_forecast(body(index), "US-CA", "CAISO_NORTH", NOW_S)


@pytest.mark.parametrize(
    ("points", "meta", "words"),
    [
        (POINTS, {"units": "kg_co2_per_mwh"}, ("meta.units", "not 'lbs_co2_per_mwh'")),
        (POINTS, {"signal_type": "health_damage"}, ("meta.signal_type", "'health_damage'")),
        (POINTS, {"signal_type": "co2_aoer"}, ("meta.signal_type", "not 'co2_moer'")),
        (POINTS, {"region": "PJM_DC"}, ("meta.region", "not 'CAISO_NORTH'")),
        (POINTS, {"data_point_period_seconds": 0}, ("data_point_period_seconds", "is 0")),
        (POINTS, {"data_point_period_seconds": 600}, ("two values",)),
        ([], {}, ("data", "empty")),
        ([POINTS[0], POINTS[0]], {}, ("two values",)),
        ([{**POINTS[0], "value": None}], {}, ("data[0].value", "null")),
        ([{**POINTS[0], "value": -1}], {}, ("data[0].value", "g/kWh")),
        ([{**POINTS[0], "value": 10_000}], {}, ("data[0].value", "4535.92 g/kWh")),
        ([{**POINTS[0], "point_time": "2026-10-06T02:45:00"}], {}, ("data[0].point_time", "no time zone")),
        ([{**POINTS[0], "point_time": "2026-10-06T00:45:00+00:00"}], {}, ("point_time", "not now")),
        ([{**POINTS[0], "point_time": "2026-10-06T04:45:00+00:00"}], {}, ("point_time", "not now")),
        (["nothing"], {}, ("data[0]", "not an object")),
    ],
)
def test_a_payload_with_a_fault_is_refused(points: Any, meta: dict[str, Any], words: tuple[str, ...]) -> None:
    with refusal(NAME, *words):
        parse(points, **meta)


def test_points_in_any_order_mean_the_same() -> None:
    assert parse(POINTS[::-1]) == parse()


def test_points_are_five_minutes_where_the_answer_does_not_say() -> None:
    meta = {key: value for key, value in META.items() if key != "data_point_period_seconds"}
    found = parse_forecast(body({"data": POINTS, "meta": meta}), "US-CA", "CAISO_NORTH", NOW_S)
    assert found[0].valid_to_s - found[0].valid_from_s == 300.0


def test_one_login_serves_for_half_an_hour(server: EngineServer, service: Service) -> None:
    one = provider(server)
    for minute in range(0, 28, 5):
        assert len(one.fetch("US-CA", after(minute * 60))) == 3
    assert service.logins == 1
    one.fetch("US-CA", after(28 * 60))
    assert service.logins == 2
    path, query = asked(server)
    assert (path, query) == (
        "/v3/forecast",
        {"region": "CAISO_NORTH", "signal_type": "co2_moer", "horizon_hours": "24"},
    )


@pytest.mark.parametrize("path", ["/", "/v3", "/v3/"])
def test_base_url_is_the_server_with_or_without_the_version(server: EngineServer, path: str) -> None:
    assert len(provider(server, path=path).fetch("US-CA", after(0))) == 3


def test_a_token_that_is_refused_early_gets_one_new_login(server: EngineServer, service: Service) -> None:
    one = provider(server)
    one.fetch("US-CA", after(0))
    service.forgets = True
    assert len(one.fetch("US-CA", after(300))) == 3
    assert service.logins == 2


def test_a_token_that_is_refused_right_after_the_login_is_not_asked_for_again(
    server: EngineServer, service: Service
) -> None:
    service.takes_none = True
    with pytest.raises(Unavailable, match="refused right after the login"):
        provider(server).fetch("US-CA", after(0))
    assert service.logins == 1


def test_a_server_that_refuses_every_token_gets_one_login_a_minute(server: EngineServer, service: Service) -> None:
    service.takes_none = True
    one = provider(server)
    for second in range(0, 301, 5):
        with pytest.raises((Unavailable, ReadFailed)):
            one.fetch("US-CA", after(second))
    assert service.logins == 6


def test_how_long_until_the_next_login_is_told(server: EngineServer, service: Service) -> None:
    service.takes_none = True
    one = provider(server)
    with pytest.raises(Unavailable):
        one.fetch("US-CA", after(0))
    with pytest.raises(ReadFailed, match="the last login is less than a minute ago") as caught:
        one.fetch("US-CA", after(20))
    assert caught.value.retry_after_s == 40.0


def test_a_region_outside_the_plan_makes_no_login(server: EngineServer, service: Service) -> None:
    one = provider(server, region="PJM_DC")
    server.answers["/v3/forecast"] = answer(403, b'{"error": "not in your plan"}')
    for minute in (0, 5, 10):
        with pytest.raises(Unavailable, match="your plan does not include co2_moer of PJM_DC"):
            one.fetch("US-DC", after(minute * 60))
    assert service.logins == 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_password_is_told_and_never_shown(
    server: EngineServer, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers["/login"] = answer(status, PASSWORD.encode())
    one = provider(server, password="wr0ng")
    with caplog.at_level(logging.INFO), pytest.raises(Unavailable) as caught:
        one.fetch("US-CA", after(0))
    assert str(caught.value) == f"watttime: http {status}: the login was refused"
    for secret in (PASSWORD, "wr0ng", b64encode(b"ada:wr0ng").decode()):
        assert secret not in str(caught.value) + caplog.text + repr(one) + repr(vars(one))
    assert [path for path, _ in server.asked] == ["/login"]


@pytest.mark.parametrize(
    ("login", "said"),
    [
        (answer(429, retry_after="200"), "watttime: http 429: asked too often"),
        (answer(500), "watttime: http 500: the server is in trouble"),
        (answer(200, b'{"error": "down"}'), "watttime: token is missing"),
        (answer(200, b'{"token": null}'), "watttime: token is None"),
        (answer(200, b'{"token": ""}'), "watttime: token is empty"),
        (answer(200, b"<html>"), "watttime: answer is not JSON"),
    ],
)
def test_a_login_that_fails_for_now_is_tried_again_later(
    server: EngineServer, service: Service, login: Answer, said: str
) -> None:
    one = provider(server)
    server.answers["/login"] = login
    with pytest.raises(ReadFailed) as caught:
        one.fetch("US-CA", after(0))
    assert str(caught.value) == said
    server.answers["/login"] = service.login
    assert len(one.fetch("US-CA", after(60))) == 3


def test_without_an_account_nothing_is_asked(server: EngineServer) -> None:
    with pytest.raises(Unavailable, match="no account"):
        WattTimeProvider(ProviderSettings(server.url), HTTP).fetch("US-CA", after(0))
    assert server.asked == []


@pytest.mark.parametrize(("zone", "region"), [("US-CA", "CAISO_NORTH"), ("US-TX", None), ("FR", None)])
def test_it_covers_the_free_plan_and_what_the_settings_name(zone: str, region: str | None) -> None:
    assert covers(zone) == region


def test_another_zone_is_unavailable_and_no_login_is_made(server: EngineServer) -> None:
    with pytest.raises(Unavailable, match="does not cover US-TX"):
        provider(server).fetch("US-TX", after(0))
    assert server.asked == []
