"""What the end-to-end tests have in common: brisk settings, and the truth to hold a scrape against."""

from __future__ import annotations

import time
from dataclasses import dataclass

from tests.fakes.daemon import Scrape
from tests.fakes.nvml.driver import FakeDriver

INTERVAL_S = 0.25
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
    mono_s = time.monotonic() - (time.time() - wall_s)
    return Meter(scrape.value("joulecar_device_energy_joules_total", device=device), mono_s)


def up(scrape: Scrape, part: str, name: str) -> float | None:
    """1 or 0; None while the part has not been heard of."""
    return scrape.get("joulecar_part_up", part=part, name=name)


def off_by_j(driver: FakeDriver, uuid: str, before: Meter, after: Meter) -> float:
    """What was booked between two scrapes, less what flowed."""
    return after.energy_j - before.energy_j - driver.used_j(uuid, before.at_s, after.at_s)
