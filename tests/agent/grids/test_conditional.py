"""What did not change is not sent again, and who asks cannot tell the difference."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from agent.clock import SystemClock
from agent.grids.client import HttpxClient
from agent.grids.conditional import MAX_KEPT, MAX_KEPT_BYTES
from agent.grids.feed import Feed, Pace
from agent.grids.joulecar import PATH, JoulecarProvider, encode
from agent.grids.keep import Keep
from agent.health import Health
from agent.model import GridIntensity
from agent.settings import ProviderSettings, ServerSettings
from exporters.server import HttpServer
from tests.fakes.clock import FakeClock
from tests.fakes.engine_server import EngineServer, answer, raw
from tests.fakes.snapshots import HeldSnapshot, full_snapshot

BODY = b'{"zone": "FR", "carbonIntensity": 39}'
NOW_S = 1_791_255_600.0


class Versioned:
    """A server's page that honours conditions. sent: the bodies that went out."""

    def __init__(self, body: bytes, **validators: str) -> None:
        self.body, self.validators, self.sent = body, validators, 0

    def __call__(self, request: BaseHTTPRequestHandler) -> None:
        asks = {"ETag": "if-none-match", "Last_Modified": "if-modified-since"}
        if any(request.headers.get(asks[name]) == value for name, value in self.validators.items() if name in asks):
            answer(304, b"", **self.validators)(request)
        else:
            self.sent += 1
            answer(200, self.body, **self.validators)(request)


@pytest.fixture
def server() -> Iterator[EngineServer]:
    with EngineServer({}) as started:
        yield started


def client() -> HttpxClient:
    return HttpxClient(SystemClock())


def get(http: HttpxClient, server: EngineServer, path: str = "/latest", key: str = "") -> tuple[int, bytes]:
    said = http.get(server.url + path, params={}, headers={"auth-token": key} if key else {}, timeout_s=10.0)
    return said.status, said.body


@pytest.mark.parametrize(
    "validators",
    [{"ETag": '"7"'}, {"ETag": 'W/"7"'}, {"Last_Modified": "Sun, 06 Nov 2026 08:49:37 GMT"}],
    ids=["etag", "weak etag", "date"],
)
def test_a_version_that_holds_is_sent_once(server: EngineServer, validators: dict[str, str]) -> None:
    page = server.answers["/latest"] = Versioned(BODY, **validators)
    http = client()
    assert [get(http, server) for _ in range(3)] == [(200, BODY)] * 3
    assert (page.sent, len(server.asked)) == (1, 3)


def test_a_new_version_comes_and_is_the_one_that_holds(server: EngineServer) -> None:
    page = server.answers["/latest"] = Versioned(BODY, ETag='"7"')
    http = client()
    get(http, server)
    page.body, page.validators = b"{}", {"ETag": '"8"'}
    assert [get(http, server) for _ in range(2)] == [(200, b"{}")] * 2
    assert page.sent == 2


def test_a_server_without_versions_is_asked_no_conditions(server: EngineServer) -> None:
    server.answers["/latest"] = answer(200, BODY)
    http = client()
    get(http, server)
    get(http, server)
    assert not {"if-none-match", "if-modified-since"} & server.asked[-1][1].keys()


def test_another_key_or_path_never_gets_what_was_sent_to_this_one(server: EngineServer) -> None:
    page = Versioned(BODY, ETag='"7"')
    server.answers.update({"/latest": page, "/history": page})
    http = client()
    get(http, server, key="one")
    for path, key in (("/latest", "other"), ("/latest", ""), ("/history", "one")):
        get(http, server, path, key)
        assert "if-none-match" not in server.asked[-1][1]
    get(http, server, key="one")
    assert server.asked[-1][1]["if-none-match"] == '"7"'


def test_a_304_that_nobody_asked_for_is_no_answer(server: EngineServer) -> None:
    server.answers["/latest"] = answer(304)
    assert get(client(), server) == (304, b"")


