"""Whatever a server does, a scrape ends in time with a sample or a reason, and the token stays where it belongs."""

from __future__ import annotations

import gzip
import socket
import ssl
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.clock import SystemClock
from agent.engines.scrape import MAX_PAGE_BYTES, HttpEngineReader
from agent.model import EngineFailure, EngineSample, Quantity
from agent.ports import Clock, EngineReader
from agent.settings import EngineSettings, Secret
from tests.fakes.clock import FakeClock
from tests.fakes.engine_server import Answer, EngineServer, answer, raw
from tests.fakes.tls import self_signed

DATA = Path(__file__).parents[2] / "data" / "engines"
VLLM = (DATA / "vllm_basic" / "idle.prom").read_bytes()
LLAMACPP = (DATA / "llamacpp_basic" / "idle.prom").read_bytes()
LOADING = (DATA / "llamacpp_loading503" / "before.prom").read_bytes()
SHORT_S = 0.3
TOKEN = "s3cret-token"


def reader(url: str, clock: Clock | None = None, keep_page: bool = False, **settings: Any) -> HttpEngineReader:
    patient = {"timeout_s": 30.0, **settings}  # a busy machine is not what is tested
    return HttpEngineReader(EngineSettings("box", url, **patient), clock or SystemClock(), keep_page=keep_page)


def scrape(url: str, **settings: Any) -> EngineSample | EngineFailure:
    one: EngineReader = reader(url, **settings)
    try:
        return one.sample()
    finally:
        one.close()


def failed(url: str, **settings: Any) -> EngineFailure:
    seen = scrape(url, **settings)
    assert isinstance(seen, EngineFailure), seen
    assert seen.engine == "box"
    assert TOKEN not in seen.reason
    return seen


def generated(seen: EngineSample | EngineFailure) -> float:
    assert isinstance(seen, EngineSample), seen
    return sum(v for k, v in seen.counters.items() if k.quantity is Quantity.GENERATED)


@pytest.fixture
def server() -> Iterator[EngineServer]:
    with EngineServer({"/metrics": answer(body=VLLM)}) as started:
        yield started


# Where the page is


@pytest.mark.parametrize("path", ["", "/", "/metrics", "/metrics/", "/v1", "/v1/chat/completions"])
def test_the_url_is_the_server_its_api_or_its_page(server: EngineServer, path: str) -> None:
    server.answers["/metrics/"] = answer(body=VLLM)
    assert generated(scrape(server.url + path)) == 903


def test_a_url_without_a_scheme_is_http(server: EngineServer) -> None:
    assert generated(scrape(f"127.0.0.1:{server.port}")) == 903


@pytest.mark.parametrize(
    ("path", "kind", "page"),
    [
        ("/prometheus/metrics", "trtllm", "trtllm.prom"),
        ("/v1/metrics", "vllm", "nim.prom"),
        ("/metrics", "tgi", "tgi_3.prom"),
    ],
)
def test_the_usual_paths_are_tried_and_the_right_one_is_kept(
    server: EngineServer, path: str, kind: str, page: str
) -> None:
    body = (DATA / "made" / page).read_bytes()
    server.answers = {"/metrics": answer(body=b'[{"iter": 1}]'), path: answer(body=body)}
    one = reader(server.url)
    for _ in range(2):
        seen = one.sample()
        assert isinstance(seen, EngineSample) and seen.kind == kind
    asked = [p for p, _ in server.asked]
    assert asked.count(path) == 2 and asked[-1] == path and len(asked) == len(set(asked)) + 1
    assert isinstance(scrape(server.url, kind=kind), EngineSample)


def test_a_page_that_has_moved_is_found_again_at_once(server: EngineServer) -> None:
    one = reader(server.url)
    assert generated(one.sample()) == 903
    server.answers = {"/v1/metrics": answer(body=VLLM)}
    assert generated(one.sample()) == 903


