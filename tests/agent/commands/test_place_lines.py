from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from agent.commands.place_lines import found, places
from agent.commands.report import Found
from agent.settings import EngineSettings
from agent.sources.processes import ListenerCpu, Process
from tests.agent.sources.nvml_machine import machine
from tests.fakes.clock import FakeClock
from tests.fakes.nvml.driver import FakeGpu

ENGINE = EngineSettings(name="e", url="http://127.0.0.1:8000")
RESIDENTS = {"GPU-a": frozenset({1, 9}), "GPU-b": frozenset({2}), "GPU-c": frozenset({9}), "GPU-d": frozenset[int]()}
RESIDENT_CALL = "nvmlDeviceGetComputeRunningProcesses_v3"


class One:
    """A process with a number and nothing else."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def cpu_s(self) -> float | None:
        return None


class Table:
    """Process 1 listens on every port; 2 is its child."""

    def listeners(self, ports: Collection[int]) -> Mapping[int, Sequence[int]]:
        return dict.fromkeys(ports, (1,))

    def tree(self, pid: int) -> Sequence[Process]:
        return (One(1), One(2))


def test_an_engine_that_runs_on_some_gpus_and_is_charged_for_all_is_told_which_to_name() -> None:
    (line,) = found([ENGINE], RESIDENTS, lambda _: frozenset({1, 2}))
    assert (line.ok, line.fault) == (False, False), "advice"
    assert "2 of 4 GPUs" in line.detail
    assert line.fix == 'gpus = ["GPU-a", "GPU-b"]'


def test_an_engine_whose_gpus_are_found_is_told_which_they_are() -> None:
    (line,) = found([replace(ENGINE, find_gpus=True)], RESIDENTS, lambda _: frozenset({1, 2}))
    assert (line.ok, line.fix) == (True, "")
    assert line.detail == "runs on 2 of 4 GPUs, and is charged for these: GPU-a, GPU-b"


@pytest.mark.parametrize("own", [frozenset[int](), frozenset({5}), frozenset({1, 2, 9, 4})])
def test_nothing_is_said_of_an_engine_that_is_not_seen_or_is_everywhere(own: frozenset[int]) -> None:
    everywhere = {**RESIDENTS, "GPU-d": frozenset({4})}
    assert list(found([ENGINE], everywhere, lambda _: own, lambda _: True)) == []


def test_an_engine_that_has_no_gpu_open_is_told_what_it_is_charged_for() -> None:
    def said(engine: EngineSettings, own: frozenset[int] = frozenset({5}), *, opens: bool = False) -> list[Found]:
        return list(found([engine], {"GPU-a": frozenset({1})}, lambda _: own, lambda _: opens))

    (line,) = said(replace(ENGINE, find_gpus=True))
    assert line.ok
    assert "no process behind its port has a GPU open" in line.detail
    assert line.fix.endswith("gpus = [...]")
    (line,) = said(ENGINE)
    assert (line.ok, line.fault, line.fix) == (False, False, "gpus = []")
    assert said(ENGINE, opens=True) == said(ENGINE, frozenset({1})) == said(ENGINE, frozenset()) == []


def test_on_a_machine_with_one_gpu_there_is_nothing_to_choose() -> None:
    assert list(found([ENGINE], {"GPU-a": frozenset({1})}, lambda _: frozenset({1}))) == []


def test_the_driver_tells_who_is_on_which_gpu_and_is_not_asked_for_engines_that_name_theirs(tmp_path: Path) -> None:
    gpus = [FakeGpu("GPU-a", processes=((2, 50, 1),)), FakeGpu("GPU-b", processes=((7, 50, 1),)), FakeGpu("GPU-c")]
    listeners = ListenerCpu(FakeClock(), Table())
    named = EngineSettings(name="n", url="http://127.0.0.1:8000", gpus=("GPU-b",))
    elsewhere = EngineSettings(name="x", url="http://10.0.0.7:8000")
    with machine(tmp_path, gpus) as m:
        assert list(places([named, elsewhere], m.source, listeners)) == []
        assert m.asked(RESIDENT_CALL) == 0
        (line,) = places([ENGINE], m.source, listeners)
        assert line.fix == 'gpus = ["GPU-a"]'
        m.driver.fail(RESIDENT_CALL, 4)
        assert list(places([ENGINE], m.source, listeners)) == []
