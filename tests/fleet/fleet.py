"""Many agents, of a few kinds of machine, and one HTTP server for all their pages.

A kind's pages are made once: its agents differ in their GPUs' UUIDs, in cluster and instance. No storage can use that
two machines have like values: it packs each series by itself.
"""

from __future__ import annotations

import re
import sys
import threading
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from tests.fakes.pages import TEXT
from tests.fleet.machine import FULL, Machine, pages

ZONES = ("DE", "FR", "GB", "US-CA", "SE")
MODELS = tuple(
    f"{who}-{size}" for who in ("meta-llama/Llama-3.3", "Qwen/Qwen3", "mistralai/Devstral", "google/gemma-3")
    for size in ("8B", "14B", "32B", "70B")
)  # fmt: skip
CLUSTERS = 10
EVERY_S = 15.0
_UUID = "00000000"  # what stands in a kind's pages for the beginning of an agent's own UUIDs


@dataclass(frozen=True, slots=True)
class Agent:
    number: int
    cluster: str
    instance: str

    @property
    def uuid(self) -> str:
        return f"{self.number + 1:08x}"


def agents(count: int) -> tuple[Agent, ...]:
    """Spread evenly over the clusters."""
    return tuple(Agent(n, f"cluster-{n % CLUSTERS:02}", f"gpu-{n:05}:9420") for n in range(count))


def kinds(count: int, accounts: str = FULL) -> tuple[Machine, ...]:
    """Machines; a cluster lies in one zone, and each has models of its own at a load of its own."""
    return tuple(
        Machine(
            _UUID,
            ZONES[n % CLUSTERS % len(ZONES)],
            (MODELS[n % len(MODELS)], MODELS[(3 * n + 5) % len(MODELS)]),
            (0.2 + 0.6 * (n * 7 % 10) / 10, 0.1 + 0.5 * (n * 3 % 10) / 10),
            seed=n,
            accounts=accounts,
        )
        for n in range(count)
    )


class Tape:
    """The pages of one kind, made when first asked for and kept packed. stamped: each sample carries its time."""

    def __init__(self, machine: Machine, start_s: float, *, stamped: bool) -> None:
        self._pages = pages(machine, start_s, EVERY_S)
        self._start_s, self._stamped = start_s, stamped
        self._kept: list[bytes] = []
        self._lock = threading.Lock()

    def page(self, number: int) -> bytes:
        with self._lock:
            while len(self._kept) <= number:
                page = next(self._pages)
                if self._stamped:
                    page = stamped(page, self._start_s + EVERY_S * len(self._kept))
                self._kept.append(zlib.compress(page, 1))
            return zlib.decompress(self._kept[number])


def stamped(page: bytes, at_s: float) -> bytes:
    """The page with this time at every sample."""
    return re.sub(rb"^([^#\n].*)$", rb"\1 %d" % round(1000 * at_s), page, flags=re.MULTILINE)


class Fleet:
    """Serves /agent/N/metrics inside the `with` block: at each request the page EVERY_S after the one before.

    start_s: Unix time of the first pages. last: the number of the page that is served from then on; None: no end.
    """

    def __init__(
        self,
        of: tuple[Agent, ...],
        machines: tuple[Machine, ...],
        start_s: float,
        *,
        stamped: bool,
        last: int | None = None,
    ) -> None:
        self.agents = of
        self._tapes = [Tape(machine, start_s, stamped=stamped) for machine in machines]
        self._asked = [0] * len(of)
        self._last = last
        if last is not None:
            for tape in self._tapes:  # now: later it would hold up the scrapes
                tape.page(last)
        fleet = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = fleet.answer(int(self.path.split("/")[2]))
                self.send_response(200)
                self.send_header("Content-Type", TEXT)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 1024  # they all come at once

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Who asks may hang up: a scrape that took too long, the end. Anything else is a fault."""
                if not isinstance(sys.exception(), ConnectionError):
                    super().handle_error(request, client_address)

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Fleet:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, number: int) -> bytes:
        """The next page of an agent."""
        asked = self._asked[number]  # one scrape of an agent at a time: no lock
        self._asked[number] += 1
        shown = asked if self._last is None else min(asked, self._last)
        page = self._tapes[number % len(self._tapes)].page(shown)
        return page.replace(f'"GPU-{_UUID}'.encode(), f'"GPU-{self.agents[number].uuid}'.encode())

    @property
    def served(self) -> int:
        """How many pages every agent has served at least."""
        return min(self._asked)

    def targets(self) -> list[Mapping[str, Any]]:
        """static_configs of a Prometheus."""
        here = f"127.0.0.1:{self._server.server_address[1]}"
        return [
            {
                "targets": [here],
                "labels": {
                    "__metrics_path__": f"/agent/{a.number}/metrics", "cluster": a.cluster, "instance": a.instance
                },
            }
            for a in self.agents
        ]  # fmt: skip
