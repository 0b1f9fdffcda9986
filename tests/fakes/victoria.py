"""Debian's victoria-metrics, run for real."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import httpx

from tests.fakes.program import ServerProcess, free_address, program
from tests.fakes.prometheus import Matrix, Vector, matrix, vector


class VictoriaMetrics:
    """Takes what is written to it and answers Prometheus's queries, inside the `with` block. Files go to folder."""

    def __init__(self, folder: Path, *, timeout_s: float = 10.0) -> None:
        folder.mkdir(parents=True)
        self.data = folder / "data"
        address = free_address()
        self.url = f"http://{address}"
        argv = [
            program("victoria-metrics"),
            f"-storageDataPath={self.data}",
            "-retentionPeriod=10y",
            f"-httpListenAddr={address}",
            "-search.latencyOffset=1s",  # else it holds the last 30 s back
            "-memory.allowedPercent=20",
        ]
        self._client = httpx.Client(base_url=self.url, trust_env=False, timeout=timeout_s)
        self._server = ServerProcess(argv, folder / "victoria-metrics.log", f"{self.url}/health")

    @property
    def write_url(self) -> str:
        """Where a Prometheus writes to."""
        return f"{self.url}/api/v1/write"

    @property
    def pid(self) -> int:
        return self._server.pid

    def __enter__(self) -> VictoriaMetrics:
        self._server.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self._client.close()
        self._server.end()

    def query(self, promql: str, at_s: float | None = None) -> Vector:
        """An instant query's vector, by labels."""
        return vector(self._client, promql, at_s)

    def query_range(self, promql: str, start_s: float, end_s: float, step_s: float) -> Matrix:
        """A range query's matrix, by labels."""
        return matrix(self._client, promql, start_s, end_s, step_s)

    def flush(self) -> None:
        """What was written is found from now on."""
        self._client.get("/internal/force_flush").raise_for_status()

    def take(self, page: str) -> None:
        """Samples in Prometheus's text format, each with its time in milliseconds."""
        self._client.post("/api/v1/import/prometheus", content=page.encode()).raise_for_status()

    def merge(self) -> None:
        """Begin to pack what is on disk as tightly as it will be in the end."""
        self._client.get("/internal/force_merge").raise_for_status()

    def samples(self) -> float:
        """How many samples are on disk or on the way there."""
        page = self._client.get("/metrics").raise_for_status().text
        rows = (line for line in page.splitlines() if line.startswith('vm_rows{type="storage/'))
        return sum(float(line.split()[-1]) for line in rows)
