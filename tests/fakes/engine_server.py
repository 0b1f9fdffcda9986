"""A real HTTP server on the loopback that answers as a test says, badly if need be."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

Answer = Callable[[BaseHTTPRequestHandler], None]


def answer(status: int = 200, body: bytes = b"", **headers: str) -> Answer:
    """An ordinary answer. A header's name is written with underscores."""

    def send(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.send_header("content-length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return send


def raw(*pieces: bytes) -> Answer:
    """These bytes, whatever they are, and then the connection is closed."""

    def send(request: BaseHTTPRequestHandler) -> None:
        for piece in pieces:
            request.wfile.write(piece)

    return send


class _QuietServer(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up, or that refuses a certificate, is no news."""


class EngineServer:
    """Serves the given paths, with their query or whatever the query; every other one is a 404. Remembers what it
    was asked."""

    def __init__(self, answers: Mapping[str, Answer], tls: ssl.SSLContext | None = None) -> None:
        self.answers = dict(answers)
        self.asked: list[tuple[str, Mapping[str, str]]] = []
        self.stopped = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
                self.close_connection = True
                bare = self.path.partition("?")[0]
                found = outer.answers.get(self.path) or outer.answers.get(bare) or answer(404, b"not here")
                with contextlib.suppress(OSError):  # the client has gone, which is what some tests want
                    found(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = _QuietServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def hang(self, request: BaseHTTPRequestHandler) -> None:
        """Take the request and say nothing until the test is over."""
        self.stopped.wait(30)

    def drip(self, head: bytes, byte: bytes) -> Answer:
        """One byte every 20 ms, so that no single read ever takes long."""

        def send(request: BaseHTTPRequestHandler) -> None:
            request.wfile.write(head)
            while not self.stopped.wait(0.02):
                request.wfile.write(byte)

        return send

    def __enter__(self) -> EngineServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopped.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
