"""The end of the daemon: everything is booked, and it is gone in two seconds, whatever hangs."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path

import pytest

from agent.model import DeviceKind
from agent.trace import open_trace, read_trace
from tests.e2e.conftest import Figure
from tests.e2e.worlds import BRISK, GPUS_ALONE, crowded, engine, up
from tests.fakes.daemon import Daemon, Ended, joulecar
from tests.fakes.engine import FakeEngine
from tests.fakes.nvml.driver import FakeDriver, FakeGpu

pytestmark = pytest.mark.e2e

GPU = "GPU-aaaa"
GONE_IN_S = 2.0  # where others leave it a CPU


@pytest.fixture
def driver(tmp_path: Path) -> FakeDriver:
    return FakeDriver(tmp_path / "driver", [FakeGpu(GPU, power_w=300.0)], log_calls=False)


def is_gone_in_time(ended: Ended) -> bool:
    return ended.rc == 0 and ended.seconds < GONE_IN_S * crowded()


def final_j(ended: Ended) -> float:
    found = re.search(r"the last window is booked: gpu ([\d.]+) J", ended.err)
    assert found, ended.err
    return float(found[1])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_last_window_is_booked(tmp_path: Path, driver: FakeDriver, figure: Figure, number: signal.Signals) -> None:
    """The window is far longer than the run: all of it is open when the signal comes."""
    trace = tmp_path / "trace.jsonl"
    config = '[agent]\ninterval = "250ms"\nwindow = "1m"\n' + GPUS_ALONE
    with FakeEngine() as served:
        config += engine("e", served.url) + '[attribution]\nmax_pending = "1m"\n'
        with Daemon(tmp_path / "agent", config, env=driver.env(), arguments=["--record", str(trace)]) as agent:
            agent.wait_for(lambda s: s.total("joulecar_tokens_total") == 0 and bool(s.all("joulecar_tokens_total")))
            served.change(generated_per_s=40.0)
            open_ = agent.wait_for(lambda s: s.value("joulecar_energy_pending_joules", kind="gpu") > 450.0)
            assert open_.total("joulecar_energy_joules_total") == 0
            told_s = time.monotonic()
            ended = agent.stop(number)
    figure(f"{number.name}: gone in {ended.seconds:.2f} s")
    assert is_gone_in_time(ended), ended

    with open_trace(trace) as lines:
        ticks = list(read_trace(lines))
    counted = [r.energy_j for t in ticks for r in t.readings if r.device.kind is DeviceKind.GPU and r.energy_j]
    assert final_j(ended) == pytest.approx(counted[-1] - counted[0], abs=0.0015)
    assert ticks[-1].at.mono_s >= told_s, "one more reading after the signal"

    replayed = joulecar("replay", str(trace), "--config", str(agent.config), "--format", "json")
    assert replayed.rc == 0, replayed.err
    assert '"decode"' in replayed.out
    assert '"unattributed"' not in replayed.out


def test_an_engine_that_hangs_does_not_hold_up_the_end(tmp_path: Path, driver: FakeDriver, figure: Figure) -> None:
    with (
        FakeEngine() as served,
        Daemon(tmp_path / "agent", BRISK + GPUS_ALONE + engine("e", served.url), env=driver.env()) as agent,
    ):
        agent.wait_for(lambda s: s.get("joulecar_part_up", part="engine", name="e") == 1)
        served.answer(served.hangs)
        agent.scrape_for(1.0)
        ended = agent.stop()
    figure(f"SIGTERM while an engine hangs: gone in {ended.seconds:.2f} s")
    assert is_gone_in_time(ended), ended
    assert final_j(ended) > 300.0


@pytest.mark.parametrize("is_noticed", [False, True], ids=["just now", "long since"])
def test_a_driver_that_hangs_does_not_hold_up_the_end(
    tmp_path: Path, driver: FakeDriver, figure: Figure, is_noticed: bool
) -> None:
    with Daemon(tmp_path / "agent", BRISK + GPUS_ALONE, env=driver.env()) as agent:
        agent.wait_for(lambda s: (s.get("joulecar_device_energy_joules_total") or 0) > 100.0)
        driver.slow(3_600_000.0)
        if is_noticed:
            agent.wait_for(lambda s: up(s, "source", "nvml") == 0)
        else:
            agent.scrape_for(0.3)
        ended = agent.stop()
    figure(f"SIGTERM while the driver hangs, {is_noticed=}: gone in {ended.seconds:.2f} s")
    assert is_gone_in_time(ended), ended
    assert final_j(ended) > 100.0


def test_it_serves_at_once_though_engines_hang_and_stops_at_once(
    tmp_path: Path, driver: FakeDriver, figure: Figure
) -> None:
    with FakeEngine() as one, FakeEngine() as two:
        one.answer(one.hangs)
        two.answer(two.hangs)
        patient = 'timeout = "25s"'
        config = BRISK + GPUS_ALONE + engine("one", one.url, patient) + engine("two", two.url, patient)
        with Daemon(tmp_path / "agent", config, env=driver.env()) as agent:
            figure(f"serves {agent.start_seconds:.2f} s after its start, beside two engines that hang")
            assert agent.start_seconds < 15.0, "each of the two would have cost its timeout"
            ended = agent.stop()
    assert is_gone_in_time(ended), ended