def test_a_page_that_goes_away_is_missed_in_the_same_words_each_time(server: EngineServer) -> None:
    one = reader(server.url)
    assert generated(one.sample()) == 903
    server.answers = {}
    said = [one.sample() for _ in range(3)]
    assert len({s.reason for s in said if isinstance(s, EngineFailure)}) == 1, "one line in the log, not two"


def test_no_page_at_all_names_the_paths_that_were_tried(server: EngineServer) -> None:
    server.answers = {}
    assert failed(server.url).reason == "http 404: no metrics page at /metrics, /v1/metrics, /prometheus/metrics"
    assert failed(server.url + "/metrics").reason == "http 404: no metrics page at /metrics"


def test_the_model_in_the_query_of_a_router_names_the_model(server: EngineServer) -> None:
    server.answers = {"/metrics?model=tiny": answer(body=LLAMACPP)}
    seen = scrape(server.url + "/metrics?model=tiny")
    assert isinstance(seen, EngineSample) and set(seen.running) == {"tiny"}
    seen = scrape(server.url + "/metrics?model=tiny", model="mine")
    assert isinstance(seen, EngineSample) and set(seen.running) == {"mine"}


def test_an_engine_is_recognised_anew_when_another_one_serves_there(server: EngineServer) -> None:
    one = reader(server.url)
    kinds = []
    for page in (VLLM, LLAMACPP, LLAMACPP):
        server.answers["/metrics"] = answer(body=page)
        seen = one.sample()
        kinds.append(seen.kind if isinstance(seen, EngineSample) else seen.reason)
    assert kinds == ["vllm", "this is the page of llama.cpp server, kind says vllm", "llamacpp"]


# What is sent and what is kept


def test_the_page_is_asked_for_once_uncompressed_and_on_a_connection_of_its_own(server: EngineServer) -> None:
    scrape(server.url)
    ((path, headers),) = server.asked
    assert path == "/metrics"
    assert headers["accept-encoding"] == "identity"
    assert headers["connection"] == "close"
    assert "text/plain" in headers["accept"]
    assert "authorization" not in headers


def test_the_token_is_sent(server: EngineServer) -> None:
    scrape(server.url, token=Secret(TOKEN, "env X"))
    assert server.asked[0][1]["authorization"] == f"Bearer {TOKEN}"


def test_the_page_is_kept_for_a_recording(server: EngineServer) -> None:
    kept, left = reader(server.url, keep_page=True).sample(), scrape(server.url)
    assert isinstance(kept, EngineSample) and kept.page == VLLM.decode()
    assert isinstance(left, EngineSample) and left.page is None


