"""Scrape time and size at 1,000 series, against prometheus_client's own writer; memory that the server costs."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import subprocess
import sys
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from agent.model import DeviceKind, Ledger, Snapshot, TokenType, Use
from agent.settings import ServerSettings
from exporters.prometheus import Exposition, SnapshotCollector
from exporters.server import HttpServer
from tests.bench.harness import Row, median_s, print_table
from tests.fakes.snapshots import START, HeldSnapshot

write_openmetrics: Callable[[CollectorRegistry], bytes] = openmetrics.generate_latest
OPENMETRICS = "application/openmetrics-text; version=1.0.0"

_RESIDENT = """
import psutil
def resident(): return psutil.Process().memory_info().rss / 1e6
before = resident()
import exporters.prometheus
client = resident()
import exporters.serving, exporters.web
print(client - before, resident() - client)
"""


def thousand_series() -> Snapshot:
    """A node with 40 models: 25 series each, the mix of labels that a real page has."""
    energy_j, tokens, grams = {}, {}, {}
    for i in range(40):
        engine, model = f"vllm-{i % 4}", f"meta-llama/Llama-3.1-8B-Instruct-{i:02}"
        for use in (Use.PREFILL, Use.DECODE, Use.IDLE):
            grams[engine, model, use] = 0.125 * i
            for kind in DeviceKind:
                energy_j[engine, model, use, kind] = 12_345.678_9 * (i + 1)
        for token in TokenType:
            tokens[engine, model, token] = 98_765.0 * (i + 1)
    requests = {(e, m, str(n)): 7.0 for e, m, _ in tokens for n in range(9)}
    return Snapshot(START, ledger=Ledger(energy_j=energy_j, tokens=tokens, facility_gco2e=grams, requests=requests))


def run() -> None:
    source = HeldSnapshot(thousand_series())
    exposition = Exposition(source)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SnapshotCollector(source))
    page = exposition.render()[0]
    series = sum(not line.startswith(b"#") for line in page.splitlines())
    note = f"{series} series, {len(page):,} bytes, {len(gzip.compress(page, 1)):,} packed"
    with _serving(source) as server:
        rows = [
            Row("prometheus_client text", 1e3 * median_s(lambda: generate_latest(registry)), "ms"),
            Row("prometheus_client OpenMetrics", 1e3 * median_s(lambda: write_openmetrics(registry)), "ms"),
            Row("text", 1e3 * median_s(exposition.render), "ms", note),
            Row("OpenMetrics", 1e3 * median_s(lambda: exposition.render(OPENMETRICS)), "ms"),
            Row("over HTTP, packed", 1e3 * median_s(lambda: _scrape(server.port)), "ms", "new connection each"),
        ]
    print_table(f"Scrape of {series} series (target: 10 ms)", rows, baseline="prometheus_client text")
    said = subprocess.run([sys.executable, "-c", _RESIDENT], capture_output=True, text=True, check=True)
    client, served = map(float, said.stdout.split())
    print_table(
        "Resident memory of the exporters",
        [Row("prometheus_client and the table", client, "MB"), Row("uvicorn and starlette on top", served, "MB")],
    )


@contextlib.contextmanager
def _serving(source: HeldSnapshot) -> Iterator[HttpServer]:
    server = HttpServer(ServerSettings(port=0), source, lambda: None, lambda: None)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _scrape(port: int) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics", headers={"Accept": OPENMETRICS, "Accept-Encoding": "gzip"})
        return connection.getresponse().read()
