"""Which processes hold memory of a GPU, looked at now and then."""

from __future__ import annotations

from pathlib import Path

from tests.agent.sources.nvml_machine import ManualClock, machine
from tests.fakes.nvml.driver import FakeGpu

CALL = "nvmlDeviceGetComputeRunningProcesses_v3"


def test_who_holds_memory_is_told_every_two_seconds_and_not_in_between(tmp_path: Path) -> None:
    gpus = [FakeGpu("GPU-a", processes=((12, 0, 1), (10, 0, 1))), FakeGpu("GPU-b")]
    with machine(tmp_path, gpus, want_residents=True) as m:
        told = [m.read(), m.after(1.0), m.after(1.0)]
    assert [r["GPU-a"].residents for r in told] == [(10, 12), None, (10, 12)]
    assert [r["GPU-b"].residents for r in told] == [(), None, ()], "nobody there is an answer, too"


def test_a_driver_that_takes_long_is_asked_less_often(tmp_path: Path) -> None:
    clock = ManualClock(step_s=0.02)
    with machine(tmp_path, [FakeGpu("GPU-a"), FakeGpu("GPU-b")], clock=clock, want_residents=True) as m:
        for _ in range(10):  # it takes three answers to know
            m.after(1.0)
        m.driver.forget_calls()
        for _ in range(100):
            m.after(1.0)
        assert 8 <= m.asked(CALL, "GPU-a") <= 11, "20 ms are 0.2% of 10 s"


def test_of_a_gpu_with_mig_each_instance_is_asked(tmp_path: Path) -> None:
    gpu = FakeGpu("GPU-a", mig=1, instances=(("MIG-1", 10_240), ("MIG-2", 10_240)), processes=((99, 0, 1),))
    gpu.residents = {"MIG-1": (7,)}
    with machine(tmp_path, [gpu], want_residents=True) as m:
        reading = m.read()["GPU-a"]
        assert m.source.residents() == {"MIG-1": frozenset({7}), "MIG-2": frozenset()}
    assert {i.uuid: i.residents for i in reading.instances} == {"MIG-1": (7,), "MIG-2": ()}
    assert reading.residents is None


def test_who_is_there_is_asked_only_where_it_is_wanted_and_trouble_with_it_costs_nothing(tmp_path: Path) -> None:
    with machine(tmp_path, [FakeGpu("GPU-a")]) as m:
        assert m.read()["GPU-a"].residents is None
        assert m.asked(CALL) == 0
    gpus = [FakeGpu("GPU-a", counter_j=5.0, errors={CALL: 4}), FakeGpu("GPU-b")]
    with machine(tmp_path, gpus, want_residents=True) as m:
        readings = [m.after(3.0) for _ in range(4)]
        assert [(r["GPU-a"].residents, r["GPU-a"].error, r["GPU-a"].energy_j) for r in readings] == [
            (None, None, 5.0)
        ] * 4
        assert [r["GPU-b"].residents for r in readings] == [()] * 4
        assert m.asked(CALL, "GPU-a") == 1


def test_of_one_gpu_it_is_asked_too_since_an_engine_may_be_on_none(tmp_path: Path) -> None:
    with machine(tmp_path, [FakeGpu("GPU-a", processes=((10, 0, 1),))], want_residents=True) as m:
        assert m.read()["GPU-a"].residents == (10,)