def test_proxies_of_the_environment_are_left_alone(server: EngineServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert generated(scrape(server.url)) == 903


def test_a_sample_stands_for_the_middle_of_its_exchange() -> None:
    clock = FakeClock()

    def respond(request: httpx.Request) -> httpx.Response:
        clock.advance(2.0)
        return httpx.Response(200, content=VLLM)

    client = httpx.Client(transport=httpx.MockTransport(respond))
    seen = HttpEngineReader(EngineSettings("box", "http://vllm:8000/metrics"), clock, client).sample()
    assert isinstance(seen, EngineSample)
    assert (seen.at.mono_s, seen.at.wall_s) == (101.0, 1_790_000_001.0)


# Servers that do not answer as they should


@pytest.mark.parametrize(
    ("reply", "reason", "not_serving"),
    [
        (answer(401), "http 401: set token_env or token_file", False),
        (answer(403), "http 403: set token_env or token_file", False),
        (answer(500), "http 500", False),
        (answer(503, LOADING), "http 503: loading", True),
        (answer(503, b"upstream is gone"), "http 503", False),
        (answer(501, b'{"error":{}}'), "http 501: metrics are switched off (llama-server: --metrics)", False),
        (answer(304), "http 304", False),
        (answer(200, b"<html>hello"), "not an exposition page: HTML", False),
        (answer(200, LOADING), "not an exposition page: JSON", False),
        (answer(200, b""), "not an exposition page: empty", False),
        (answer(200, gzip.compress(VLLM)), "not an exposition page: gzip data", False),
        (answer(200, b"\x1f\x8bgarbage", content_encoding="gzip"), "gzip data that cannot be read", False),
        (answer(200, gzip.compress(VLLM)[:-9], content_encoding="gzip"), "gzip data is cut off", False),
        (
            answer(200, gzip.compress(VLLM) + b"more", content_encoding="gzip"),
            "more after the end of the gzip data",
            False,
        ),
        (answer(200, VLLM, content_encoding="br"), "content-encoding br was not asked for", False),
        (raw(b"nonsense\r\n\r\n"), "connection closed before the answer was complete, or not HTTP", False),
        (raw(), "connection closed before the answer was complete, or not HTTP", False),
        (
            raw(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n" + VLLM[:-5]),
            "connection closed before the answer was complete, or not HTTP",
            False,
        ),
        (raw(b"HTTP/1.0 200 OK\r\n\r\n" + VLLM[:-5]), "page is cut off", False),
    ],
)
def test_an_answer_that_is_no_page_is_a_failure_with_its_reason(
    server: EngineServer, reply: Answer, reason: str, not_serving: bool
) -> None:
    server.answers["/metrics"] = reply
    seen = failed(server.url + "/metrics")
    assert (seen.reason, seen.not_serving) == (reason, not_serving)


def test_a_token_that_does_not_open_the_page_is_told_from_no_token(server: EngineServer) -> None:
    server.answers["/metrics"] = answer(401)
    assert failed(server.url, token=Secret(TOKEN)).reason == "http 401: the token was refused"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(answer(body=gzip.compress(VLLM), content_encoding="gzip"), id="gzip"),
        pytest.param(answer(body=zlib.compress(VLLM), content_encoding="deflate"), id="deflate"),
        pytest.param(raw(b"HTTP/1.0 200 OK\r\n\r\n" + VLLM), id="until the connection closes"),
        pytest.param(
            raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(VLLM), VLLM, b"\r\n0\r\n\r\n"),
            id="chunked",
        ),
    ],
)
def test_a_page_may_come_in_any_way_that_http_has(server: EngineServer, body: Answer) -> None:
    server.answers["/metrics"] = body
    assert generated(scrape(server.url)) == 903


def test_a_page_of_50_megabytes_is_given_up_at_the_limit(server: EngineServer) -> None:
    sent = []

    def endless(request: Any) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n")
        for _ in range(500):
            request.wfile.write(b"x" * 100_000)
            sent.append(100_000)

    server.answers["/metrics"] = endless
    assert failed(server.url + "/metrics").reason == "page larger than 8 MB"
    assert sum(sent) < 3 * MAX_PAGE_BYTES


def test_a_gzip_bomb_is_given_up_at_the_limit(server: EngineServer) -> None:
    bomb = zlib.compressobj(wbits=31)
    body = b"".join(bomb.compress(b"\n" * 1_000_000) for _ in range(60)) + bomb.flush()
    assert len(body) < 100_000
    server.answers["/metrics"] = answer(body=body, content_encoding="gzip")
    assert failed(server.url + "/metrics").reason == "page larger than 8 MB"


def test_a_long_refusal_is_not_read_to_its_end(server: EngineServer) -> None:
    server.answers["/metrics"] = answer(503, b"loading" * 1_000_000)
    assert failed(server.url + "/metrics").reason == "http 503"


