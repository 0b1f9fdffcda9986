"""The server that spans are posted to, over real sockets of this machine, with the real receiver behind it."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from agent.health import Health
from agent.otlp.decode import JSON, PROTOBUF
from agent.otlp.receiver import PATH, Receiver
from agent.settings import EngineSettings, Secret, ServerSettings
from exporters.intake import IntakeServer
from tests.agent.otlp.bodies import VLLM, as_json, as_protobuf, span

LOCAL = "127.0.0.1"
SETTINGS = ServerSettings(LOCAL, 0, section="otlp")


@contextlib.contextmanager
def taking(
    settings: ServerSettings = SETTINGS, max_body: int = 100_000, health: Health | None = None
) -> Iterator[tuple[IntakeServer, Receiver]]:
    receiver = Receiver((EngineSettings("vllm", "http://h"),), health or Health(), lambda: 1.0, max_body=max_body)
    server = IntakeServer(settings, PATH, receiver.receive, max_body=max_body)
    server.start()
    try:
        yield server, receiver
    finally:
        server.stop()


def post(
    server: IntakeServer, body: bytes, *, path: str = PATH, method: str = "POST", **headers: str
) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection(LOCAL, server.port, timeout=5)
    with contextlib.closing(connection):
        connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        response = connection.getresponse()
        return response.status, response.read(), {k.lower(): v for k, v in response.getheaders()}


@pytest.mark.parametrize(("kind", "body"), [(PROTOBUF, as_protobuf(span(VLLM))), (JSON, as_json(span(VLLM)))])
def test_an_export_arrives(kind: str, body: bytes) -> None:
    with taking() as (server, receiver):
        status, said, headers = post(server, gzip.compress(body), content_type=kind, content_encoding="gzip")
        assert (status, said, headers["content-type"]) == (200, b"" if kind == PROTOBUF else b"{}", kind)
        assert [s.engine for s in receiver.drain()] == ["vllm"]


def test_bodies_beyond_the_limit_are_refused_before_they_are_read_and_counted() -> None:
    health = Health()
    with taking(max_body=1000, health=health) as (server, receiver):
        with socket.create_connection((LOCAL, server.port), timeout=5) as client:
            client.sendall(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n".encode())
            assert b" 413 " in client.recv(1000)
        with socket.create_connection((LOCAL, server.port), timeout=5) as client:
            head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            client.sendall(head.encode() + b"7d0\r\n" + b"x" * 2000 + b"\r\n")
            assert b" 413 " in client.recv(1000)
        assert receiver.drain() == ()
    (part,) = health.states()
    assert part.errors_total == 2 and "otlp.max_body" in part.fix


def test_other_paths_and_methods_are_not_there() -> None:
    with taking() as (server, _):
        assert post(server, b"", path="/v1/metrics")[0] == 404
        assert post(server, b"", method="GET")[0] == 405


@pytest.mark.parametrize(("password", "told"), [("", 1), ("p", 0)])
def test_who_speaks_grpc_is_told_of_with_what_to_set(
    password: str, told: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Its first bytes as grpcio sends them. A stranger to a guarded server is heard as little as any other."""
    settings = replace(SETTINGS, basic_auth_user="u", basic_auth_password=Secret(password)) if password else SETTINGS
    health = Health()
    with taking(settings, health=health) as (server, _):
        with socket.create_connection((LOCAL, server.port), timeout=5) as client:
            client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
            assert b" 404 " in client.recv(1000)
        assert post(server, b"", path="/elsewhere")[0] == 404
    assert [s.errors_total for s in health.states()] == [1] * told
    assert ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf" in m for m in caplog.messages] == [True] * told


def test_a_password_is_asked_for_where_one_is_set() -> None:
    settings = replace(SETTINGS, basic_auth_user="u", basic_auth_password=Secret("p"))
    with taking(settings) as (server, receiver):
        body = as_json(span(VLLM))
        assert post(server, body, content_type=JSON)[0] == 401
        assert post(server, body, content_type=JSON, authorization="Basic dTpx")[0] == 401
        assert receiver.drain() == ()
        assert post(server, body, content_type=JSON, authorization="Basic dTpw")[0] == 200


def test_an_address_in_use_names_its_setting() -> None:
    with taking() as (server, _):
        second = IntakeServer(replace(SETTINGS, port=server.port), PATH, Receiver((), Health(), lambda: 1.0).receive,
                              max_body=1)  # fmt: skip
        with pytest.raises(OSError, match=r"set otlp\.listen"):
            second.start()
