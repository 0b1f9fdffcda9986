"""Debian's victoria-metrics, run for real."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

import httpx

from tests.fakes.prometheus import READY_S, Matrix, Vector, matrix, program, vector


class VictoriaMetrics:
    """Takes what is written to it and answers Prometheus's queries, inside the `with` block. Files go to folder."""

    def __init__(self, folder: Path, *, timeout_s: float = 10.0) -> None:
        folder.mkdir(parents=True)
        self._log = folder / "victoria-metrics.log"
        self.data = folder / "data"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        self._argv = [
            program("victoria-metrics"),
            f"-storageDataPath={self.data}",
            "-retentionPeriod=10y",
            f"-httpListenAddr={self.url.removeprefix('http://')}",
            "-search.latencyOffset=1s",  # else it holds the last 30 s back
            "-memory.allowedPercent=20",
        ]
        self._client = httpx.Client(base_url=self.url, trust_env=False, timeout=timeout_s)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def write_url(self) -> str:
        """Where a Prometheus writes to."""
        return f"{self.url}/api/v1/write"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> VictoriaMetrics:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until_s = time.monotonic() + READY_S
        try:
            while not self._is_ready():
                if self._process.poll() is not None or time.monotonic() > until_s:
                    raise RuntimeError(f"victoria-metrics does not start:\n{self._log.read_text()[-2000:]}")
                time.sleep(0.1)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self._end()

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

    def _is_ready(self) -> bool:
        try:
            return self._client.get("/health").status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False  # not listening yet

    def _end(self) -> None:
        self._client.close()
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(20.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
