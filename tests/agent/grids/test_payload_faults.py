"""Every provider against every way in which an answer can lie: refused with provider, field and reason, counted, and
the ladder takes over."""

from __future__ import annotations

import gzip
import logging
import math
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler

import pytest

from agent.carbon import in_force
from agent.grids.feed import Feed, Pace
from agent.grids.history import Rung
from agent.grids.http import MAX_BODY_BYTES
from agent.grids.payload import Why
from agent.health import Health
from agent.model import GridIntensity, Part, PartHealth
from agent.settings import ProviderSettings, Secret
from tests.agent.grids.asking import HTTP
from tests.agent.grids.pages import HOUR_S, NOW_S, PROVIDERS, Pages, Told
from tests.fakes.clock import FakeClock
from tests.fakes.engine_server import Answer, EngineServer, answer

CANARY = "c4nary-k3y-7f3a"
YEARLY = GridIntensity("X", 300.0, "table", kind="yearly")
EVERY_S = 1.0  # the same interval runs when it is asked again, so the page is still of now
TOLD = {Rung.ACTUAL, Rung.ESTIMATED}


class Ground:
    """A feed of one provider, asked once and well, and then whatever the server says next."""

    def __init__(self, name: str, server: EngineServer) -> None:
        self.provider, self.server = PROVIDERS[name], server
        self.name, self.health = name, Health()
        self.clock = FakeClock(mono_s=0.0, wall_s=NOW_S)
        told = ProviderSettings(
            base_url=server.url,
            timeout_s=10.0,
            token=Secret(CANARY, "env KEY"),
            user="car",
            password=Secret(f"pass-{CANARY}", "env PASSWORD"),
        )
        self.asked = self.provider.build(told, HTTP)
        pace = Pace(EVERY_S, lambda: 0.0)
        self.feed = Feed(self.asked, self.provider.zone, YEARLY, pace, self.clock, self.health)
        self.serve(self.provider.pages(Told()))
        self.feed.step()
        assert self.part().up, self.part().message
        assert self.health.refusals() == {}

    def serve(self, pages: Pages, like: Answer | None = None) -> None:
        """like: how every page is answered but a login."""
        self.server.answers = {p: like if like and p != "/login" else answer(body=b) for p, b in pages.items()}

    def part(self) -> PartHealth:
        (state,) = [state for state in self.health.states() if state.part is Part.GRID]
        return state

    def ask_again(self) -> None:
        self.clock.advance(EVERY_S)
        self.feed.step()

    def refused_and_replaced(self) -> tuple[str, str]:
        """Field and reason of the one refusal, and that an intensity on a named rung stands in."""
        before = self.feed.known(self.clock.now())
        self.ask_again()
        part = self.part()
        assert (part.up, part.errors_total) == (False, 1)
        ((provider, field, reason),) = self.health.refusals()
        assert provider == self.name
        assert part.message.startswith(f"{self.name}: ")
        assert Why(reason) and len(field) <= 60
        assert self.feed.known(self.clock.now()) == before, "what was known stands"
        self.clock.advance(2 * HOUR_S)
        self.feed.step()
        now = self.clock.now()
        stands_in = in_force(self.feed.known(now), now.wall_s)
        if self.name == "watttime":
            assert stands_in is not None and stands_in.signal == "marginal", "no average in its place"
        assert stands_in is not None and Rung(stands_in.kind) not in TOLD
        return field, reason


@pytest.fixture
def server() -> Iterator[EngineServer]:
    with EngineServer({}) as started:
        yield started


