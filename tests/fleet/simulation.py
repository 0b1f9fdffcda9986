"""What many agents cost a Prometheus and a VictoriaMetrics: series, bytes, memory, and the time of the fleet's queries.

The agents' pages carry their times, so that an hour of scrapes passes as fast as Prometheus takes them in. It is
stopped, and what the recording rules would have written is added to its blocks. Each query of the fleet
dashboard is then asked twice: as it stands, and with the recorded series replaced by what they are reckoned from.
"""

from __future__ import annotations

import json
import os
import pty
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.fakes.program import program
from tests.fakes.prometheus import Matrix, Prometheus
from tests.fakes.victoria import VictoriaMetrics
from tests.fleet.asking import Asked, asked, recorded, unrecorded
from tests.fleet.fleet import EVERY_S, Fleet, agents, kinds

# One block holds all that is fed: a head of two hours would refuse what is older than one.
# Samples that carry their time are never marked stale: looking back less than EVERY_S finds those of one page alone.
_HEAD = (
    "--query.lookback-delta=10s",
    "--storage.tsdb.min-block-duration=12h",
    "--storage.tsdb.max-block-duration=12h",
    "--web.enable-admin-api",
)
_PATIENT = ("--query.timeout=10m",)
_STEP_S = 60.0
_UNIT = "joulecar_.+|process_.+"

Point = tuple[str, float, float]  # series, Unix time, value
Ask = Callable[[Asked, str], Matrix]


@dataclass(frozen=True)
class Timed:
    """Seconds that each query of the dashboard took, by panel, and in all."""

    by_panel: Mapping[str, float]

    @property
    def all_s(self) -> float:
        return sum(self.by_panel.values())

    @property
    def worst(self) -> tuple[str, float]:
        return max(self.by_panel.items(), key=lambda item: item[1])


@dataclass
class Figures:
    """What a run saw. bytes are of disk; series_per_agent is what a page has, without Prometheus's own five."""

    agents: int
    rounds: int
    start_s: float  # Unix time of the agents' first pages
    series_per_agent: float = 0.0
    series: float = 0.0
    recorded_series: int = 0
    fed_s: float = 0.0
    samples: int = 0
    index_bytes: int = 0
    chunk_bytes: int = 0
    resident_bytes: int = 0
    victoria_samples: float = 0.0
    victoria_bytes: int = 0
    victoria_resident_bytes: int = 0
    before: Timed = field(default_factory=lambda: Timed({}))
    after: Timed = field(default_factory=lambda: Timed({}))
    victoria_before: Timed = field(default_factory=lambda: Timed({}))
    victoria_after: Timed = field(default_factory=lambda: Timed({}))
    furthest: float = 0.0  # the largest relative difference between a recorded answer and its raw one

    @property
    def chunk_bytes_per_sample(self) -> float:
        return self.chunk_bytes / self.samples

    @property
    def index_bytes_per_series(self) -> float:
        return self.index_bytes / self.series

    @property
    def victoria_bytes_per_sample(self) -> float:
        return self.victoria_bytes / self.victoria_samples


def simulate(folder: Path, count: int, rounds: int, *, of_kinds: int, every: str, shown_s: float) -> Figures:
    """count agents, each scraped `rounds` times, EVERY_S of their time apart. every: pause between scrapes in earnest,
    at least as long as one of all agents takes. shown_s: the time that the dashboard shows, at the end."""
    end_s = time.time() // _STEP_S * _STEP_S
    start_s = end_s - EVERY_S * (rounds - 1)
    figures = Figures(count, rounds, start_s)
    with ExitStack() as stack:
        victoria = stack.enter_context(VictoriaMetrics(folder / "victoria", timeout_s=600.0))
        tsdb = _feed(folder, figures, of_kinds, every)
        _carry_over(tsdb, victoria)
        figures.victoria_samples = victoria.samples()
        figures.victoria_resident_bytes = psutil.Process(victoria.pid).memory_info().rss
        points = _record(tsdb, folder, end_s - shown_s, end_s)
        figures.recorded_series = len({series for series, _, _ in points})
        victoria.take("\n".join(f"{series} {value!r} {1000 * at_s:.0f}" for series, at_s, value in points))
        prometheus = stack.enter_context(
            Prometheus(folder / "asked", tsdb=tsdb, every="1h", flags=_PATIENT, timeout_s=600.0)
        )
        # The one that answers must not be busy with what was written a moment ago.
        _settle(victoria)
        figures.victoria_bytes = _size(victoria.data)
        span = asked(span=f"{shown_s:.0f}s")

        def by(db: Prometheus | VictoriaMetrics) -> Ask:
            return lambda one, expr: _ask(db, one, expr, end_s, shown_s)

        figures.after, recorded_answers = _time(span, by(prometheus), lambda expr: expr)
        figures.before, raw_answers = _time(span, by(prometheus), unrecorded)
        figures.furthest = max(_apart(recorded_answers[n], raw_answers[n]) for n in range(len(span)))
        figures.victoria_after, _ = _time(span, by(victoria), lambda expr: expr)
        figures.victoria_before, _ = _time(span, by(victoria), unrecorded)
    return figures


