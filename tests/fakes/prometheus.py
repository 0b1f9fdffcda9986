"""Debian's prometheus and promtool, run for real."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

READY_S = 30.0


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
    """Scrapes its targets once a second, and evaluates its rules as often, inside the `with` block."""

    def __init__(
        self,
        folder: Path,
        *targets: str,
        rules: Sequence[Path] = (),
        tsdb: Path | None = None,
        alertmanagers: Sequence[str] = (),
    ) -> None:
        """targets: host:port of pages at /metrics. tsdb: blocks that are there already. alertmanagers: host:port of
        who hears of alerts. Files go to folder."""
        folder.mkdir(parents=True)
        self._log = folder / "prometheus.log"
        config = folder / "prometheus.yml"
        # JSON is YAML, too.
        config.write_text(
            json.dumps(
                {
                    "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
                    "rule_files": [str(path) for path in rules],
                    "alerting": {"alertmanagers": [{"static_configs": [{"targets": list(alertmanagers)}]}]},
                    "scrape_configs": [{"job_name": "joulecar", "static_configs": [{"targets": list(targets)}]}],
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
        ]
        self._client = httpx.Client(base_url=self.url, trust_env=False, timeout=10.0)
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

    def query(self, promql: str, at_s: float | None = None) -> dict[tuple[tuple[str, str], ...], float]:
        """An instant query's vector, by labels. at_s: Unix time; None: now."""
        parameters = {"query": promql} | ({"time": f"{at_s:.3f}"} if at_s is not None else {})
        answer: dict[str, Any] = self._client.get("/api/v1/query", params=parameters).raise_for_status().json()
        assert answer["data"]["resultType"] == "vector", answer
        return {tuple(sorted(r["metric"].items())): float(r["value"][1]) for r in answer["data"]["result"]}

    def query_range(
        self, promql: str, start_s: float, end_s: float, step_s: float
    ) -> dict[tuple[tuple[str, str], ...], list[tuple[float, float]]]:
        """A range query's matrix: (Unix time, value) by labels."""
        parameters = {"query": promql, "start": f"{start_s:.3f}", "end": f"{end_s:.3f}", "step": f"{step_s:g}"}
        answer: dict[str, Any] = self._client.post("/api/v1/query_range", data=parameters).raise_for_status().json()
        return {
            tuple(sorted(r["metric"].items())): [(float(at), float(value)) for at, value in r["values"]]
            for r in answer["data"]["result"]
        }

    def number(self, promql: str, at_s: float | None = None) -> float:
        """The value of an expression that gives exactly one."""
        found = self.query(promql, at_s)
        assert len(found) == 1, f"{promql}: {found}"
        return next(iter(found.values()))

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
