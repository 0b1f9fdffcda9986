"""Joulecar beside the engines, and what it says of requests and engines."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import httpx
import psutil

from agent.ports import Clock
from tests.fakes.daemon import Daemon, Scrape

POLL_S = 0.5
SPANS_ON = "request spans on http"
WORK = ("prefill", "decode")


@dataclass(frozen=True, slots=True)
class Told:
    """What Joulecar says of a request. low_j and high_j: its error band; None: it has none."""

    energy_j: float
    prefill_j: float
    low_j: float | None
    high_j: float | None


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU that the agent took over some seconds."""

    cpu_s: float
    seconds: float

    @property
    def percent(self) -> float:
        """Of one core."""
        return 100 * self.cpu_s / self.seconds

    def plus(self, other: Cpu) -> Cpu:
        return Cpu(self.cpu_s + other.cpu_s, self.seconds + other.seconds)


class Beside:
    """The agent inside the `with` block. Each look at its page fails if a joule is booked twice or not at all."""

    def __init__(self, folder: Path, config: str, clock: Clock, recording: Path | None = None) -> None:
        """recording: where to, if the run is to be recorded."""
        arguments = () if recording is None else ("--record", str(recording))
        self.daemon = Daemon(folder, config, env={"JOULECAR_METADATA": "off"}, arguments=arguments)
        self._clock = clock
        self._told: dict[str, Told] = {}
        self.spans_url = ""

    def __enter__(self) -> Beside:
        self.daemon.__enter__()
        try:
            self.daemon.wait_for(lambda _: bool(self.daemon.lines(SPANS_ON)), what="it receives spans")
            (line,) = self.daemon.lines(SPANS_ON)
            self.spans_url = re.findall(r"http://\S+", line)[0]
        except BaseException:
            self.daemon.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.daemon.stop()  # the recording is written to its end
        self.daemon.kill()

    def await_engines(self, names: Collection[str]) -> None:
        """Until each of them has been read."""
        self.daemon.wait_for(lambda s: all(s.get("joulecar_part_up", part="engine", name=name) == 1 for name in names))

    def settle(self, seconds: float) -> Scrape:
        """Rest for this long, and until every joule that was drawn before it is booked."""
        now = self._clock.now()
        name = "joulecar_part_last_success_timestamp_seconds"
        counted = self.daemon.wait_for(lambda s: s.total(name, part="source", name="nvml") >= now.wall_s)
        drawn_j = counted.total("joulecar_device_energy_joules_total", kind="gpu")
        self._clock.wait_until(now.mono_s + seconds)
        return self.daemon.wait_for(
            lambda s: s.total("joulecar_energy_joules_total", kind="gpu") >= (1 - 1e-9) * drawn_j, what="all is booked"
        )

    def begin(self) -> tuple[float, float]:
        return self._cpu_s(), self._clock.now().mono_s

    def cpu_since(self, begun: tuple[float, float]) -> Cpu:
        return Cpu(self._cpu_s() - begun[0], self._clock.now().mono_s - begun[1])

    def resident_mb(self) -> float:
        return float(psutil.Process(self.daemon.pid).memory_info().rss) / 1e6

    def requests(self) -> Mapping[str, Told]:
        """By trace id: those told until now, as far as this was asked before each thousand of them."""
        answer = httpx.get(self.daemon.url.removesuffix("/metrics") + "/requests.json", trust_env=False)
        for r in answer.json()["requests"]:
            self._told[r["trace_id"]] = Told(r["energy_j"], r["prefill_j"], r["low_j"], r["high_j"])
        return self._told

    def await_requests(self, trace_ids: Collection[str], seconds: float) -> Mapping[str, Told]:
        """Until each of them is told, or the time is over."""
        until_s = self._clock.now().mono_s + seconds
        while not self.requests().keys() >= set(trace_ids) and self._clock.now().mono_s < until_s:
            self._clock.wait_until(self._clock.now().mono_s + POLL_S)
        return self._told

    def _cpu_s(self) -> float:
        times = psutil.Process(self.daemon.pid).cpu_times()
        return float(times.user + times.system)


def work_j(page: Scrape) -> dict[str, float]:
    """GPU joules by engine that prompts and answers took; those of nobody that it knows are of "foreign"."""
    out: dict[str, float] = {}
    for (_, pairs), joules in page.all("joulecar_energy_joules_total", kind="gpu").items():
        labels = dict(pairs)
        owner = labels["engine"] if labels["use"] in WORK else labels["use"]
        if owner not in ("idle",):
            out[owner] = out.get(owner, 0.0) + joules
    return out
