"""Debian's alertmanager, run for real, and a webhook that hears what it says."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.fakes.program import ServerProcess, free_address, program


@dataclass(frozen=True, slots=True)
class Told:
    """One alert of one notification, and when it arrived (CLOCK_MONOTONIC)."""

    at_s: float
    status: str  # firing | resolved
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


class Webhook:
    """Keeps every alert that it is told, inside the `with` block."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        told = self.told

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                at_s = time.monotonic()
                message: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                told.extend(Told(at_s, a["status"], a["labels"], a["annotations"]) for a in message["alerts"])
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"

    def __enter__(self) -> Webhook:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def of(self, alert: str, status: str) -> list[Told]:
        """What was said of an alert, in the order of arrival."""
        return [told for told in self.told if told.labels["alertname"] == alert and told.status == status]

    def wait_for(self, alert: str, status: str, timeout_s: float) -> Told:
        """The first such notification; fails after timeout_s."""
        until_s = time.monotonic() + timeout_s
        while not (found := self.of(alert, status)):
            assert time.monotonic() < until_s, f"{alert} is not {status} in {timeout_s:g} s; told: {self.told}"
            time.sleep(0.02)
        return found[0]


class Alertmanager:
    """Tells one webhook of everything at once, inside the `with` block."""

    def __init__(self, folder: Path, webhook: str) -> None:
        """webhook: its URL. Files go to folder."""
        folder.mkdir(parents=True)
        config = folder / "alertmanager.yml"
        config.write_text(
            "route: {receiver: test, group_by: [alertname, budget], group_wait: 0s, group_interval: 1s, "
            "repeat_interval: 1h}\n"
            f"receivers: [{{name: test, webhook_configs: [{{url: '{webhook}', send_resolved: true}}]}}]\n"
        )
        self.target = free_address()
        argv = [
            program("prometheus-alertmanager"),
            f"--config.file={config}",
            f"--storage.path={folder / 'data'}",
            f"--web.listen-address={self.target}",
            "--cluster.listen-address=",  # it is alone
        ]
        self._server = ServerProcess(argv, folder / "alertmanager.log", f"http://{self.target}/-/ready")

    def __enter__(self) -> Alertmanager:
        self._server.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self._server.end()
