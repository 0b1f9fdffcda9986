"""What the wiring decides by itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from agent.app import Agent, policy, sources
from agent.config import parse
from agent.engine_processes import Processes
from agent.model import Device, DeviceKind, Instant, Located, ProcessUse, Reading
from agent.settings import EngineSettings
from agent.sources.processes import ListenerCpu, Process
from tests.fakes.clock import FakeClock
from tests.fakes.metadata import azure, serving
from tests.fakes.nvml.driver import FakeDriver, FakeGpu

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
        self.moved = 0  # the listener's number is so much above the port
        self.nobody = False

    def listeners(self, ports: Collection[int]) -> Mapping[int, Sequence[int]]:
        self.asked += 1
        return {} if self.nobody else {port: (port + self.moved,) for port in ports}

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


def told(*pids: int) -> Reading:
    return replace(SHARED, processes=tuple(ProcessUse(pid, 0.5) for pid in pids))


def test_processes_are_looked_for_only_when_one_is_on_a_gpu_that_was_not_there_before() -> None:
    table, clock = Table(), FakeClock(mono_s=1.0)
    engines = (EngineSettings(name="e0", url="http://127.0.0.1:8000"),)
    seen = Processes(engines, clock, ListenerCpu(clock, table))
    for readings, looks in (([told()], 1), ([told(8000)], 1), ([told(8000)], 1), ([told(8000, 77)], 2)):
        clock.advance(3.0)
        seen.pids(readings)
        assert table.asked == looks
    for _ in range(100):  # a stranger that stays is asked about once a minute: an engine listens when it is ready
        clock.advance(3.0)
        assert seen.pids([told(8000, 77)]) == {"e0": frozenset({8000})}
    assert table.asked == 2 + 5


def test_a_process_that_was_an_engines_is_no_stranger_when_the_driver_tells_of_it_late() -> None:
    clock, table = FakeClock(mono_s=1.0), Table()
    seen = Processes((EngineSettings(name="e0", url="http://127.0.0.1:8000"),), clock, ListenerCpu(clock, table))
    assert seen.pids([told(8000)]) == {"e0": frozenset({8000})}
    table.moved = 1  # it restarted: another process listens
    clock.advance(3.0)
    assert seen.pids([told(8000, 8001)]) == {"e0": frozenset({8000, 8001})}
    table.nobody = True
    clock.advance(61.0)
    assert seen.pids([told(8000, 8001, 77)]) == {}, "while nobody listens it is not known whose they are"


def test_a_crowd_of_new_processes_does_not_make_it_look_at_every_tick() -> None:
    table, clock = Table(), FakeClock(mono_s=1.0)
    seen = Processes((EngineSettings(name="e0", url="http://127.0.0.1:8000"),), clock, ListenerCpu(clock, table))
    for pid in range(100, 120):
        clock.advance(0.5)
        seen.pids([told(pid)])
    assert table.asked == 5


GPU_A = "GPU-3e2f5a40-1111-2222-3333-444455556666"


@pytest.mark.parametrize(("engines", "more", "asked"), [
    ({"here": "127.0.0.1"}, "", True),
    ({"here": "127.0.0.1"}, 'foreign = "off"', False),
    ({"here": "127.0.0.1", "too": "localhost"}, 'foreign = "off"', True),
    ({"elsewhere": "10.0.0.7"}, "", False),
    ({"here": "127.0.0.1", "elsewhere": "10.0.0.7"}, "", False),
])  # fmt: skip
def test_processes_are_asked_for_where_all_engines_of_a_gpu_are_on_this_machine(
    engines: dict[str, str], more: str, asked: bool, tmp_path: Path
) -> None:
    tables = [
        f'[[engine]]\nname = "{name}"\nurl = "http://{host}:{8000 + n}"\ngpus = ["{GPU_A}"]\n'
        for n, (name, host) in enumerate(engines.items())
    ]
    config = parse("\n".join([*tables, '[sources]\nrapl = "off"\nhost = "off"', "[attribution]", more]), env={})
    with FakeDriver(tmp_path, [FakeGpu(GPU_A), FakeGpu("GPU-free")]).loaded() as driver:
        (nvml,), _ = sources(config, FakeClock())
        nvml.read()
        nvml.close()
        calls = {(call, uuid) for call, uuid, _ in driver.calls() if call == "nvmlDeviceGetProcessUtilization"}
    assert calls == ({("nvmlDeviceGetProcessUtilization", GPU_A)} if asked else set())


@pytest.mark.parametrize(("host", "gpus", "asked"), [
    ("127.0.0.1", "", True),
    ("127.0.0.1", 'gpus = "all"', False),
    ("127.0.0.1", f'gpus = ["{GPU_A}"]', False),
    ("10.0.0.7", "", False),
])  # fmt: skip
def test_who_holds_memory_is_asked_for_where_an_engine_of_this_machine_names_no_gpu(
    host: str, gpus: str, asked: bool, tmp_path: Path
) -> None:
    config = parse(f'[[engine]]\nurl = "http://{host}:8000"\n{gpus}', env={})
    assert policy(config).rules.finds == (frozenset({f"{host}:8000"}) if not gpus else frozenset())
    with FakeDriver(tmp_path, [FakeGpu(GPU_A), FakeGpu("GPU-free")]).loaded() as driver:
        nvml = sources(config, FakeClock())[0][0]
        nvml.read()
        nvml.close()
        calls = [uuid for call, uuid, _ in driver.calls() if call == "nvmlDeviceGetComputeRunningProcesses_v3"]
    assert bool(calls) is asked


@pytest.mark.parametrize(("engines", "more", "asked"), [
    (["MIG-{}1", "MIG-{}2"], "", True),
    (["MIG-{}1"], "", True),
    (["MIG-{}1"], 'foreign = "off"', False),
    (["MIG-{}1", "MIG-{}2"], 'foreign = "off"', True),
    (["GPU-{}0"], "", False),
    (["MIG-{}9"], "", False),
])  # fmt: skip
def test_the_activity_of_instances_is_asked_for_where_an_engine_may_be_on_one_wherever_it_runs(
    engines: list[str], more: str, asked: bool, tmp_path: Path
) -> None:
    number = "3e2f5a40-1111-2222-3333-44445555666"
    tables = [
        f'[[engine]]\nurl = "http://10.0.0.{n}:8000"\ngpus = ["{uuid.format(number)}"]\n'
        for n, uuid in enumerate(engines)
    ]
    config = parse("\n".join([*tables, "[attribution]", more]), env={})
    gpu = FakeGpu(f"GPU-{number}0", mig=1, gpm=True, instances=((f"MIG-{number}1", 1), (f"MIG-{number}2", 1)))
    with FakeDriver(tmp_path, [gpu]).loaded() as driver:
        nvml = sources(config, FakeClock())[0][0]
        nvml.read()
        nvml.close()
        calls = [call for call, _, _ in driver.calls() if call == "nvmlGpmMigSampleGet"]
    assert bool(calls) is asked


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
