"""Debian's prometheus and promtool, run for real."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from tests.fakes.program import ServerProcess, free_address, program

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
        timeout_s: float = 30.0,
    ) -> None:
        """targets: host:port of pages at /metrics. tsdb: blocks that are there already. alertmanagers: host:port of
        who hears of alerts. static, remote_write: as in its configuration. flags: of its command line, beside the
        usual ones. every: between scrapes and evaluations. timeout_s: of one query. Files go to folder."""
        folder.mkdir(parents=True)
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
        address = free_address()
        self.url = f"http://{address}"
        argv = [
            program("prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={tsdb or folder / 'tsdb'}",
            "--storage.tsdb.retention.time=10y",
            f"--web.listen-address={address}",
            *flags,
        ]
        self._client = httpx.Client(base_url=self.url, trust_env=False, timeout=timeout_s)
        self._server = ServerProcess(argv, folder / "prometheus.log", f"{self.url}/-/ready")

    def __enter__(self) -> Prometheus:
        self._server.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self._client.close()
        self._server.end()

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
        return self._server.pid

    def snapshot(self) -> str:
        """Everything so far as blocks: the folder's name under snapshots/. Needs --web.enable-admin-api."""
        answer = self._client.post("/api/v1/admin/tsdb/snapshot").raise_for_status().json()
        return str(answer["data"]["name"])

    def scrapes(self) -> float:
        """How many good scrapes there are."""
        return sum(self.query("sum_over_time(up[10m])").values())

    def wait_for_scrapes(self, more: int, timeout_s: float = 60.0) -> None:
        """Until there are so many more; each is evaluated before the one after the next."""
        wanted, until_s = self.scrapes() + more, time.monotonic() + timeout_s
        while self.scrapes() < wanted:
            assert time.monotonic() < until_s, f"not {more} scrapes in {timeout_s:g} s"
            time.sleep(0.1)
