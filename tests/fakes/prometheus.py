"""Debian's prometheus and promtool, run for real."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

READY_S = 30.0

Labels = tuple[tuple[str, str], ...]
Vector = dict[Labels, float]
Matrix = dict[Labels, list[tuple[float, float]]]


def vector(client: httpx.Client, promql: str, at_s: float | None = None) -> Vector:
    """An instant query's answer by any server of Prometheus's interface."""
    parameters = {"query": promql} | ({"time": f"{at_s:.3f}"} if at_s is not None else {})
    answer: dict[str, Any] = client.post("/api/v1/query", data=parameters).raise_for_status().json()
    assert answer["data"]["resultType"] == "vector", answer
    return {tuple(sorted(r["metric"].items())): float(r["value"][1]) for r in answer["data"]["result"]}


def matrix(client: httpx.Client, promql: str, start_s: float, end_s: float, step_s: float) -> Matrix:
    """A range query's answer, likewise."""
    parameters = {"query": promql, "start": f"{start_s:.3f}", "end": f"{end_s:.3f}", "step": f"{step_s:g}"}
    answer: dict[str, Any] = client.post("/api/v1/query_range", data=parameters).raise_for_status().json()
    return {
        tuple(sorted(r["metric"].items())): [(float(at), float(value)) for at, value in r["values"]]
        for r in answer["data"]["result"]
    }


def program(name: str) -> str:
    """Where a program is. Missing is a failure: what it would show has not been shown."""
    path = shutil.which(name)
    if path is None:
        raise RuntimeError(f"{name} is missing: sh tests/system-packages.sh")
    return path


def check_metrics(page: str) -> str:
    """What promtool has to say of a page; nothing, if all is well."""
    done = subprocess.run(
        [program("promtool"), "check", "metrics"], input=page, capture_output=True, text=True, check=False, timeout=60
    )
    return done.stdout + done.stderr + (f"exit {done.returncode}" if done.returncode else "")


class Prometheus:
    """Scrapes its targets, once a second as a rule, and evaluates its rules as often, inside the `with` block."""

    def __init__(
        self,
        folder: Path,
        *targets: str,
        rules: Sequence[Path] = (),
        tsdb: Path | None = None,
        alertmanagers: Sequence[str] = (),
        static: Sequence[Mapping[str, Any]] = (),
        remote_write: Sequence[Mapping[str, Any]] = (),
        flags: Sequence[str] = (),
        every: str = "1s",
        timeout_s: float = 10.0,
    ) -> None:
        """targets: host:port of pages at /metrics. tsdb: blocks that are there already. alertmanagers: host:port of
        who hears of alerts. static, remote_write: as in its configuration. flags: of its command line, beside the
        usual ones. every: between scrapes and evaluations. timeout_s: of one query. Files go to folder."""
        folder.mkdir(parents=True)
        self._log = folder / "prometheus.log"
        config = folder / "prometheus.yml"
        # JSON is YAML, too.
        config.write_text(
            json.dumps(
                {
                    "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
                    "rule_files": [str(path) for path in rules],
                    "alerting": {"alertmanagers": [{"static_configs": [{"targets": list(alertmanagers)}]}]},
                    "scrape_configs": [
                        {"job_name": "joulecar", "static_configs": [{"targets": list(targets)}, *static]}
                    ],
                    "remote_write": list(remote_write),
                }
            )
        )
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        self._argv = [
            program("prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={tsdb or folder / 'tsdb'}",
            "--storage.tsdb.retention.time=10y",
            f"--web.listen-address={self.url.removeprefix('http://')}",
            *flags,
        ]
        self._client = httpx.Client(base_url=self.url, trust_env=False, timeout=timeout_s)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Prometheus:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self._await_ready()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self._end()

    def query(self, promql: str, at_s: float | None = None) -> Vector:
        """An instant query's vector, by labels. at_s: Unix time; None: now."""
        return vector(self._client, promql, at_s)

    def query_range(self, promql: str, start_s: float, end_s: float, step_s: float) -> Matrix:
        """A range query's matrix: (Unix time, value) by labels."""
        return matrix(self._client, promql, start_s, end_s, step_s)

    def number(self, promql: str, at_s: float | None = None) -> float:
        """The value of an expression that gives exactly one."""
        found = self.query(promql, at_s)
        assert len(found) == 1, f"{promql}: {found}"
        return next(iter(found.values()))

    @property
    def pid(self) -> int:
        """Of the process, for who asks what it takes."""
        assert self._process is not None
        return self._process.pid

    def snapshot(self) -> str:
        """Everything so far as blocks: the folder's name under snapshots/. Needs --web.enable-admin-api."""
        answer = self._client.post("/api/v1/admin/tsdb/snapshot").raise_for_status().json()
        return str(answer["data"]["name"])

    def scrapes(self) -> float:
        """How many good scrapes there are."""
        return sum(self.query("sum_over_time(up[10m])").values())

    def _await_ready(self) -> None:
        until_s = time.monotonic() + READY_S
        while True:
            try:
                if self._client.get("/-/ready").status_code == httpx.codes.OK:
                    return
            except httpx.HTTPError:
                pass  # not listening yet
            assert self._process is not None
            if self._process.poll() is not None or time.monotonic() > until_s:
                raise RuntimeError(f"prometheus does not start:\n{self._log.read_text()[-2000:]}")
            time.sleep(0.1)

    def _end(self) -> None:
        self._client.close()
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
