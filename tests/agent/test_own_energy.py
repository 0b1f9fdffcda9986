"""What the agent itself used, as a run of the loop counts it."""

from __future__ import annotations

import pytest

from agent.sources.selfshare import CpuSeconds
from tests.agent.test_loop import Machine, StopAfter, loop
from tests.fakes.service import CPU


def test_the_agents_own_share_is_of_the_cpus_energy() -> None:
    clock = StopAfter(10)
    seconds = iter(range(100))

    def own() -> CpuSeconds:
        t = float(next(seconds))
        return CpuSeconds(own_s=0.1 * t, busy_s=1.0 * t, total_s=2.0 * t)

    agent = loop(clock, Machine(clock), own_cpu=own)
    agent.run()
    shown = agent.snapshot()
    assert shown.self_energy_j is not None
    assert 0 < shown.self_energy_j < 0.1 * shown.ledger.device_energy_j[CPU] + 1e-9


def test_what_the_agent_used_is_looked_up_now_and_then_and_at_the_end_and_leaves_no_second_out() -> None:
    clock = StopAfter(33)
    asked: list[float] = []

    def own() -> CpuSeconds:
        asked.append(clock.now().mono_s)
        return CpuSeconds(own_s=0.25 * asked[-1], busy_s=1.0 * asked[-1], total_s=1.0 * asked[-1])

    agent = loop(clock, Machine(clock), own_cpu=own)
    agent.run()
    assert asked == [0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 32.0]
    assert agent.snapshot().self_energy_j == pytest.approx(0.25 * 40.0 * 32.0)
