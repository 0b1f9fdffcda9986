"""The real `joulecar run` in a process of its own, as a test sees it: its page, its log, its exit."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import httpx
from prometheus_client.parser import text_string_to_metric_families

COMMAND = (sys.executable, "-m", "agent.cli")
# Deadlines are for a slow machine that others keep busy, and cost nothing elsewhere: who waits goes on at once.
START_S = 60.0  # a second on an idle machine
STATE_S = 60.0
POLL_S = 0.1

T = TypeVar("T")
Series = tuple[str, frozenset[tuple[str, str]]]


@dataclass(frozen=True, slots=True)
class Scrape:
    """One page. A series that is absent is None or left out of a sum, never 0."""

    values: Mapping[Series, float]
    text: str

    def get(self, name: str, /, **labels: str) -> float | None:
        """The one series with these labels, among others it may have. None: there is none."""
        found = self.all(name, **labels)
        assert len(found) <= 1, f"{name} {labels}: {len(found)} series"
        return next(iter(found.values()), None)

    def value(self, name: str, /, **labels: str) -> float:
        value = self.get(name, **labels)
        assert value is not None, f"no {name} {labels}"
        return value

    def total(self, name: str, /, **labels: str) -> float:
        """The sum of the series with these labels; 0.0 if there is none."""
        return sum(self.all(name, **labels).values())

    def all(self, name: str, /, **labels: str) -> dict[Series, float]:
        wanted = set(labels.items())
        return {s: v for s, v in self.values.items() if s[0] == name and wanted <= s[1]}

    def label(self, name: str, label: str, /, **labels: str) -> str:
        """What the one series that carries these labels has for another one."""
        ((_, pairs),) = self.all(name, **labels)
        return dict(pairs)[label]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended. seconds: from the signal, or from the start if there was none."""

    rc: int
    seconds: float
    out: str
    err: str


def joulecar(*arguments: str, env: Mapping[str, str] | None = None, timeout_s: float = 120.0) -> Ended:
    """A command that ends by itself."""
    began_s = time.monotonic()
    done = subprocess.run(
        [*COMMAND, *arguments], env=environment(env), capture_output=True, text=True, check=False, timeout=timeout_s
    )
    return Ended(done.returncode, time.monotonic() - began_s, done.stdout, done.stderr)


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The test's own, with fixed columns and without colour."""
    kept = {k: v for k, v in os.environ.items() if k not in ("FORCE_COLOR", "PYTHONWARNINGS")}
    return {**kept, "COLUMNS": "100", "NO_COLOR": "1", **(more or {})}


