"""Whatever a server does, asking it ends in time with an answer or a reason, and a key stays where it belongs."""

from __future__ import annotations

import gzip
import logging
import socket
import ssl
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from agent.clock import SystemClock
from agent.errors import ReadFailed, Unavailable
from agent.grids.client import HttpxClient
from agent.grids.http import MAX_BODY_BYTES, Answer, Http, body_of, refused, retry_after_s
from tests.fakes.engine_server import Answer as Behaviour
from tests.fakes.engine_server import EngineServer, answer, raw
from tests.fakes.tls import self_signed

KEY = "s3cret-key"
BODY = b'{"zone": "FR", "carbonIntensity": 39}'
SHORT_S = 0.3
NONE: Mapping[str, str] = {}


@pytest.fixture
def server() -> Iterator[EngineServer]:
    with EngineServer({"/latest": answer(body=BODY)}) as started:
        yield started


def get(
    url: str, params: Mapping[str, str] = NONE, headers: Mapping[str, str] = NONE, timeout_s: float = 30.0
) -> Answer:
    http: Http = HttpxClient(SystemClock())
    return http.get(url, params=params, headers=headers, timeout_s=timeout_s)


def reason(url: str, timeout_s: float = 30.0) -> str:
    with pytest.raises(ReadFailed) as failed:
        get(url, {"key": KEY}, {"auth-token": KEY}, timeout_s)
    assert KEY not in str(failed.value)
    return failed.value.reason


def test_an_answer_is_its_status_its_headers_in_lower_case_and_its_body(server: EngineServer) -> None:
    server.answers["/latest"] = answer(203, BODY, ETag='"7"', Retry_After="5")
    said = get(server.url + "/latest")
    assert (said.status, said.body) == (203, BODY)
    assert (said.headers["etag"], said.headers["retry-after"]) == ('"7"', "5")


def test_parameters_and_headers_are_sent(server: EngineServer) -> None:
    get(server.url + "/latest", {"zone": "FR", "where": "x is not null"}, {"auth-token": KEY})
    ((path, headers),) = server.asked
    assert path in ("/latest?zone=FR&where=x%20is%20not%20null", "/latest?zone=FR&where=x+is+not+null")
    assert (headers["auth-token"], headers["accept-encoding"]) == (KEY, "gzip")
    assert headers["host"] == f"127.0.0.1:{server.port}" and "joulecar" in headers["user-agent"]


@pytest.mark.parametrize(
    "whole",
    [
        pytest.param(answer(body=gzip.compress(BODY), content_encoding="gzip"), id="gzip"),
        pytest.param(raw(b"HTTP/1.0 200 OK\r\n\r\n" + BODY), id="until the connection closes"),
        pytest.param(
            raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(BODY), BODY, b"\r\n0\r\n\r\n"),
            id="chunked",
        ),
    ],
)
def test_a_body_may_come_in_any_way_that_http_has(server: EngineServer, whole: Behaviour) -> None:
    server.answers["/latest"] = whole
    assert get(server.url + "/latest").body == BODY


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (answer(body=gzip.compress(BODY)[:-9], content_encoding="gzip"), "gzip data is cut off"),
        (answer(body=b"\x1f\x8bgarbage", content_encoding="gzip"), "gzip data that cannot be read"),
        (answer(body=BODY, content_encoding="br"), "content-encoding br was not asked for"),
        (raw(b"nonsense\r\n\r\n"), "connection closed before the answer was complete, or not HTTP"),
        (
            raw(b"HTTP/1.1 200 OK\r\nContent-Length: 600\r\n\r\n" + BODY),
            "connection closed before the answer was complete, or not HTTP",
        ),
    ],
)
def test_half_an_answer_is_none(server: EngineServer, broken: Behaviour, said: str) -> None:
    server.answers["/latest"] = broken
    assert reason(server.url + "/latest") == said


def test_a_hundred_megabytes_are_given_up_at_the_limit(server: EngineServer) -> None:
    sent = []

    def flood(request: object) -> None:
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")(request)  # type: ignore[arg-type]  # a handler
        for _ in range(100):
            raw(b" " * 1_000_000)(request)  # type: ignore[arg-type]
            sent.append(1)

    server.answers["/latest"] = flood
    assert reason(server.url + "/latest") == "page larger than 4 MB"
    assert len(sent) < 50, "not read to its end"


def test_a_gzip_bomb_is_given_up_at_the_limit(server: EngineServer) -> None:
    bomb = zlib.compressobj(wbits=31)
    body = b"".join(bomb.compress(b" " * 1_000_000) for _ in range(60)) + bomb.flush()
    assert len(body) < 100_000 < MAX_BODY_BYTES
    server.answers["/latest"] = answer(body=body, content_encoding="gzip")
    assert reason(server.url + "/latest") == "page larger than 4 MB"


@pytest.mark.parametrize("way", ["nothing", "drip in the head", "drip in the body"])
def test_a_server_that_takes_for_ever_is_left_in_time(server: EngineServer, way: str) -> None:
    server.answers["/latest"] = {
        "nothing": server.hang,
        "drip in the head": server.drip(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"a"),
        "drip in the body": server.drip(b"HTTP/1.1 200 OK\r\n\r\n", b" "),
    }[way]
    assert reason(server.url + "/latest", timeout_s=SHORT_S) == "timeout after 0.3 s"


def test_nobody_there_is_said_in_stable_words() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/latest"
    assert reason(url) == "connection refused"


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/latest", "file:///etc/passwd", "nonsense", "http://[::1", ""])
def test_a_url_that_cannot_be_used_says_what_one_looks_like(url: str) -> None:
    assert reason(url) == "the url cannot be used: https://HOST, or http://HOST for a server of your own"