CASES: Mapping[str, Told] = {
    "null": Told(value=None),
    "NaN": Told(value=math.nan),
    "negative": Told(value=-5.0),
    "10,000 g/kWh": Told(value=10_000.0),
    "another zone": Told(zone="XX"),
    "another unit": Told(unit="kg"),
    "naive time": Told(shift="naive"),
    "local time": Told(shift="local"),
    "repeated hour": Told(twice=True),
    "empty list": Told(rows=False),
}
# By provider and case: field and reason. Where there is none, the answer has nothing of the kind: megawatts may be
# 10,000, times in Unix seconds have no zone, and what names neither zone nor unit cannot tell another one.
EXPECTED: Mapping[str, Mapping[str, tuple[str, Why]]] = {
    "caiso": {
        "null": ("co2.csv", Why.EMPTY),
        "NaN": ("co2.csv", Why.NOT_FINITE),
        "negative": ("row", Why.OUT_OF_RANGE),
        "10,000 g/kWh": ("row", Why.OUT_OF_RANGE),
        "another unit": ("co2.csv", Why.MISSING),
        "naive time": ("co2.csv", Why.OTHER_TIME),
        "local time": ("co2.csv", Why.OTHER_TIME),
        "repeated hour": ("co2.csv", Why.REPEATED_TIME),
        "empty list": ("co2.csv", Why.EMPTY),
    },
    "eia": {
        "null": ("data", Why.EMPTY),
        "NaN": ("answer", Why.NOT_FINITE),
        "negative": ("data", Why.EMPTY),
        "another zone": ("data.respondent", Why.OTHER_ZONE),
        "another unit": ("data.value-units", Why.OTHER_QUANTITY),
        "local time": ("data.period", Why.NOT_UTC),
        "repeated hour": ("data.period", Why.REPEATED_TIME),
        "empty list": ("data", Why.EMPTY),
    },
    "electricity_maps": {
        "null": ("carbonIntensity", Why.NULL),
        "NaN": ("answer", Why.NOT_FINITE),
        "negative": ("carbonIntensity", Why.OUT_OF_RANGE),
        "10,000 g/kWh": ("carbonIntensity", Why.OUT_OF_RANGE),
        "another zone": ("zone", Why.OTHER_ZONE),
        "another unit": ("emissionFactorType", Why.OTHER_QUANTITY),
        "naive time": ("datetime", Why.NOT_UTC),
        "local time": ("datetime", Why.NOT_UTC),
        "empty list": ("zone", Why.MISSING),
    },
    "energinet": {
        "null": ("CO2Emis.records.CO2Emission", Why.NULL),
        "NaN": ("answer", Why.NOT_FINITE),
        "negative": ("CO2Emis.records.CO2Emission", Why.OUT_OF_RANGE),
        "10,000 g/kWh": ("CO2Emis.records.CO2Emission", Why.OUT_OF_RANGE),
        "another zone": ("CO2Emis.records.PriceArea", Why.OTHER_ZONE),
        "naive time": ("CO2Emis.records.Minutes5UTC", Why.NOT_UTC),
        "local time": ("CO2Emis.records.Minutes5UTC", Why.NOT_UTC),
        "repeated hour": ("CO2Emis.records", Why.REPEATED_TIME),
        "empty list": ("records", Why.EMPTY),
    },
    "energy_charts": {
        "null": ("co2eq", Why.EMPTY),
        "NaN": ("answer", Why.NOT_FINITE),
        "negative": ("co2eq", Why.OUT_OF_RANGE),
        "10,000 g/kWh": ("co2eq", Why.OUT_OF_RANGE),
        "naive time": ("unix_seconds", Why.NOT_UTC),  # milliseconds
        "repeated hour": ("unix_seconds", Why.REPEATED_TIME),
        "empty list": ("unix_seconds", Why.EMPTY),
    },
    "entsoe": {
        "null": ("TimeSeries.Period.quantity", Why.NOT_A_NUMBER),
        "NaN": ("TimeSeries.Period.quantity", Why.NOT_FINITE),
        "negative": ("TimeSeries", Why.EMPTY),
        "another zone": ("TimeSeries.inBiddingZone_Domain.mRID", Why.OTHER_ZONE),
        "another unit": ("TimeSeries.quantity_Measure_Unit.name", Why.OTHER_QUANTITY),
        "naive time": ("TimeSeries.Period.start", Why.NOT_UTC),
        "local time": ("TimeSeries.Period.start", Why.NOT_UTC),
        "repeated hour": ("TimeSeries", Why.REPEATED_TIME),
        "empty list": ("TimeSeries", Why.EMPTY),
    },
    "joulecar": {
        "null": ("intensities.g_per_kwh", Why.NULL),
        "NaN": ("answer", Why.NOT_FINITE),
        "negative": ("intensities.g_per_kwh", Why.OUT_OF_RANGE),
        "10,000 g/kWh": ("intensities.g_per_kwh", Why.OUT_OF_RANGE),
        "another zone": ("intensities.zone", Why.OTHER_ZONE),
        "another unit": ("intensities.basis", Why.OTHER_QUANTITY),
        "naive time": ("intensities.valid_from_s", Why.NOT_A_NUMBER),
        "local time": ("intensities.fetched_at_s", Why.OTHER_TIME),  # milliseconds
        "empty list": ("intensities", Why.EMPTY),
    },
    "neso": {
        "null": ("data", Why.EMPTY),
        "NaN": ("answer", Why.NOT_FINITE),
        "negative": ("data.intensity.actual", Why.OUT_OF_RANGE),
        "10,000 g/kWh": ("data.intensity.actual", Why.OUT_OF_RANGE),
        "naive time": ("data.from", Why.NOT_UTC),
        "local time": ("data.from", Why.NOT_UTC),
        "repeated hour": ("data", Why.REPEATED_TIME),
        "empty list": ("data", Why.EMPTY),
    },
    "rte": {
        "null": ("results", Why.EMPTY),
        "NaN": ("answer", Why.NOT_FINITE),
        "negative": ("results.taux_co2", Why.OUT_OF_RANGE),
        "10,000 g/kWh": ("results.taux_co2", Why.OUT_OF_RANGE),
        "naive time": ("results.date_heure", Why.NOT_UTC),
        "local time": ("results.date_heure", Why.NOT_UTC),
        "repeated hour": ("results", Why.REPEATED_TIME),
        "empty list": ("results", Why.EMPTY),
    },
    "watttime": {
        "null": ("data.value", Why.NULL),
        "NaN": ("answer", Why.NOT_FINITE),
        "negative": ("data.value", Why.OUT_OF_RANGE),
        "10,000 g/kWh": ("data.value", Why.OUT_OF_RANGE),
        "another zone": ("meta.region", Why.OTHER_ZONE),
        "another unit": ("meta.units", Why.OTHER_QUANTITY),
        "naive time": ("data.point_time", Why.NOT_UTC),
        "local time": ("data.point_time", Why.NOT_UTC),
        "repeated hour": ("data", Why.REPEATED_TIME),
        "empty list": ("data", Why.EMPTY),
    },
}
HAVE_NOT: Mapping[str, frozenset[str]] = {
    "caiso": frozenset({"another zone"}),
    "eia": frozenset({"10,000 g/kWh", "naive time"}),
    "electricity_maps": frozenset({"repeated hour"}),  # in the answer that must be; see below
    "energinet": frozenset({"another unit"}),
    "energy_charts": frozenset({"another zone", "another unit", "local time"}),
    "entsoe": frozenset({"10,000 g/kWh"}),
    "joulecar": frozenset({"repeated hour"}),  # statements may overlap there
    "neso": frozenset({"another zone", "another unit"}),
    "rte": frozenset({"another zone", "another unit"}),
    "watttime": frozenset(),
}


