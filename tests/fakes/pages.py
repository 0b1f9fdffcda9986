"""Metrics pages on loopback that a function writes: agents that are made up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

TEXT = "text/plain; version=0.0.4; charset=utf-8"


class Pages:
    """Serves what `page` returns at every path, inside the `with` block. page is told how often it was asked before."""

    def __init__(self, page: Callable[[int], bytes]) -> None:
        lock, asked = threading.Lock(), 0

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                nonlocal asked
                with lock:
                    body = page(asked)
                    asked += 1
                self.send_response(200)
                self.send_header("Content-Type", TEXT)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Pages:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def target(self) -> str:
        """host:port, as Prometheus wants it."""
        return f"127.0.0.1:{self._server.server_address[1]}"
