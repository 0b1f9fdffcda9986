"""Records a real vLLM under a load: its pages, its spans as it sent them, and what the client was told.

    python -m tests.fakes.vllm_record /path/to/bin/vllm tests/data/vllm_cpu

Writes pages (before, during, idle), spans_NN.pb and told.json; every time is in Unix seconds.
"""

from __future__ import annotations

import gzip
import json
import sys
import tempfile
import threading
import time
from dataclasses import asdict
from pathlib import Path

from tests.fakes.collector import FakeCollector
from tests.fakes.vllm import VllmServer
from tests.fakes.vllm_load import Running, mixed, send

EVERY_S = 2.0
SPANS_S = 8.0  # vLLM sends its spans every 5 s
AT_ONCE = 5
REQUESTS = 80
SEED = 3


class Busy(Running):
    """Notes from when to when anything was under way."""

    def __init__(self) -> None:
        super().__init__()
        self.edges: list[tuple[float, bool]] = []

    def changed(self, *, busy: bool) -> None:
        self.edges.append((time.time(), busy))


class Pages:
    """The engine's page every two seconds inside the `with` block, in a thread."""

    def __init__(self, server: VllmServer) -> None:
        self._server = server
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.taken: list[tuple[float, str]] = []

    def take(self) -> None:
        asked_s = time.time()
        page = self._server.page()
        # As the agent stamps it: between the question and the answer.
        self.taken.append(((asked_s + time.time()) / 2, page))

    def __enter__(self) -> Pages:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            self.take()
            self._stop.wait(EVERY_S)


def record(vllm: Path, out: Path) -> None:
    busy = Busy()
    with tempfile.TemporaryDirectory() as folder, FakeCollector() as collector:
        spans_to = f"{collector.url}/v1/traces"
        with VllmServer(vllm, Path(folder), spans_to=spans_to, service="chat") as server:
            version = server.version()
            command = server.command.replace(spans_to, "http://127.0.0.1:4318/v1/traces")
            with Pages(server) as pages:
                time.sleep(SPANS_S)
                answers = send(server.url, mixed(SEED, REQUESTS), at_once=AT_ONCE, running=busy)
                time.sleep(SPANS_S)
    out.mkdir(parents=True, exist_ok=True)
    for old in (*out.glob("page_*"), *out.glob("spans_*")):
        old.unlink()
    for n, (_, page) in enumerate(pages.taken):
        (out / f"page_{n:02d}.prom.gz").write_bytes(gzip.compress(page.encode(), mtime=0))
    for n, (_, _, _, body) in enumerate(collector.taken):
        (out / f"spans_{n:02d}.pb").write_bytes(body)
    told = {
        "version": version,
        "command": command,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "pages_at_s": [at_s for at_s, _ in pages.taken],
        "spans_at_s": collector.taken_at_s,
        "busy": busy.edges,
        "answers": [asdict(a) for a in answers],
    }
    (out / "told.json").write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    record(Path(sys.argv[1]), Path(sys.argv[2]))