def test_every_fault_of_every_provider_is_expected_or_impossible() -> None:
    assert {name: CASES.keys() - cases.keys() for name, cases in EXPECTED.items()} == HAVE_NOT
    assert EXPECTED.keys() == PROVIDERS.keys()


@pytest.mark.parametrize(("name", "case"), [(name, case) for name, cases in EXPECTED.items() for case in cases])
def test_a_fault_is_refused_counted_and_the_ladder_takes_over(server: EngineServer, name: str, case: str) -> None:
    ground = Ground(name, server)
    ground.serve(ground.provider.pages(CASES[case]))
    assert ground.refused_and_replaced() == EXPECTED[name][case]


@pytest.mark.parametrize("name", sorted(PROVIDERS))
@pytest.mark.parametrize(
    ("body", "encoding", "why"),
    [
        (b'{"error": "no more"}', "", None),
        (b"", "", Why.EMPTY),
        (gzip.compress(b" " * 1000)[:-9], "gzip", Why.UNREADABLE),
        (gzip.compress(b" " * (MAX_BODY_BYTES + 1)), "gzip", Why.TOO_LARGE),
    ],
    ids=["error body", "empty", "cut gzip", "bomb"],
)
def test_an_answer_that_is_none_is_refused(
    server: EngineServer, name: str, body: bytes, encoding: str, why: Why | None
) -> None:
    ground = Ground(name, server)
    said = answer(200, body, Content_Encoding=encoding) if encoding else answer(200, body)
    ground.serve(ground.provider.pages(Told()), said)
    _, reason = ground.refused_and_replaced()
    assert why is None or reason == why


