"""The metadata service of a cloud, on loopback, with the manners that its documentation asks for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "AQAEAFake-token=="


@dataclass
class MetadataService:
    """answers: by method and path, the status, the headers and the text. What is not there is a 404."""

    answers: dict[tuple[str, str], tuple[int, dict[str, str], str]] = field(default_factory=dict)
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)  # method, path, headers in lower case
    held: tuple[str, str] | None = None  # not answered before the end
    url: str = ""


def aws(region: str) -> MetadataService:
    """IMDSv2: a token first, then what it opens."""
    return MetadataService(
        {
            ("PUT", "/latest/api/token"): (200, {}, TOKEN),
            ("GET", "/latest/meta-data/placement/region"): (200, {}, region),
        }
    )


def gcp(zone: str, flavor: str = "Google") -> MetadataService:
    path = "/computeMetadata/v1/instance/zone"
    return MetadataService({("GET", path): (200, {"Metadata-Flavor": flavor}, zone)})


def azure(location: str) -> MetadataService:
    path = "/metadata/instance/compute/location?api-version=2021-02-01&format=text"
    return MetadataService({("GET", path): (200, {}, location)})


@contextmanager
def serving(service: MetadataService) -> Iterator[MetadataService]:
    """The service on a free port, at service.url."""
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            if (self.command, self.path) == service.held:
                over.wait()
            service.asked.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
            status, headers, text = service.answers.get((self.command, self.path), (404, {}, "not found"))
            # What each cloud refuses, by its documentation.
            sent = service.asked[-1][2]
            if self.path.startswith("/latest/meta-data") and sent.get("x-aws-ec2-metadata-token") != TOKEN:
                status, text = 401, "token"
            if self.path.startswith("/computeMetadata") and sent.get("metadata-flavor") != "Google":
                status, text = 403, "flavor"
            if self.path.startswith("/metadata/") and sent.get("metadata") != "true":
                status, text = 400, "metadata"
            body = text.encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self._answer()

        def do_PUT(self) -> None:
            self._answer()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        thread.join()
