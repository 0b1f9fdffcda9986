"""Whose processes are on the GPUs, where the driver tells which hold memory."""

from __future__ import annotations

from agent.engine_processes import AGAIN_S, UNSEEN_AGAIN_S, Processes, on_gpus
from agent.model import Device, DeviceKind, Instance, Instant, ProcessUse, Reading
from agent.settings import EngineSettings
from agent.sources.processes import ListenerCpu
from tests.agent.test_app import Table
from tests.fakes.clock import FakeClock

GPU = Device(DeviceKind.GPU, "GPU-a")
NOW = Instant(1.0, 1.0)


def held(*pids: int) -> Reading:
    return Reading(GPU, NOW, residents=pids)


def test_processes_on_gpus_are_those_that_ran_and_those_that_hold_memory_of_it_or_of_an_instance() -> None:
    ran = Reading(GPU, NOW, processes=(ProcessUse(1, 0.5),))
    mig = Reading(GPU, NOW, instances=(Instance("MIG-1", 1e9, residents=(3,)), Instance("MIG-2", 1e9)))
    assert on_gpus([ran, held(2), mig]) == frozenset({1, 2, 3})
    assert on_gpus([Reading(GPU, NOW), Reading(GPU, NOW, instances=(Instance("MIG-1", 1e9),))]) is None
    assert on_gpus([held()]) == frozenset()


def test_an_engine_is_known_by_the_memory_that_its_processes_hold() -> None:
    table, clock = Table(), FakeClock(mono_s=1.0)
    seen = Processes((EngineSettings(name="e0", url="http://127.0.0.1:8000"),), clock, ListenerCpu(clock, table))
    assert seen.pids([held()]) == {}
    assert table.asked == 0
    assert seen.pids([held(8000, 77)]) == {"e0": frozenset({8000})}


def test_an_engine_that_does_not_listen_yet_is_looked_for_more_often_than_a_stranger() -> None:
    table, clock = Table(), FakeClock(mono_s=1.0)
    seen = Processes((EngineSettings(name="e0", url="http://127.0.0.1:8000"),), clock, ListenerCpu(clock, table))
    table.nobody = True
    assert seen.pids([held(8000)]) == {}
    clock.advance(UNSEEN_AGAIN_S - 1.0)
    seen.pids([held(8000)])
    assert table.asked == 1
    table.nobody = False
    clock.advance(1.0)
    assert seen.pids([held(8000)]) == {"e0": frozenset({8000})}
    clock.advance(AGAIN_S - 1.0)
    seen.pids([held(8000)])
    assert table.asked == 2, "nobody is unknown any more"
