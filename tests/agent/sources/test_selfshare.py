from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sources.host import CpuTimes
from agent.sources.selfshare import CpuSeconds, SelfCpu, self_energy_j
from tests.fakes.host_stats import FakeStats

seconds = st.floats(0, 1e6)


def half_a_second() -> float:
    return 0.5


def gone() -> float:
    raise OSError("gone")


def test_the_own_share_is_by_busy_cpu_seconds() -> None:
    assert self_energy_j(100.0, 1.0, 4.0) == 25.0


def test_an_agent_alone_on_an_idle_machine_is_not_charged_the_machines_floor() -> None:
    # 10 ms on a machine of 64 threads that was otherwise idle for a second.
    assert 0.0 < self_energy_j(100.0, 0.01, 0.01, 64.0) < 0.2
    assert self_energy_j(100.0, 0.01, 0.01) == 100.0


def test_on_a_fully_busy_machine_both_ways_agree() -> None:
    assert self_energy_j(100.0, 1.0, 64.0, 64.0) == pytest.approx(self_energy_j(100.0, 1.0, 64.0))


@pytest.mark.parametrize(("own_s", "busy_s"), [(0.0, 4.0), (1.0, 0.0), (-1.0, 4.0), (1.0, -1.0)])
def test_nothing_to_share_is_no_energy(own_s: float, busy_s: float) -> None:
    assert self_energy_j(100.0, own_s, busy_s) == 0.0


@given(seconds, seconds, seconds, st.none() | seconds)
def test_the_own_share_is_never_more_than_there_is(
    energy_j: float, own_s: float, busy_s: float, total_s: float | None
) -> None:
    assert 0.0 <= self_energy_j(energy_j, own_s, busy_s, total_s) <= energy_j * (1 + 1e-12)


def test_both_sides_are_read_at_once() -> None:
    stats = FakeStats()
    stats.times = CpuTimes(user=3.0, nice=0.0, system=1.0, idle=6.0)
    assert SelfCpu(stats, half_a_second).read() == CpuSeconds(own_s=0.5, busy_s=4.0, total_s=10.0)


def test_a_machine_that_does_not_say_gives_nothing() -> None:
    stats = FakeStats()
    assert SelfCpu(stats, gone).read() is None
    stats.cpu_error = OSError("no /proc/stat")
    assert SelfCpu(stats, half_a_second).read() is None


def test_this_process_is_the_one_that_is_read() -> None:
    now = SelfCpu().read()
    assert now is not None
    assert now.own_s == pytest.approx(sum(os.times()[:2]), abs=0.5)
    assert 0 < now.busy_s < now.total_s