def test_a_redirect_on_the_same_server_is_followed_with_the_key(server: EngineServer) -> None:
    server.answers["/old"] = answer(301, location="/latest?moved=1")
    assert get(server.url + "/old", {"zone": "FR"}, {"auth-token": KEY}).body == BODY
    assert [(path, headers["auth-token"]) for path, headers in server.asked] == [
        ("/old?zone=FR", KEY),
        ("/latest?moved=1", KEY),
    ]


def test_a_redirect_elsewhere_is_refused_and_never_followed(server: EngineServer) -> None:
    with EngineServer({"/latest": answer(body=BODY)}) as elsewhere:
        server.answers["/old"] = answer(302, location=elsewhere.url + "/latest")
        assert reason(server.url + "/old") == f"redirect to another host: {elsewhere.url}"
        assert elsewhere.asked == []
    server.answers["/old"] = answer(302, location=server.url.replace("http:", "https:") + "/latest")
    assert reason(server.url + "/old").startswith("redirect to another host: https://127.0.0.1")


def test_redirects_without_end_are_given_up(server: EngineServer) -> None:
    server.answers["/latest"] = answer(302, location="/latest")
    assert reason(server.url + "/latest") == "too many redirects"
    assert len(server.asked) == 3


def test_a_proxy_in_the_environment_is_not_used(server: EngineServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert get(server.url + "/latest").body == BODY


def test_a_certificate_is_checked(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    with EngineServer({"/latest": answer(body=BODY)}, tls) as server:
        url = server.url.replace("http:", "https:") + "/latest"
        assert reason(url).startswith("tls: ")
        assert server.asked == []
        trusting = HttpxClient(SystemClock(), ssl.create_default_context(cafile=str(certificate)))
        assert trusting.get(url, params={}, headers={}, timeout_s=30.0).body == BODY


def test_a_key_is_neither_logged_nor_shown(server: EngineServer, caplog: pytest.LogCaptureFixture) -> None:
    server.answers["/login"] = answer(body=KEY.encode(), set_cookie=f"k={KEY}")
    with caplog.at_level(logging.INFO):
        said = get(server.url + "/login", {"key": KEY}, {"auth-token": KEY})
    assert KEY not in caplog.text
    assert KEY not in repr(said)


@pytest.mark.parametrize("key", ["line\nbreak", "nul\0", "ключ", "a\r\nHost: elsewhere"])
def test_a_key_that_no_header_can_carry_is_refused_before_anything_is_sent(server: EngineServer, key: str) -> None:
    with pytest.raises(Unavailable, match="the key holds characters that no HTTP header can carry"):
        get(server.url + "/latest", {}, {"auth-token": key})
    assert server.asked == []


# What a status means


@pytest.mark.parametrize(
    ("status", "final", "said"),
    [
        (401, True, "rte: http 401: the key is missing or was refused"),
        (403, True, "rte: http 403: not allowed for this key or this address"),
        (404, True, "rte: http 404: nothing there"),
        (410, True, "rte: http 410: the service has ended"),
        (429, False, "rte: http 429: asked too often"),
        (500, False, "rte: http 500: the server is in trouble"),
        (503, False, "rte: http 503: the server is in trouble"),
        (418, False, "rte: http 418"),
        (204, False, "rte: http 204"),
    ],
)
def test_a_status_is_final_or_worth_another_try(server: EngineServer, status: int, final: bool, said: str) -> None:
    server.answers["/latest"] = answer(status, b"secrets of the server" if status != 204 else b"")
    fault = refused(get(server.url + "/latest"), "rte")
    assert str(fault) == said
    assert isinstance(fault, Unavailable if final else ReadFailed)
    assert not isinstance(fault, Unavailable) or fault.fix


def test_only_a_200_has_a_body_to_read() -> None:
    assert body_of(Answer(200, {}, BODY), "rte") == BODY
    with pytest.raises(ReadFailed, match="rte: http 203"):
        body_of(Answer(203, {}, BODY), "rte")


def test_a_refusal_with_a_broken_body_is_still_that_refusal(server: EngineServer) -> None:
    server.answers["/latest"] = answer(429, b"\x1f\x8bgarbage", content_encoding="gzip", retry_after="30")
    said = get(server.url + "/latest")
    assert (said.status, said.body, retry_after_s(said)) == (429, b"", 30.0)


@pytest.mark.parametrize("status", [429, 503])
def test_how_long_to_wait_is_told(server: EngineServer, status: int) -> None:
    server.answers["/latest"] = answer(status, retry_after="120")
    fault = refused(get(server.url + "/latest"), "rte")
    assert isinstance(fault, ReadFailed) and fault.retry_after_s == 120.0


SENT = "Sun, 06 Nov 2026 08:49:37 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": " 90 "}, 90.0),
        ({"retry-after": "9" * 400}, 86_400.0),
        ({"retry-after": "Sun, 06 Nov 2026 08:51:37 GMT", "date": SENT}, 120.0),
        ({"retry-after": "Sun, 06 Nov 2026 08:00:00 GMT", "date": SENT}, 0.0),
        ({"retry-after": "Sun, 06 Nov 2027 08:00:00 GMT", "date": SENT}, 86_400.0),
        ({"retry-after": "Sun, 06 Nov 2026 08:51:37 GMT"}, None),
        ({"retry-after": "Sun, 06 Nov 2026 08:51:37 GMT", "date": "today"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "1e9"}, None),
        ({"retry-after": "٣"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(headers: Mapping[str, str], seconds: float | None) -> None:
    assert retry_after_s(Answer(429, headers)) == seconds