class Daemon:
    """`joulecar run` inside the `with` block, on a free port. Every scrape is held to what must always be true:
    no joule is in no series or in two, and no counter ever falls."""

    def __init__(
        self,
        folder: Path,
        config: str,
        *,
        env: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
        command: Sequence[str] = COMMAND,
    ) -> None:
        """config: TOML without [server]. Files go to folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self.config = folder / "joulecar.toml"
        self.config.write_text(f'[server]\nlisten = "127.0.0.1:0"\n{config}', encoding="utf-8")
        self.log_file = folder / "joulecar.log"
        self._argv = [*command, "run", "--config", str(self.config), *arguments]
        self._env = environment(env)
        self._process: subprocess.Popen[bytes] | None = None
        self._last: Scrape | None = None
        self._lock = threading.Lock()  # a relay may scrape, too: pages are compared in the order in which they came
        self._client = httpx.Client(trust_env=False, timeout=15.0)
        self.url = ""
        self.start_seconds = 0.0
        self.worst_imbalance = 0.0  # relative, over all scrapes

    def __enter__(self) -> Daemon:
        self.launch()
        try:
            self._await_address()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.kill()

    def launch(self) -> None:
        """Start the process and do not wait for it."""
        with self.log_file.open("wb") as log:
            self._process = subprocess.Popen(
                self._argv, env=self._env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def kill(self) -> None:
        self._client.close()
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8")

    def lines(self, pattern: str) -> list[str]:
        """The log's lines in which the pattern is found."""
        return [line for line in self.log.splitlines() if re.search(pattern, line)]

    def scrape(self) -> Scrape:
        with self._lock:
            return self._scraped()

    def _scraped(self) -> Scrape:
        page = self._client.get(self.url).raise_for_status().text
        values = {
            (s.name, frozenset(s.labels.items())): s.value
            for family in text_string_to_metric_families(page)
            for s in family.samples
        }
        scrape = Scrape(values, page)
        self._must_balance(scrape)
        if self._last is not None:
            must_not_fall(self._last, scrape)
        self._last = scrape
        return scrape

    def wait_for(self, wanted: Callable[[Scrape], bool], timeout_s: float = STATE_S, what: str = "") -> Scrape:
        """The first scrape of which wanted is true; fails after timeout_s with the page and the log."""
        until_s = time.monotonic() + timeout_s
        while True:
            scrape = self.scrape()
            if wanted(scrape):
                return scrape
            if time.monotonic() > until_s:
                ours = "\n".join(line for line in scrape.text.splitlines() if line.startswith("joulecar_"))
                raise AssertionError(f"not in {timeout_s:g} s: {what or wanted}\n{ours}\n{self.log}")
            time.sleep(POLL_S)

    def scrape_for(self, seconds: float) -> Scrape:
        """Scrape again and again for this long; the last one."""
        until_s = time.monotonic() + seconds
        return self.wait_for(lambda _: time.monotonic() >= until_s, seconds + STATE_S)

    def settle(self, looked: Callable[[Scrape, Scrape], T], wanted: object, seconds: float = 2.0) -> tuple[T, Scrape]:
        """Look at one stretch of so many seconds after the other until what `looked` sees between its two ends is
        wanted in two of them, one after the other: what passes through the wanted state does not count. What was seen
        and the last scrape; fails after STATE_S with what was seen at last."""
        until_s = time.monotonic() + STATE_S
        before, held = self.scrape(), 0
        while True:
            after = self.scrape_for(seconds)
            seen = looked(before, after)
            held = held + 1 if seen == wanted else 0
            if held == 2:
                return seen, after
            assert time.monotonic() < until_s, f"not in {STATE_S:g} s: {wanted}; at last {seen}\n{self.log}"
            before = after

    def stop(self, number: int = signal.SIGTERM, timeout_s: float = 60.0) -> Ended:
        """Send the signal, wait for the end."""
        assert self._process is not None
        began_s = time.monotonic()
        self._process.send_signal(number)
        rc = self._process.wait(timeout_s)
        return Ended(rc, time.monotonic() - began_s, "", self.log)

    def _await_address(self) -> None:
        assert self._process is not None
        began_s = time.monotonic()
        while not (found := re.search(r"metrics on (http://\S+)", self.log)):
            if self._process.poll() is not None:
                raise AssertionError(f"joulecar ended with {self._process.returncode}:\n{self.log}")
            if time.monotonic() - began_s > START_S:
                raise AssertionError(f"joulecar serves nothing after {START_S:g} s:\n{self.log}")
            time.sleep(POLL_S / 10)
        self.url = found[1]
        self.start_seconds = time.monotonic() - began_s

    def _must_balance(self, scrape: Scrape) -> None:
        """Per kind: what is booked and what waits are what the devices counted."""
        for kind in ("gpu", "cpu", "dram", "host"):
            devices_j = scrape.total("joulecar_device_energy_joules_total", kind=kind)
            booked_j = scrape.total("joulecar_energy_joules_total", kind=kind)
            waits_j = scrape.total("joulecar_energy_pending_joules", kind=kind)
            imbalance = abs(booked_j + waits_j - devices_j) / max(devices_j, 1.0)
            self.worst_imbalance = max(self.worst_imbalance, imbalance)
            assert imbalance <= 1e-9, f"{kind}: booked {booked_j} + waits {waits_j} != counted {devices_j}"


def must_not_fall(before: Scrape, after: Scrape) -> None:
    """No counter falls, and none disappears."""
    for (name, labels), value in before.values.items():
        if name.startswith("joulecar_") and name.endswith("_total"):
            now = after.values.get((name, labels))
            assert now is not None, f"{name} {dict(labels)} disappeared"
            assert now >= value, f"{name} {dict(labels)} fell from {value} to {now}"
            assert value >= 0, f"{name} {dict(labels)} is {value}"
