"""The HTTP server, over real sockets of this machine."""

from __future__ import annotations

import base64
import contextlib
import errno
import gzip
import http.client
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.model import DeviceKind, Ledger, Snapshot, Use
from agent.settings import Secret, ServerSettings
from exporters.exposition import OPENMETRICS, TEXT
from exporters.limits import Limits
from exporters.server import HttpServer
from tests.fakes.snapshots import START, HeldSnapshot, full_snapshot

PASSWORD = "correct horse: battery"
LOCAL = "127.0.0.1"
HELLO = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


class BrokenSource:
    """A SnapshotSource that fails until it is mended."""

    broken = True

    def snapshot(self) -> Snapshot:
        if self.broken:
            raise RuntimeError("no snapshot today")
        return Snapshot(START)


def well() -> str | None:
    return None


@contextlib.contextmanager
def serving(
    settings: ServerSettings | None = None,
    *,
    live: Callable[[], str | None] = well,
    ready: Callable[[], str | None] = well,
    limits: Limits | None = None,
) -> Iterator[HttpServer]:
    source = HeldSnapshot(full_snapshot())
    server = HttpServer(settings or ServerSettings(port=0), source, live, ready, limits=limits or Limits())
    server.start()
    try:
        yield server
    finally:
        server.stop()


def ask(
    server: HttpServer, path: str, *, method: str = "GET", body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(LOCAL, server.port, timeout=5)
    with contextlib.closing(connection):
        connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        response = connection.getresponse()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()


def test_an_answer_has_the_status_that_its_query_deserves() -> None:
    def told(query: Mapping[str, str]) -> tuple[int, bytes]:
        return (200, b"[1]") if query.get("of") == "a" else (404, b"[]")

    source = HeldSnapshot(full_snapshot())
    server = HttpServer(ServerSettings(port=0), source, well, well, answers={"/told": told})
    server.start()
    try:
        status, headers, body = ask(server, "/told?of=a")
        assert (status, body, "etag" in headers) == (200, b"[1]", True)
        status, headers, body = ask(server, "/told?of=b", If_None_Match="*")
        assert (status, body, headers["cache-control"]) == (404, b"[]", "no-store")
    finally:
        server.stop()


def connect(server: HttpServer) -> socket.socket:
    return socket.create_connection((LOCAL, server.port), timeout=5)


def all_of(connection: socket.socket) -> bytes:
    """Everything until the other side hangs up."""
    said = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := connection.recv(65_536):
            said += chunk
    return said


def greet(connection: socket.socket) -> int:
    """The status of /healthz, on a connection that stays open."""
    connection.sendall(HELLO)
    response = http.client.HTTPResponse(connection)
    response.begin()
    response.read()
    return response.status


def login(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def with_auth() -> ServerSettings:
    return ServerSettings(port=0, basic_auth_user="prometheus", basic_auth_password=Secret(PASSWORD, "test"))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for localhost, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    (folder / "cert.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "cert.pem", folder / "key.pem"


# Pages


def test_metrics_in_text_and_in_openmetrics() -> None:
    with serving() as server:
        status, headers, body = ask(server, "/metrics")
        assert (status, headers["content-type"]) == (200, TEXT)
        assert b"\njoulecar_pue 1.2\n" in body
        assert b"\nprocess_resident_memory_bytes " in body
        status, headers, body = ask(server, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
        assert (status, headers["content-type"]) == (200, OPENMETRICS)
        assert body.endswith(b"# EOF\n")


def test_metrics_are_packed_for_those_who_ask() -> None:
    with serving() as server:
        _, headers, body = ask(server, "/metrics", Accept_Encoding="gzip")
        assert headers["content-encoding"] == "gzip"
        assert b"joulecar_pue 1.2" in gzip.decompress(body)
        assert "content-encoding" not in ask(server, "/metrics")[1]


def test_health_and_readiness_say_what_is_wrong() -> None:
    with serving(ready=lambda: "nothing measured yet") as server:
        assert ask(server, "/healthz")[::2] == (200, b"ok\n")
        assert ask(server, "/readyz")[::2] == (503, b"nothing measured yet\n")


def test_a_dead_loop_is_not_healthy() -> None:
    with serving(live=lambda: "no tick for 31 s") as server:
        assert ask(server, "/healthz")[::2] == (503, b"no tick for 31 s\n")


def test_the_front_page_links_to_the_others() -> None:
    with serving() as server:
        status, headers, body = ask(server, "/")
        assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
        for path in ("/metrics", "/healthz", "/readyz"):
            assert f'href="{path}"'.encode() in body


@pytest.mark.parametrize("path", ["/", "/metrics", "/healthz", "/readyz"])
def test_head_is_get_without_a_body(path: str) -> None:
    with serving() as server:
        status, headers, body = ask(server, path, method="HEAD")
        assert (status, body) == (200, b"")
        assert int(headers["content-length"]) > 0


@pytest.mark.parametrize("path", ["/nothing", "/metrics/", "/healthz/", "//evil.example/", "/docs", "/%00"])
def test_any_other_path_is_not_found_and_redirects_nowhere(path: str) -> None:
    with serving() as server:
        status, headers, _ = ask(server, path)
        assert status == 404
        assert "location" not in headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_other_methods_are_refused(method: str) -> None:
    with serving() as server:
        status, headers, _ = ask(server, "/metrics", method=method)
        assert (status, headers["allow"]) == (405, "GET, HEAD")


def test_a_connection_is_kept_for_the_next_scrape() -> None:
    with serving() as server, connect(server) as connection:
        for _ in range(3):
            assert greet(connection) == 200


def test_a_page_that_cannot_be_written_is_said_once_and_heals(caplog: pytest.LogCaptureFixture) -> None:
    source = BrokenSource()
    server = HttpServer(ServerSettings(port=0), source, well, well)
    server.start()
    try:
        with caplog.at_level(logging.INFO, "joulecar.http"):
            for _ in range(3):
                status, _, body = ask(server, "/metrics")
                assert status == 500
                assert b"no snapshot" not in body
            source.broken = False
            assert ask(server, "/metrics")[0] == 200
        assert [r.levelname for r in caplog.records] == ["ERROR", "INFO"]
        assert ask(server, "/healthz")[0] == 200
    finally:
        server.stop()


# Who may read


def test_a_password_guards_everything_but_health() -> None:
    with serving(with_auth()) as server:
        for path in ("/", "/metrics", "/readyz", "/nothing", "/healthz/", "//healthz"):
            status, headers, body = ask(server, path)
            assert status == 401, path
            assert headers["www-authenticate"].startswith("Basic ")
            assert b"joulecar_" not in body
        assert ask(server, "/healthz")[0] == 200
        assert ask(server, "/metrics", Authorization=login("prometheus", PASSWORD))[0] == 200


@pytest.mark.parametrize(
    "header",
    [
        login("prometheus", "wrong"),
        login("prometheus", ""),
        login("prometheus", PASSWORD + "x"),
        login("", PASSWORD),
        login("prometheus:", PASSWORD),
        login("Prometheus", PASSWORD),
        "Bearer " + PASSWORD,
        "Basic",
        "Basic !!!",
        "Basic " + "A" * 9_000,
        "",
    ],
)
def test_a_wrong_login_is_refused(header: str) -> None:
    with serving(with_auth()) as server:
        assert ask(server, "/metrics", Authorization=header)[0] == 401


@pytest.mark.parametrize(
    "settings",
    [
        ServerSettings(port=0, basic_auth_user="prometheus"),
        ServerSettings(port=0, basic_auth_user="prometheus", basic_auth_password=Secret("")),
        ServerSettings(port=0, basic_auth_password=Secret(PASSWORD)),
        ServerSettings(port=0, tls_cert=Path("cert.pem")),
    ],
)
def test_half_a_protection_does_not_start(settings: ServerSettings) -> None:
    server = HttpServer(settings, HeldSnapshot(full_snapshot()), well, well)
    with pytest.raises(ValueError, match="missing") as raised:
        server.start()
    assert PASSWORD not in str(raised.value)


def test_the_password_is_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(0), serving(with_auth()) as server:
        ask(server, "/metrics", Authorization=login("prometheus", PASSWORD))
        ask(server, "/metrics", Authorization=login("prometheus", PASSWORD + "!"))
    assert PASSWORD not in caplog.text
    assert base64.b64encode(PASSWORD.encode()).decode()[:12] not in caplog.text


def test_tls_with_the_configured_certificate(certificate: tuple[Path, Path]) -> None:
    settings = ServerSettings(port=0, tls_cert=certificate[0], tls_key=certificate[1])
    with serving(settings) as server:
        assert server.url == f"https://127.0.0.1:{server.port}/metrics"
        trust = ssl.create_default_context(cafile=str(certificate[0]))
        with trust.wrap_socket(connect(server), server_hostname="localhost") as connection:
            assert connection.version() in ("TLSv1.2", "TLSv1.3")
            assert greet(connection) == 200
        with connect(server) as in_the_clear:
            in_the_clear.sendall(HELLO)
            assert b"200 OK" not in all_of(in_the_clear)


def test_an_unusable_certificate_is_named_at_start(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    rubbish = tmp_path / "rubbish.pem"
    rubbish.write_text("no certificate")
    for cert, key, named in (
        (tmp_path / "none.pem", certificate[1], r"server.tls_cert: cannot read .*none\.pem"),
        (rubbish, certificate[1], r"rubbish\.pem .*not a PEM certificate"),
        (certificate[0], rubbish, r"rubbish\.pem are not"),
    ):
        server = HttpServer(
            ServerSettings(port=0, tls_cert=cert, tls_key=key), HeldSnapshot(full_snapshot()), well, well
        )
        with pytest.raises(OSError, match=named):
            server.start()


def test_an_open_address_without_protection_is_warned_of(
    caplog: pytest.LogCaptureFixture, certificate: tuple[Path, Path]
) -> None:
    with serving(ServerSettings(host="0.0.0.0", port=0)) as server:
        assert ask(server, "/healthz")[0] == 200
    assert [r.getMessage() for r in caplog.records] == [
        f"http://0.0.0.0:{server.port}/metrics is open to the network without TLS and a password"
    ]
    caplog.clear()
    guarded = ServerSettings(
        host="0.0.0.0",
        port=0,
        tls_cert=certificate[0],
        tls_key=certificate[1],
        basic_auth_user="u",
        basic_auth_password=Secret("p"),
    )
    with serving(guarded), serving(ServerSettings(host="localhost", port=0)):
        assert caplog.records == []


# What strangers may use


def test_one_connection_too_many_is_closed_and_the_others_live() -> None:
    with serving(ServerSettings(port=0, max_connections=3)) as server, contextlib.ExitStack() as held:
        open_ones = [held.enter_context(connect(server)) for _ in range(3)]
        for connection in open_ones:
            assert greet(connection) == 200
        with connect(server) as one_more:
            assert all_of(one_more) == b""
        assert greet(open_ones[0]) == 200
        open_ones[1].sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"200 OK" in all_of(open_ones[1])
        assert ask(server, "/healthz")[0] == 200, "a place that came free is given again"


def test_tls_handshakes_that_never_come_hold_a_place_only_for_a_while(certificate: tuple[Path, Path]) -> None:
    settings = ServerSettings(port=0, tls_cert=certificate[0], tls_key=certificate[1], max_connections=2)
    with serving(settings, limits=Limits(handshake_s=0.2)) as server, connect(server) as one, connect(server) as two:
        with connect(server) as three:
            assert all_of(three) == b""
        assert all_of(one) == all_of(two) == b""
        trust = ssl.create_default_context(cafile=str(certificate[0]))
        with trust.wrap_socket(connect(server), server_hostname="localhost") as connection:
            assert greet(connection) == 200


@pytest.mark.parametrize("sent", [b"", b"GET /metrics HTTP/1.1\r\n", b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: "])
def test_a_request_that_never_ends_is_hung_up_on(sent: bytes) -> None:
    with serving(limits=Limits(exchange_s=0.2)) as server, connect(server) as slow:
        slow.sendall(sent)
        assert all_of(slow) == b""
        assert ask(server, "/healthz")[0] == 200


def test_a_byte_now_and_then_does_not_buy_time() -> None:
    with serving(limits=Limits(exchange_s=0.3)) as server, connect(server) as slow:
        began = time.monotonic()
        slow.settimeout(0.05)
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - began < 5:
                slow.sendall(b"G")
                with contextlib.suppress(TimeoutError):
                    if slow.recv(10) == b"":
                        break
        assert time.monotonic() - began < 2


def test_an_answer_that_is_not_read_is_given_up() -> None:
    energy_j = {("e", f"{i:0100}", Use.DECODE, DeviceKind.GPU): 1.0 for i in range(40_000)}
    source = HeldSnapshot(Snapshot(START, ledger=Ledger(energy_j=energy_j)))  # more than the kernel's buffers hold
    alone = ServerSettings(port=0, max_connections=1)
    server = HttpServer(alone, source, well, well, limits=Limits(exchange_s=1.0))
    server.start()
    try:
        with connect(server) as lazy:
            lazy.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            assert lazy.recv(4) == b"HTTP"
            began = time.monotonic()
            served = False
            while not served and time.monotonic() - began < 10:
                with contextlib.suppress(OSError, http.client.HTTPException):
                    served = ask(server, "/healthz")[0] == 200
            assert served, "the reader who does not read still holds the only place"
    finally:
        server.stop()


def test_pipelined_requests_get_one_answer() -> None:
    with serving() as server, connect(server) as greedy:
        greedy.sendall(HELLO * 50)
        assert all_of(greedy).count(b"HTTP/1.1 200") <= 1
        assert ask(server, "/healthz")[0] == 200


def test_an_idle_connection_is_let_go() -> None:
    with serving(limits=Limits(keep_alive_s=1)) as server, connect(server) as idle:
        idle.sendall(HELLO)
        assert all_of(idle).startswith(b"HTTP/1.1 200")


def test_a_request_that_is_too_large_is_refused() -> None:
    with serving(limits=Limits(header_bytes=4_096)) as server:
        with connect(server) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 6_000)
            assert all_of(connection).startswith(b"HTTP/1.1 4")
        with connect(server) as connection:
            connection.sendall(b"GET /" + b"a" * 6_000)
            assert all_of(connection).startswith(b"HTTP/1.1 4")


def test_a_body_is_refused_unread() -> None:
    with serving() as server:
        assert ask(server, "/metrics", body=b"x" * 10)[0] == 413
        assert ask(server, "/metrics", Transfer_Encoding="chunked")[0] == 413
        with connect(server) as connection:
            connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
            assert all_of(connection).startswith(b"HTTP/1.1 413")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=200),
        st.builds(
            lambda method, path, tail: method + b" " + path + b" HTTP/1.1\r\nHost: x\r\n" + tail + b"\r\n\r\n",
            st.sampled_from([b"GET", b"HEAD", b"POST", b"PRI", b"CONNECT"]),
            st.binary(max_size=30),
            st.binary(max_size=60),
        ),
    )
)
def test_no_bytes_bring_it_down(one_server: HttpServer, sent: bytes) -> None:
    with connect(one_server) as connection:
        connection.sendall(sent)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
        all_of(connection)
    assert ask(one_server, "/healthz")[::2] == (200, b"ok\n")


@pytest.fixture(scope="module")
def one_server() -> Iterator[HttpServer]:
    with serving() as server:
        yield server


def test_websockets_and_upgrades_are_not_spoken() -> None:
    with serving() as server:
        status, headers, _ = ask(server, "/metrics", Connection="Upgrade", Upgrade="websocket", Sec_WebSocket_Key="x")
        assert status == 200
        assert "upgrade" not in headers


# Start and stop


def test_a_port_in_use_is_named_before_anything_starts() -> None:
    with serving() as first:
        second = HttpServer(ServerSettings(port=first.port), HeldSnapshot(full_snapshot()), well, well)
        before = threading.active_count()
        with pytest.raises(OSError, match=rf"cannot listen on 127\.0\.0\.1:{first.port}: .*in use.*--listen") as raised:
            second.start()
        assert raised.value.errno == errno.EADDRINUSE
        assert threading.active_count() == before
        second.stop()


def test_an_address_of_another_machine_is_named() -> None:
    server = HttpServer(ServerSettings(host="192.0.2.1", port=9420), HeldSnapshot(full_snapshot()), well, well)
    with pytest.raises(OSError, match=r"cannot listen on 192\.0\.2\.1:9420: Cannot assign"):
        server.start()


def test_stop_is_quick_with_open_idle_and_half_open_connections() -> None:
    before = set(threading.enumerate())
    server = HttpServer(ServerSettings(port=0), HeldSnapshot(full_snapshot()), well, well)
    server.start()
    with connect(server) as silent, connect(server) as half, connect(server) as idle, connect(server) as unread:
        half.sendall(b"GET /metrics HTTP/1.1\r\nHost:")
        assert greet(idle) == 200
        unread.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 1.0
        assert set(threading.enumerate()) <= before
        assert all_of(silent) == all_of(half) == all_of(idle) == b""
    with pytest.raises(ConnectionRefusedError):
        connect(server)


def test_stop_is_quick_in_the_middle_of_tls_handshakes(certificate: tuple[Path, Path]) -> None:
    before = set(threading.enumerate())
    settings = ServerSettings(port=0, tls_cert=certificate[0], tls_key=certificate[1])
    server = HttpServer(settings, HeldSnapshot(full_snapshot()), well, well)
    server.start()
    trust = ssl.create_default_context(cafile=str(certificate[0]))
    with connect(server), trust.wrap_socket(connect(server), server_hostname="localhost") as idle:
        assert greet(idle) == 200
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 1.0
        assert set(threading.enumerate()) <= before


def test_stop_without_start_twice_and_start_again() -> None:
    server = HttpServer(ServerSettings(port=0), HeldSnapshot(full_snapshot()), well, well)
    server.stop()
    for _ in range(2):
        server.start()
        assert ask(server, "/healthz")[0] == 200
        server.stop()
        server.stop()


def test_the_port_can_be_taken_again_at_once() -> None:
    with serving() as first, connect(first) as connection:
        assert greet(connection) == 200
        port = first.port
        first.stop()
        with serving(ServerSettings(port=port)) as second:
            assert ask(second, "/healthz")[0] == 200


def test_ipv6_loopback() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with serving(ServerSettings(host="::1", port=0)) as server:
        assert server.url == f"http://[::1]:{server.port}/metrics"
        with socket.create_connection(("::1", server.port), timeout=5) as connection:
            assert greet(connection) == 200