def _feed(folder: Path, figures: Figures, of_kinds: int, every: str) -> Path:
    """All scrapes through a Prometheus. Its blocks."""
    began_s = time.monotonic()
    with (
        Fleet(agents(figures.agents), kinds(of_kinds), figures.start_s, stamped=True, last=figures.rounds - 1) as fleet,
        Prometheus(
            folder / "fed",
            static=fleet.targets(),
            every=every,
            flags=_HEAD,
            timeout_s=600.0,
        ) as prometheus,
    ):
        at_s = figures.start_s + EVERY_S * (figures.rounds - 1)
        while sum(prometheus.query("count(joulecar_build_info)", at_s).values()) < figures.agents:
            time.sleep(0.2)  # until the last page of each has been taken in; it is served again and again
        figures.fed_s = time.monotonic() - began_s
        figures.resident_bytes = psutil.Process(prometheus.pid).memory_info().rss
        figures.series = prometheus.number(f'count({{__name__=~"{_UNIT}"}})', at_s)
        figures.series_per_agent = figures.series / figures.agents
        tsdb = folder / "fed" / "tsdb" / "snapshots" / prometheus.snapshot()
    stats = [json.loads(meta.read_text())["stats"] for meta in tsdb.glob("*/meta.json")]
    figures.samples = sum(s["numSamples"] for s in stats)
    figures.series = sum(s["numSeries"] for s in stats)
    figures.chunk_bytes = sum(_size(path) for path in tsdb.glob("*/chunks"))
    figures.index_bytes = sum(path.stat().st_size for path in tsdb.glob("*/index"))
    return tsdb


def _carry_over(tsdb: Path, victoria: VictoriaMetrics) -> None:
    """All blocks to the other one. Remote write would not do: it sends no sample older than its own start."""
    argv = [program("vmctl"), "prometheus", "-s", "--vm-disable-progress-bar", f"--prom-snapshot={tsdb}"]
    terminal, end = pty.openpty()  # it wants one even without its bars
    try:
        done = subprocess.run(
            [*argv, f"--vm-addr={victoria.url}"],
            stdin=end,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
    finally:
        os.close(terminal)
        os.close(end)
    if done.returncode:
        raise RuntimeError(f"vmctl: {done.stdout[-2000:].decode(errors='replace')}")
    victoria.flush()


def _record(tsdb: Path, folder: Path, start_s: float, end_s: float) -> list[Point]:
    """What the recording rules of the dashboard would have written, added to the blocks. promtool's own backfilling
    would do it at times of its choice, where nothing could be compared."""
    used = {name for one in asked() for name in recorded() if name in one.expr}
    points: list[Point] = []
    with Prometheus(folder / "recording", tsdb=tsdb, every="1h", flags=_PATIENT, timeout_s=600.0) as prometheus:
        for name in sorted(used):
            found = prometheus.query_range(unrecorded(name), start_s, end_s, _STEP_S)
            for labels, values in found.items():
                text = ",".join(f"{key}={json.dumps(value)}" for key, value in labels)
                points += [(f"{name}{{{text}}}", at_s, value) for at_s, value in values]
    page = folder / "recorded.om"
    lines = [f"{series} {value!r} {at_s:.3f}\n" for series, at_s, value in points]
    page.write_text("".join(lines) + "# EOF\n", encoding="utf-8")
    argv = [program("promtool"), "tsdb", "create-blocks-from", "openmetrics", "--quiet", str(page), str(tsdb)]
    subprocess.run(argv, check=True, capture_output=True)
    return points


def _settle(victoria: VictoriaMetrics) -> None:
    victoria.flush()
    victoria.merge()
    size, now, until_s = -1, _size(victoria.data), time.monotonic() + 60.0
    while size != now and time.monotonic() < until_s:
        time.sleep(2.0)
        size, now = now, _size(victoria.data)


def _ask(db: Prometheus | VictoriaMetrics, one: Asked, expr: str, end_s: float, shown_s: float) -> Matrix:
    if one.instant:
        return {labels: [(end_s, value)] for labels, value in db.query(expr, end_s).items()}
    return db.query_range(expr, end_s - shown_s, end_s, _STEP_S)


def _time(span: Iterable[Asked], ask: Ask, made: Callable[[str], str]) -> tuple[Timed, list[Matrix]]:
    """Each query once, as when a dashboard is opened."""
    seconds: dict[str, float] = {}
    answers = []
    for one in span:
        expr = made(one.expr)
        began_s = time.perf_counter()
        answers.append(ask(one, expr))
        seconds[one.title] = seconds.get(one.title, 0.0) + time.perf_counter() - began_s
    return Timed(seconds), answers


def _apart(a: Matrix, b: Matrix) -> float:
    """The largest relative difference of two answers; infinite where one has what the other has not."""
    if a.keys() != b.keys():
        return float("inf")
    worst = 0.0
    for labels, points in a.items():
        others = dict(b[labels])
        if {at_s for at_s, _ in points} != others.keys():
            return float("inf")
        for at_s, value in points:
            other = others[at_s]
            worst = max(worst, abs(value - other) / max(abs(value), abs(other), 1e-9))
    return worst


def _size(folder: Path) -> int:
    """Bytes of the files in it. A file that is merged away meanwhile is none."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total
