"""Every provider against the ways in which a server says no, or says nothing."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping

import pytest

from agent.errors import JoulecarError, ReadFailed, Unavailable
from agent.grids import caiso, eia, energinet, entsoe, joulecar, rte
from agent.grids.http import Http
from agent.ports import GridProvider
from agent.settings import ProviderSettings
from tests.agent.grids.asking import HTTP, TOKEN, at, settings
from tests.fakes.engine_server import Answer, EngineServer, answer, raw

NOW = at(1_791_255_600.0)
Build = Callable[[ProviderSettings, Http], GridProvider]
PROVIDERS: Mapping[str, tuple[Build, str, tuple[str, ...]]] = {
    caiso.NAME: (caiso.CaisoProvider, "US-CA", (caiso.CO2_PATH, caiso.SUPPLY_PATH)),
    eia.NAME: (eia.EiaProvider, "US-CA", (eia.PATH,)),
    energinet.NAME: (energinet.EnerginetProvider, "DK1", ("/dataset/CO2Emis",)),
    entsoe.NAME: (entsoe.EntsoeProvider, "FR", (entsoe.PATH,)),
    joulecar.NAME: (joulecar.JoulecarProvider, "FR", (joulecar.PATH,)),
    rte.NAME: (rte.RteProvider, "FR", (f"/api/explore/v2.1/catalog/datasets/{rte.DATASET}/records",)),
}
SECRET_BODY = f"<error>token {TOKEN} refused</error>".encode()


@pytest.fixture(params=sorted(PROVIDERS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def fault(name: str, said: Answer) -> JoulecarError:
    """What a provider makes of an answer. Nothing of the token is in it."""
    build, zone, paths = PROVIDERS[name]
    with EngineServer(dict.fromkeys(paths, said)) as server:
        provider = build(settings(server), HTTP)
        assert provider.name == name
        with pytest.raises(JoulecarError) as caught:
            provider.fetch(zone, NOW)
        assert {path.partition("?")[0] for path, _ in server.asked} <= set(paths)
    assert TOKEN not in str(caught.value) + repr(caught.value) + repr(provider.__dict__)
    assert len(str(caught.value)) < 200
    return caught.value


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_what_will_not_change_by_asking_again_is_unavailable(name: str, status: int) -> None:
    found = fault(name, answer(status, SECRET_BODY))
    assert isinstance(found, Unavailable)
    assert str(status) in found.reason
    assert found.fix


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_may_pass_is_a_failure_with_the_time_to_wait(name: str, status: int) -> None:
    found = fault(name, answer(status, SECRET_BODY, Retry_After="120"))
    assert isinstance(found, ReadFailed)
    assert (str(status) in found.reason, found.retry_after_s) == (True, 120.0)


@pytest.mark.parametrize(
    "said",
    [
        answer(200, b""),
        answer(200, SECRET_BODY),
        answer(200, b"<html><body>We will be back soon</body></html>"),
        answer(200, b'{"error": "' + TOKEN.encode() + b'"}'),
        answer(200, b"[]"),
        answer(200, b"null"),
        answer(200, b"\xff\xfe\x00\x00"),
        answer(200, gzip.compress(b'{"records": []}')[:-9], Content_Encoding="gzip"),
        answer(200, gzip.compress(b" " * 100_000_000), Content_Encoding="gzip"),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"),
        raw(b"nonsense"),
        raw(),
    ],
    ids=["empty", "xml", "html", "error", "list", "null", "binary", "cut gzip", "bomb", "cut", "no http", "closed"],
)
def test_an_answer_that_is_none_is_a_failure(name: str, said: Answer) -> None:
    assert isinstance(fault(name, said), ReadFailed)


@pytest.mark.parametrize("zone", ["Atlantis", ""])
def test_a_zone_that_is_nobodys_is_unavailable_and_nobody_is_asked(name: str, zone: str) -> None:
    build, _, paths = PROVIDERS[name]
    with EngineServer(dict.fromkeys(paths, answer(200, b"{}"))) as server:
        with pytest.raises(Unavailable):
            build(settings(server), HTTP).fetch(zone, NOW)
        assert server.asked == []
