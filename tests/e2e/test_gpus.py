"""The daemon beside the compiled stand-in driver: what it books against what the stand-in knows to have flowed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.conftest import Figure
from tests.e2e.worlds import BRISK, GPUS_ALONE, STAMP_S, Meter, balances, longest_beat_s, meter, up
from tests.fakes.daemon import Daemon, Scrape
from tests.fakes.nvml.driver import FakeDriver, FakeGpu

pytestmark = pytest.mark.e2e

A, B = "GPU-aaaa", "GPU-bbbb"
CONFIG = BRISK + GPUS_ALONE
LOOKED_FOR_S = 90.0  # the driver and lost GPUs are looked for every 30 s


@dataclass(frozen=True)
class Looking:
    """Two daemons that wait for what was away and is there again."""

    lossy: FakeDriver
    beside_lossy: Daemon
    before: dict[str, Meter]
    late: FakeDriver
    beside_late: Daemon


@pytest.fixture(scope="module", autouse=True)
def looking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Looking]:
    """Started before the other tests and looked at after them: the agent looks again every 30 s only."""
    folder = tmp_path_factory.mktemp("looking")
    lossy = FakeDriver(folder / "lossy", [FakeGpu(A, power_w=300.0), FakeGpu(B, power_w=80.0)], log_calls=False)
    late = FakeDriver(folder / "late", [FakeGpu(A, power_w=250.0)], log_calls=False)
    late.uninstall()
    with (
        Daemon(folder / "one", CONFIG, env=lossy.env()) as one,
        Daemon(folder / "two", CONFIG, env=late.env()) as two,
    ):
        start = one.wait_for(lambda s: reads(s, A, B))
        assert start.label("joulecar_device_info", "index", device=A) == "0"
        lossy.lose(A)
        one.wait_for(lambda s: up(s, "source", f"nvml/{A}") == 0)
        lossy.return_(A, index=1)

        nothing = two.scrape_for(1.0)
        assert not nothing.all("joulecar_device_energy_joules_total")
        assert not nothing.all("joulecar_part_up", part="source"), "a machine without a GPU lacks nothing"
        late.install()
        yield Looking(lossy, one, {uuid: meter(start, uuid) for uuid in (A, B)}, late, two)


@pytest.fixture
def driver(tmp_path: Path) -> FakeDriver:
    return FakeDriver(tmp_path / "driver", [FakeGpu(A, power_w=300.0), FakeGpu(B, power_w=80.0)], log_calls=False)


@pytest.fixture
def daemon(tmp_path: Path, driver: FakeDriver) -> Iterator[Daemon]:
    with Daemon(tmp_path / "agent", CONFIG, env=driver.env()) as running:
        running.wait_for(lambda s: reads(s, A, B), what="both GPUs are metered")
        yield running


def reads(scrape: Scrape, *devices: str) -> bool:
    return all((scrape.get("joulecar_device_energy_joules_total", device=d) or 0.0) > 0 for d in devices)


def gaps_s(scrape: Scrape, device: str) -> float:
    return scrape.total("joulecar_device_gap_seconds_total", device=device)


def test_a_steady_and_a_changing_load_are_booked_to_the_joule(
    daemon: Daemon, driver: FakeDriver, figure: Figure
) -> None:
    first = daemon.scrape()
    before = {uuid: meter(first, uuid) for uuid in (A, B)}
    for watts in (650.0, 80.0, 700.0, 300.0):
        daemon.scrape_for(0.9)
        driver.set_power(A, watts)
    daemon.scrape_for(0.9)
    last, off_j = balances(daemon, driver, before, {A: 700.0 * STAMP_S, B: 80.0 * STAMP_S})
    for uuid in (A, B):
        figure(f"changing load: {meter(last, uuid).energy_j:.3f} J booked, off by {off_j[uuid]:+.3f} J")
        assert gaps_s(last, uuid) == 0
    assert meter(last, A).energy_j > 1500
    assert last.label("joulecar_device_info", "method", device=A) == "counter"
    assert last.total("joulecar_energy_joules_total", use="unassigned") > 0, "no engine: the joules are nobody's"
    figure(f"worst imbalance of any scrape under load: {daemon.worst_imbalance:.1e}")


def test_a_counter_that_is_reset_neither_invents_nor_loses_a_joule(
    daemon: Daemon, driver: FakeDriver, figure: Figure
) -> None:
    before = {A: meter(daemon.scrape(), A)}
    for to_j in (0.0, 5.0, 400_000.0):
        daemon.scrape_for(0.8)
        driver.reset(A, to_j)
    daemon.scrape_for(0.8)
    # The intervals of the resets are known from power alone: the trapezoid of a steady power is the truth, too.
    last, off_j = balances(daemon, driver, before, {A: 300.0 * STAMP_S})
    figure(f"three resets at 300 W: {meter(last, A).energy_j:.3f} J booked, off by {off_j[A]:+.3f} J")
    assert gaps_s(last, A) == 0


def test_a_reset_while_the_power_jumps_costs_at_most_one_interval(daemon: Daemon, driver: FakeDriver) -> None:
    before = {A: meter(daemon.scrape(), A)}
    daemon.scrape_for(0.6)
    driver.set_power(A, 700.0)
    driver.reset(A)
    beat_s, _ = longest_beat_s(daemon, 1.0)
    balances(daemon, driver, before, {A: 700.0 * (beat_s + STAMP_S)})


def test_a_gpu_without_an_energy_counter_is_integrated_from_its_power(tmp_path: Path, driver: FakeDriver) -> None:
    driver.no_energy_counter(A)
    with Daemon(tmp_path / "agent", CONFIG, env=driver.env()) as daemon:
        before = {A: meter(daemon.wait_for(lambda s: reads(s, A, B)), A)}
        daemon.scrape_for(1.5)
        last, _ = balances(daemon, driver, before, {A: 300.0 * STAMP_S})
        assert last.label("joulecar_device_info", "method", device=A) == "integrated"
        assert last.label("joulecar_device_info", "method", device=B) == "counter"
        driver.set_power(A, 600.0)
        beat_s, _ = longest_beat_s(daemon, 1.0)
        balances(daemon, driver, before, {A: 300.0 * (beat_s + STAMP_S)})


def test_slow_calls_cost_no_joule(daemon: Daemon, driver: FakeDriver) -> None:
    before = {A: meter(daemon.scrape(), A)}
    driver.slow(150.0, "nvmlDeviceGetTotalEnergyConsumption")
    daemon.scrape_for(2.0)
    driver.heal()
    daemon.scrape_for(0.6)
    last, _ = balances(daemon, driver, before, {A: 300.0 * STAMP_S})
    assert gaps_s(last, A) == 0


def test_a_driver_that_hangs_takes_nothing_with_it_and_its_joules_come_later(
    daemon: Daemon, driver: FakeDriver
) -> None:
    before = {A: meter(daemon.scrape(), A)}
    driver.slow(60_000.0)
    down = daemon.wait_for(lambda s: up(s, "source", "nvml") == 0)
    assert down.value("joulecar_part_errors_total", part="source", name="nvml") >= 1
    driver.heal()
    daemon.wait_for(lambda s: up(s, "source", "nvml") == 1)
    daemon.scrape_for(0.6)
    balances(daemon, driver, before, {A: 300.0 * STAMP_S})


def test_a_gpu_that_comes_back_under_another_index_has_lost_no_joule(looking: Looking) -> None:
    lossy, agent = looking.lossy, looking.beside_lossy
    agent.wait_for(lambda s: up(s, "source", f"nvml/{A}") == 1, LOOKED_FOR_S)
    agent.scrape_for(0.6)
    # The counter went on while the GPU was away, and carries all of it.
    back, _ = balances(agent, lossy, looking.before, {A: 300.0 * STAMP_S, B: 80.0 * STAMP_S})
    assert back.label("joulecar_device_info", "index", device=A) == "1"
    assert back.label("joulecar_device_info", "index", device=B) == "0"
    assert gaps_s(back, A) == gaps_s(back, B) == 0
    assert len(agent.lines(rf"source nvml/{A}.* is back")) == 1


def test_a_driver_that_comes_late_is_found_without_a_restart(looking: Looking) -> None:
    late, agent = looking.late, looking.beside_late
    found = agent.wait_for(lambda s: reads(s, A), LOOKED_FOR_S)
    agent.scrape_for(0.6)
    last, _ = balances(agent, late, {A: meter(found, A)}, {A: 250.0 * STAMP_S})
    assert up(last, "source", "nvml") == 1
