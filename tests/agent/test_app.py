"""What the wiring decides by itself."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from agent.app import Agent
from agent.config import parse
from agent.engine_processes import Processes
from agent.model import Device, DeviceKind, Instant, Located, ProcessUse, Reading
from agent.settings import EngineSettings
from agent.sources.processes import ListenerCpu, Process
from tests.fakes.clock import FakeClock
from tests.fakes.metadata import azure, serving

AT = Instant(1.0, 1_790_000_001.0)
CPU = Reading(Device(DeviceKind.CPU, "package-0"), AT, energy_j=1.0)
GPU = Reading(Device(DeviceKind.GPU, "GPU-a"), AT, energy_j=1.0, index=0)
SHARED = Reading(Device(DeviceKind.GPU, "GPU-a"), AT, energy_j=1.0, index=0, processes=(ProcessUse(8000, 0.5),))


class Listener:
    """A process whose number is its port."""

    def __init__(self, port: int) -> None:
        self.pid = port

    def cpu_s(self) -> float | None:
        return self.pid / 1000


class Table:
    """Somebody listens on every port; counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def listeners(self, port: int) -> Sequence[int]:
        self.asked += 1
        return (port,)

    def tree(self, pid: int) -> Sequence[Process]:
        return (Listener(pid),)


def processes(table: Table, *gpus: tuple[str | int, ...] | None) -> Processes:
    engines = tuple(
        EngineSettings(name=f"e{i}", url=f"http://127.0.0.1:{8000 + i}", gpus=g) for i, g in enumerate(gpus)
    )
    clock = FakeClock(mono_s=1.0)
    return Processes(engines, clock, ListenerCpu(clock, table))


def test_engines_without_a_gpu_are_told_apart_by_their_cpu_seconds() -> None:
    assert processes(Table(), None, None).cpu_s([CPU]) == {"e0": 8.0, "e1": 8.001}
    assert processes(Table(), (), ()).cpu_s([CPU, GPU]) == {"e0": 8.0, "e1": 8.001}


@pytest.mark.parametrize("gpus", [None, (0,), ("GPU-a",)])
def test_with_a_gpu_nobody_walks_through_the_processes(gpus: tuple[str | int, ...] | None) -> None:
    table = Table()
    seen = processes(table, gpus, ())
    assert seen.cpu_s([CPU, GPU]) == {}
    assert seen.pids([CPU, GPU]) == {}
    assert table.asked == 0


def test_a_gpu_that_tells_its_processes_is_compared_with_the_engines() -> None:
    assert processes(Table(), None, None).pids([CPU, SHARED]) == {"e0": frozenset({8000}), "e1": frozenset({8001})}


def test_one_engine_shares_with_nobody() -> None:
    table = Table()
    assert processes(table, None).cpu_s([CPU]) == {}
    assert table.asked == 0


def test_the_snapshot_says_where_the_machine_stands_and_how_that_is_known() -> None:
    text = '[sources]\nnvml = "off"\nrapl = "off"\nhost = "off"\n[grid]\nproviders = ["table"]\n'
    agent = Agent(parse(text, env={"AWS_REGION": "eu-west-3"}), FakeClock(), serve=False)
    agent.loop.tick()
    assert agent.snapshot().located == Located("aws:eu-west-3", "env", "AWS_REGION in the environment")


def test_a_zone_that_the_cloud_tells_is_in_the_snapshot_once_it_is_known() -> None:
    text = '[sources]\nnvml = "off"\nrapl = "off"\nhost = "off"\n[grid]\nproviders = ["table"]\n'
    with serving(azure("westeurope")) as cloud:
        agent = Agent(parse(text, env={"JOULECAR_METADATA": cloud.url}), FakeClock(), serve=False)
        agent.loop.tick()
        assert agent.snapshot().located == Located()
        assert cloud.asked == [], "a start asks nobody"
        agent.place.step()
        agent.loop.tick()
    assert agent.snapshot().located == Located("azure:westeurope", "azure", "azure metadata says westeurope")
    assert agent.snapshot().grid is not None
