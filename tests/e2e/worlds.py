"""What the end-to-end tests have in common: brisk settings, and the truth to hold a scrape against."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import httpx

from agent.otlp.decode import PROTOBUF
from tests.fakes.daemon import Daemon, Scrape
from tests.fakes.nvml.driver import FakeDriver

BRISK = '[agent]\ninterval = "250ms"\nwindow = "1s"\n'
GPUS_ALONE = '[sources]\nrapl = "off"\nhost = "off"\n'
# A reading is stamped a moment before or after the driver counts: a busy machine may put this much between the two.
STAMP_S = 0.05


def engine(name: str, url: str, *more: str) -> str:
    """A [[engine]] table that is scraped twice a second. On every GPU unless `more` says something else: a stand-in
    has none open, and would be found out."""
    if not any(line.startswith("gpus") for line in more):
        more = ('gpus = "all"', *more)
    return "\n".join([f'[[engine]]\nname = "{name}"\nurl = "{url}"\nevery = "500ms"', *more, ""])


@dataclass(frozen=True, slots=True)
class Meter:
    """A device's total in a scrape, and the moment of CLOCK_MONOTONIC that it stands for."""

    energy_j: float
    at_s: float


def meter(scrape: Scrape, device: str, source: str = "nvml") -> Meter:
    """Right while every device of the source can be read: the moment is the source's last success."""
    wall_s = scrape.value("joulecar_part_last_success_timestamp_seconds", part="source", name=source)
    # Between the looks at the two clocks others may have the CPU: that can only make the difference larger.
    apart_s = min(-time.monotonic() + time.time() for _ in range(5))
    return Meter(scrape.value("joulecar_device_energy_joules_total", device=device), wall_s - apart_s)


def up(scrape: Scrape, part: str, name: str) -> float | None:
    """1 or 0; None while the part has not been heard of."""
    return scrape.get("joulecar_part_up", part=part, name=name)


def off_by_j(driver: FakeDriver, uuid: str, before: Meter, after: Meter) -> float:
    """What was booked between two scrapes, less what flowed."""
    return after.energy_j - before.energy_j - driver.used_j(uuid, before.at_s, after.at_s)


def balances(
    agent: Daemon, driver: FakeDriver, before: Mapping[str, Meter], within_j: Mapping[str, float]
) -> tuple[Scrape, dict[str, float]]:
    """The first scrape in which each GPU has booked since `before` what flowed, to within_j, and by how much it is off.

    A reading during which others had the CPU is dated wrong by as long, and the next one is right again: a joule that
    is lost or invented stays so, and this fails after a minute.
    """
    off_j: dict[str, float] = {}

    def are_right(scrape: Scrape) -> bool:
        off_j.update({uuid: off_by_j(driver, uuid, m, meter(scrape, uuid)) for uuid, m in before.items()})
        return all(abs(off_j[uuid]) <= most_j for uuid, most_j in within_j.items())

    assert before.keys() == within_j.keys()
    try:
        return agent.wait_for(are_right), off_j
    except AssertionError as failed:
        raise AssertionError(f"booked and flowed differ by {off_j} J, more than {within_j}") from failed


def longest_beat_s(agent: Daemon, seconds: float, source: str = "nvml") -> tuple[float, Scrape]:
    """Scrape for this long: the longest time between two readings meanwhile, and the last scrape. It is the interval
    where nobody else has the CPU for long."""
    read_s: set[float] = set()
    until_s = time.monotonic() + seconds

    def is_over(scrape: Scrape) -> bool:
        read_s.add(scrape.value("joulecar_part_last_success_timestamp_seconds", part="source", name=source))
        return time.monotonic() >= until_s and len(read_s) > 1

    last = agent.wait_for(is_over)
    return max(after - before for before, after in pairwise(sorted(read_s))), last


def works(scrape: Scrape) -> bool:
    """Joules of an engine's work are booked."""
    return scrape.total("joulecar_energy_joules_total", use="decode") > 0


def send_spans(agent: Daemon, body: bytes) -> None:
    """An export in protobuf, to where the agent says that it takes spans since its last start."""
    *_, line = agent.lines("request spans on")
    found = re.search(r"http://\S+", line)
    assert found, line
    httpx.post(found[0], content=body, headers={"content-type": PROTOBUF}, trust_env=False).raise_for_status()


def crowded() -> float:
    """How many times as long as alone a piece of work takes now, because others want the CPUs, too: 1 or more."""
    began_s, began_cpu_s = time.perf_counter(), time.thread_time()
    while (worked_s := time.thread_time() - began_cpu_s) < 0.1:
        pass
    return max(1.0, (time.perf_counter() - began_s) / worked_s)