@pytest.mark.parametrize("way", ["nothing", "drip in the head", "drip in the page", "drip in a page of known length"])
def test_a_server_that_takes_for_ever_is_left_in_time(server: EngineServer, way: str) -> None:
    server.answers["/metrics"] = {
        "nothing": server.hang,
        "drip in the head": server.drip(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"a"),
        "drip in the page": server.drip(b"HTTP/1.1 200 OK\r\n\r\n", b"#"),
        "drip in a page of known length": server.drip(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n", b"\n"),
    }[way]
    clock = SystemClock()
    start = clock.now().mono_s
    seen = failed(server.url + "/metrics", timeout_s=SHORT_S)
    assert (seen.reason, seen.not_serving) == ("timeout after 0.3 s", False)
    assert clock.now().mono_s - start < 5 * SHORT_S


def test_one_deadline_holds_for_all_the_paths_together(server: EngineServer) -> None:
    server.answers = dict.fromkeys(("/metrics", "/v1/metrics", "/prometheus/metrics"), server.hang)
    clock = SystemClock()
    start = clock.now().mono_s
    failed(server.url, timeout_s=SHORT_S)
    assert clock.now().mono_s - start < 2.5 * SHORT_S


def test_a_port_where_nobody_listens_is_not_serving() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        seen = failed(f"http://127.0.0.1:{nobody.getsockname()[1]}/metrics?token={TOKEN}")
    assert (seen.reason, seen.not_serving) == ("connection refused", True)


def test_a_name_that_nobody_knows_is_a_failure() -> None:
    seen = failed("http://engine.invalid:8000")
    assert not seen.not_serving and seen.reason


@pytest.mark.parametrize("url", ["http://[::1", "ftp://host/metrics", "http://", "http://engine.invalid:99999999"])
def test_a_url_that_cannot_be_used_is_a_failure(url: str) -> None:
    assert not failed(url).not_serving


def test_an_engine_that_has_loaded_is_read_at_once(server: EngineServer) -> None:
    server.answers["/metrics"] = answer(503, LOADING)
    one = reader(server.url)
    assert isinstance(one.sample(), EngineFailure)
    server.answers["/metrics"] = answer(body=LLAMACPP)
    assert generated(one.sample()) == 6163


# Redirects


def test_a_redirect_on_the_same_server_is_followed_and_remembered(server: EngineServer) -> None:
    server.answers = {"/metrics": answer(307, location="/metrics/"), "/metrics/": answer(body=VLLM)}
    one = reader(server.url, token=Secret(TOKEN))
    assert generated(one.sample()) == generated(one.sample()) == 903
    assert [p for p, _ in server.asked] == ["/metrics", "/metrics/", "/metrics/"]


def test_a_redirect_elsewhere_is_not_followed_and_nothing_is_told_there(server: EngineServer) -> None:
    with EngineServer({"/metrics": answer(body=VLLM)}) as other:
        target = f"{other.url}/metrics?token={TOKEN}"
        server.answers["/metrics"] = answer(302, location=target)
        seen = failed(server.url + "/metrics", token=Secret(TOKEN))
        assert seen.reason == f"redirect to another host: {other.url}"
        assert other.asked == []


def test_redirects_without_end_are_given_up(server: EngineServer) -> None:
    server.answers["/metrics"] = answer(302, location="/metrics")
    assert failed(server.url + "/metrics").reason == "too many redirects"
    assert len(server.asked) == 3


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return self_signed(tmp_path_factory.mktemp("tls"))


def test_a_private_certificate_is_trusted_only_when_the_config_says_so(certificate: Path) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    with EngineServer({"/metrics": answer(body=VLLM)}, tls) as server:
        url = server.url.replace("http:", "https:")
        seen = failed(url)
        assert seen.reason.startswith("tls: ") and seen.reason.endswith(": set tls_ca")
        assert generated(scrape(url, tls_ca=certificate)) == 903
        assert generated(scrape(url, tls_verify=False)) == 903
        assert failed(url, tls_ca=certificate.parent / "none.pem").reason == "tls_ca cannot be read"


def test_https_to_a_server_that_speaks_plain_http_says_so(server: EngineServer) -> None:
    assert failed(server.url.replace("http:", "https:"), timeout_s=SHORT_S).reason.startswith(("tls: ", "timeout"))


def test_a_reader_that_was_closed_opens_again(server: EngineServer) -> None:
    one = reader(server.url)
    assert generated(one.sample()) == 903
    one.close()
    assert generated(one.sample()) == 903
    one.close()


def test_settings_are_taken_as_they_are() -> None:
    settings = EngineSettings("box", "http://h")
    assert HttpEngineReader(replace(settings, name="b"), FakeClock()).name == "b"
