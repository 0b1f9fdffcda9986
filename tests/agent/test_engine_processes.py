"""Whose processes are on the GPUs, where the driver tells which hold memory."""

from __future__ import annotations

from collections.abc import Iterable

from agent.engine_processes import AGAIN_S, AT_MOST_EVERY_S, SAME_EVERY_S, UNSEEN_AGAIN_S, Processes, on_gpus
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
    assert seen.pids([Reading(GPU, NOW)]) == {}
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


class Opened:
    """Which processes have a GPU open."""

    def __init__(self, *pids: int) -> None:
        self.pids = set(pids)

    def __call__(self, pids: Iterable[int]) -> bool:
        return bool(self.pids.intersection(pids))


def two(table: Table, clock: FakeClock, opened: Opened) -> Processes:
    engines = tuple(EngineSettings(name=f"e{n}", url=f"http://127.0.0.1:{8000 + n}") for n in (0, 1))
    return Processes(engines, clock, ListenerCpu(clock, table), opened)


def test_an_engine_without_a_gpu_open_is_seen_and_has_no_process_to_look_for_on_one() -> None:
    seen = two(Table(), FakeClock(mono_s=1.0), Opened())
    assert seen.pids([held(8000)]) == {"e0": frozenset({8000}), "e1": frozenset()}


def test_an_engine_that_rests_with_its_gpu_open_is_not_without_one() -> None:
    seen = two(Table(), FakeClock(mono_s=1.0), Opened(8001))
    assert seen.pids([held(8000)]) == {"e0": frozenset({8000}), "e1": frozenset({8001})}


def test_an_engine_that_comes_to_a_gpu_later_is_seen_there_and_stays_known() -> None:
    table, clock = Table(), FakeClock(mono_s=1.0)
    seen = two(table, clock, Opened())
    seen.pids([held(8000)])
    clock.advance(AT_MOST_EVERY_S)
    assert seen.pids([held(8000, 8001)])["e1"] == {8001}
    clock.advance(AGAIN_S)
    assert seen.pids([held(8000, 99)])["e1"] == {8001}, "it rests"


def test_an_engine_that_opens_a_gpu_where_no_memory_is_told_is_asked_again() -> None:
    """As one that computes by Vulkan."""
    clock, opened = FakeClock(mono_s=1.0), Opened()
    seen = two(Table(), clock, opened)
    assert seen.pids([held(8000)])["e1"] == frozenset()
    opened.pids.add(8001)
    clock.advance(AGAIN_S)
    assert seen.pids([held(8000)])["e1"] == {8001}


def test_a_number_that_a_stranger_got_after_an_engines_process_is_a_strangers() -> None:
    table, clock, began = Table(), FakeClock(mono_s=1.0), {8000: 10.0, 77: 5.0}
    engines = (EngineSettings(name="e0", url="http://127.0.0.1:8000"),)
    seen = Processes(engines, clock, ListenerCpu(clock, table), began=began.get)
    assert seen.pids([held(8000)]) == {"e0": frozenset({8000})}
    table.moved = 100  # it restarted, and the driver goes on telling of the process that ended
    began[8100] = 20.0
    clock.advance(SAME_EVERY_S)
    assert seen.pids([held(8000, 8100)]) == {"e0": frozenset({8000, 8100})}
    del began[8000]
    clock.advance(SAME_EVERY_S)
    assert seen.pids([held(8000, 8100)]) == {"e0": frozenset({8000, 8100})}, "what is gone is nobody else's yet"
    began[8000] = 30.0
    assert seen.pids([held(8000, 8100)]) == {"e0": frozenset({8000, 8100})}, "not at every tick"
    clock.advance(SAME_EVERY_S)
    assert seen.pids([held(8000, 8100)]) == {"e0": frozenset({8100})}
    asked = table.asked
    clock.advance(SAME_EVERY_S)
    assert seen.pids([held(8000, 8100)]) == {"e0": frozenset({8100})} and table.asked == asked


def test_a_number_that_the_engine_itself_has_again_is_its_own() -> None:
    table, clock, began = Table(), FakeClock(mono_s=1.0), {8000: 10.0}
    engines = (EngineSettings(name="e0", url="http://127.0.0.1:8000"),)
    seen = Processes(engines, clock, ListenerCpu(clock, table), began=began.get)
    for began[8000] in (10.0, 20.0, 20.0):
        clock.advance(SAME_EVERY_S)
        assert seen.pids([held(8000)]) == {"e0": frozenset({8000})}
    assert table.asked == 2