@pytest.mark.parametrize(
    "page",
    [
        Versioned(BODY, ETag='"7"', Cache_Control="private, no-store"),
        Versioned(b" " * (MAX_KEPT_BYTES + 1), ETag='"7"'),
        Versioned(BODY, ETag='"' + "7" * 300 + '"'),
        raw(b'HTTP/1.1 200 OK\r\nETag: "7"\r\n\r\n', BODY[:9]),
    ],
    ids=["no-store", "large", "long tag", "end unknown"],
)
def test_some_answers_are_not_kept(server: EngineServer, page: Versioned) -> None:
    server.answers["/latest"] = page
    http = client()
    get(http, server)
    get(http, server)
    assert "if-none-match" not in server.asked[-1][1]


def test_few_are_kept_the_newest(server: EngineServer) -> None:
    server.answers["/latest"] = Versioned(BODY, ETag='"7"')
    http = client()
    for n in range(MAX_KEPT + 1):
        get(http, server, f"/latest?n={n}")
    for n, asks in ((0, False), (MAX_KEPT, True)):
        get(http, server, f"/latest?n={n}")
        assert ("if-none-match" in server.asked[-1][1]) is asks


def test_a_304_is_a_success_that_brings_nothing_new(server: EngineServer, tmp_path: Path) -> None:
    told = GridIntensity(
        "DK-DK1", 75.0, "energinet", valid_from_s=NOW_S - 300, valid_to_s=NOW_S, fetched_at_s=NOW_S - 60
    )
    page = server.answers[PATH] = Versioned(encode([told]), ETag='"7"')
    clock, health = FakeClock(mono_s=0.0, wall_s=NOW_S), Health()
    provider = JoulecarProvider(ProviderSettings(base_url=server.url, timeout_s=10.0), client())
    feed = Feed(provider, "DK-DK1", None, Pace(60.0, lambda: 0.0), clock, health, Keep(tmp_path, "joulecar", "DK-DK1"))
    feed.step()
    first = feed.final()
    assert first == (told,)
    clock.advance(60.0)
    feed.step()
    assert (page.sent, len(server.asked)) == (1, 2)
    assert feed.final() is first
    (grid,) = [part for part in health.states() if part.name == "joulecar"]
    assert (grid.up, grid.errors_total, grid.last_success_s) == (True, 0, NOW_S + 60.0)


def test_another_agents_document_is_sent_once_per_version() -> None:
    told = GridIntensity("DK-DK1", 75.0, "energinet", valid_from_s=NOW_S - 300, valid_to_s=NOW_S, fetched_at_s=NOW_S)
    known = [[told]]
    made: list[bytes] = []

    def document() -> bytes:
        made.append(encode(known[0]))
        return made[-1]

    source = HeldSnapshot(full_snapshot())
    agent = HttpServer(ServerSettings(port=0), source, lambda: None, lambda: None, documents={PATH: document})
    agent.start()
    try:
        url = f"http://127.0.0.1:{agent.port}{PATH}"
        http = client()

        def ask(**headers: str) -> tuple[int, bytes, str]:
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            said = http.get(url, params={}, headers=names, timeout_s=10.0)
            return said.status, said.body, said.headers["etag"]

        status, body, tag = ask()
        assert (status, body) == (200, encode([told]))
        assert tag.startswith('W/"')
        for asked in (tag, tag.removeprefix("W/"), f'"x", {tag}', "*"):
            assert ask(if_none_match=asked) == (304, b"", tag)
        assert ask(if_none_match='"x"')[0] == 200
        assert ask() == (200, body, tag), "by 304, unseen"
        known[0] = []
        assert ask()[1] == encode([])
        assert ask(if_none_match=tag)[0] == 200
        plain = http.get(url, params={}, headers={"accept-encoding": "identity"}, timeout_s=10.0)
        zipped = http.get(url, params={}, headers={"accept-encoding": "gzip", "x": "1"}, timeout_s=10.0)
        assert "content-encoding" not in plain.headers
        assert zipped.headers["content-encoding"] == "gzip"
        assert plain.body == zipped.body == made[-1] != gzip.compress(made[-1])
    finally:
        agent.stop()
