"""The daemon beside a powercap tree whose counters run, wrap and are reset."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import Figure
from tests.e2e.worlds import BRISK, STAMP_S, Meter, longest_beat_s, meter
from tests.fakes.daemon import Daemon, Scrape
from tests.fakes.powercap import RANGE_UJ, PowercapTree
from tests.fakes.rapl_counter import RunningCounter

pytestmark = pytest.mark.e2e

WATTS = 150.0
PACKAGE = "package-0"


def zone(tmp_path: Path, energy_j: float) -> Path:
    tree = PowercapTree(tmp_path / "sys")
    folder = tree.zone("intel-rapl:0", PACKAGE, round(energy_j * 1e6))
    tree.constraint(folder, 0, "long_term", limit_uw=205_000_000, max_uw=205_000_000)
    return folder


def daemon(tmp_path: Path) -> Daemon:
    return Daemon(
        tmp_path / "agent", f'{BRISK}[sources]\nsysfs = "{tmp_path / "sys"}"\nnvml = "off"\nhost = "off"\nrapl = "on"\n'
    )


def metered(scrape: Scrape) -> bool:
    return bool(scrape.get("joulecar_device_energy_joules_total", device=PACKAGE))


def used_j(counter: RunningCounter, before: Meter, after: Meter) -> float:
    return counter.used_j(before.at_s, after.at_s)


def test_a_reset_is_a_gap_of_one_interval_and_not_162_kilojoules(tmp_path: Path, figure: Figure) -> None:
    """A counter that falls looks like a wrap; taken for one it would add range - last + now = 162,000 J."""
    with RunningCounter(zone(tmp_path, 100_000.0), WATTS, 100_000.0) as counter, daemon(tmp_path) as agent:
        before = meter(agent.wait_for(metered), PACKAGE, "rapl")
        agent.scrape_for(1.5)
        counter.reset()
        beat_s, last = longest_beat_s(agent, 1.5, "rapl")
    after = meter(last, PACKAGE, "rapl")
    booked_j, flowed_j = after.energy_j - before.energy_j, used_j(counter, before, after)
    gap_s = last.value("joulecar_device_gap_seconds_total", device=PACKAGE, reason="counter reset")
    figure(f"RAPL reset at {WATTS:g} W: {booked_j:.3f} J booked of {flowed_j:.3f} J, {gap_s:.3f} s of gap")
    assert 0 < gap_s <= beat_s + STAMP_S
    assert booked_j + gap_s * WATTS == pytest.approx(flowed_j, abs=2 * STAMP_S * WATTS)
    assert booked_j <= flowed_j


def test_a_wrap_loses_nothing(tmp_path: Path, figure: Figure) -> None:
    almost_j = RANGE_UJ / 1e6 - 2 * WATTS
    with RunningCounter(zone(tmp_path, almost_j), 1.0, almost_j) as counter, daemon(tmp_path) as agent:
        before = meter(agent.wait_for(metered), PACKAGE, "rapl")
        counter.set_power(WATTS)  # only now: it wraps while the agent looks
        shown = tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj"
        agent.wait_for(lambda _: int(shown.read_text()) < RANGE_UJ / 2, what="it wraps")
        last = agent.scrape_for(1.0)
    after = meter(last, PACKAGE, "rapl")
    off_j = after.energy_j - before.energy_j - used_j(counter, before, after)
    figure(f"RAPL wrap at {WATTS:g} W: off by {off_j:+.3f} J of {after.energy_j:.3f} J")
    assert off_j == pytest.approx(0.0, abs=2 * STAMP_S * WATTS)
    assert not last.all("joulecar_device_gap_seconds_total")