class Flood:
    """100 MB, as fast as they are taken. sent: how many came to leave."""

    def __init__(self) -> None:
        self.sent = 0

    def __call__(self, request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("content-length", str(100_000_000))
        request.end_headers()
        piece = b" " * 100_000
        while self.sent < 100_000_000:
            request.wfile.write(piece)
            self.sent += len(piece)


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_a_hundred_megabytes_are_given_up_at_the_limit(server: EngineServer, name: str) -> None:
    ground, flood = Ground(name, server), Flood()
    ground.serve(ground.provider.pages(Told()), flood)
    assert ground.refused_and_replaced() == ("answer", Why.TOO_LARGE)
    assert flood.sent < 50_000_000


def test_a_fault_of_a_part_that_may_lack_is_told_and_counted_while_the_rest_stands(
    server: EngineServer, caplog: pytest.LogCaptureFixture
) -> None:
    ground = Ground("electricity_maps", server)
    pages = dict(ground.provider.pages(Told()))
    path = "/v4/carbon-intensity/history"
    pages[path] = pages[path].replace(b'"history": [', b'"history": [' + pages[path].split(b"[")[1][:-2] + b", ")
    ground.serve(pages)
    ground.clock.advance(HOUR_S)
    with caplog.at_level(logging.INFO, logger="joulecar"):
        ground.ask_again()
    part = ground.part()
    assert (part.up, part.errors_total) == (True, 0)
    assert "electricity_maps: history holds two values" in part.message
    assert part.message in caplog.text
    assert ground.health.refusals() == {("electricity_maps", "history", Why.REPEATED_TIME): 1}


STATUSES = (400, 401, 403, 404, 410, 418, 429, 500, 503)
SHOUTED = f'<h1>{{"error": "{CANARY} pass-{CANARY}"}}</h1>'.encode()


@pytest.mark.parametrize("name", sorted(PROVIDERS))
@pytest.mark.parametrize(
    "said",
    [
        *(answer(status, SHOUTED) for status in STATUSES),
        answer(200, SHOUTED),
        answer(200, b'{"error": ' + SHOUTED),
        answer(302, b"", Location=f"https://elsewhere.invalid/{CANARY}"),
        answer(302, b"", Location=f"/{CANARY}"),
    ],
    ids=[*map(str, STATUSES), "html", "json", "elsewhere", "here"],
)
def test_no_key_is_in_any_log_metric_or_error(
    server: EngineServer, name: str, said: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    ground = Ground(name, server)
    ground.serve(ground.provider.pages(Told()), said)
    with caplog.at_level(logging.INFO):
        ground.ask_again()
    assert not ground.part().up
    shown = f"{ground.health.states()} {ground.health.refusals()} {caplog.text} {ground.feed.known(ground.clock.now())}"
    assert CANARY not in shown
    assert CANARY not in repr(vars(ground.asked)), "what a traceback would show"
