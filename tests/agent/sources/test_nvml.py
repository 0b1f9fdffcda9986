"""What NvmlSource reads from GPUs that are well."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from agent.clock import SystemClock
from agent.model import Device, DeviceKind, Instance, Method, ProcessUse
from agent.sources.nvml import NvmlSource
from tests.agent.sources.nvml_machine import ENERGY, FIELDS, POWER, ManualClock, machine, two_gpus
from tests.fakes.nvml.driver import NOT_SUPPORTED, FakeDriver, FakeGpu

PROCESSES = "nvmlDeviceGetProcessUtilization"
ENFORCED = "nvmlDeviceGetEnforcedPowerLimit"
HIGHEST = "nvmlDeviceGetPowerManagementLimitConstraints"


def test_each_gpu_is_read_by_uuid_with_counter_power_limit_name_and_index(tmp_path: Path) -> None:
    gpus = [FakeGpu("GPU-a", counter_j=1234.567), FakeGpu("GPU-b", counter_j=5.0, name="NVIDIA L40S", limit_w=350.0)]
    gpus[1].max_limit_w = 350.0
    with machine(tmp_path, gpus) as m:
        readings = m.read()
    assert set(readings) == {"GPU-a", "GPU-b"}
    a, b = readings["GPU-a"], readings["GPU-b"]
    assert a.device == Device(DeviceKind.GPU, "GPU-a")
    assert (a.name, a.index, a.energy_j, a.power_w, a.max_power_w) == ("NVIDIA H100 80GB HBM3", 0, 1234.567, 0.0, 700.0)
    assert (b.name, b.index, b.energy_j, b.max_power_w) == ("NVIDIA L40S", 1, 5.0, 350.0)
    assert a.error is None
    assert a.wraps_at_j is None
    assert not a.estimated
    assert a.processes is None


def test_under_load_the_counter_read_is_the_drivers_at_the_instant_of_the_reading(tmp_path: Path) -> None:
    driver = FakeDriver(tmp_path, [FakeGpu("GPU-a", power_w=500.0), FakeGpu("GPU-b", power_w=700.0)])
    # A slow first GPU: with one instant for the whole pass the second one would be off by 420 J.
    driver.slow(600, ENERGY, "GPU-a")
    with driver.loaded():
        source = NvmlSource(SystemClock())
        try:
            source.read()
            b = source.read()[1]
        finally:
            source.close()
    assert b.energy_j is not None
    assert b.power_w == 700.0
    assert b.energy_j == pytest.approx(driver.counter_j("GPU-b", b.at.mono_s), abs=200.0)


def test_a_reading_is_dated_by_the_middle_of_its_own_call(tmp_path: Path) -> None:
    with machine(tmp_path, clock=ManualClock(step_s=1.0)) as m:
        m.read()
        started_s = m.clock.mono_s
        a, b = m.source.read()
    assert a.at.mono_s % 1 == 0.5
    assert started_s < a.at.mono_s < b.at.mono_s - 1
    assert a.at.wall_s - a.at.mono_s == 1.8e9


def test_a_reset_counter_is_passed_on_as_the_driver_tells_it(tmp_path: Path) -> None:
    with machine(tmp_path) as m:
        before = m.read()["GPU-a"].energy_j
        m.driver.reset("GPU-a", 3.5)
        after = m.after(1.0)["GPU-a"]
    assert before == 1000.0
    assert (after.energy_j, after.error) == (3.5, None)


def test_without_an_energy_counter_the_power_is_read_and_the_counter_is_not_asked_again(tmp_path: Path) -> None:
    with machine(tmp_path) as m:
        m.driver.no_energy_counter("GPU-a")
        m.driver.set_power("GPU-a", 250.0)
        for _ in range(100):
            reading = m.after(1.0)["GPU-a"]
            assert (reading.energy_j, reading.power_w, reading.error) == (None, 250.0, None)
        assert m.asked(ENERGY, "GPU-a") == 1
        assert m.asked(ENERGY, "GPU-b") == 100
        methods = {f.subject: f.method for f in m.source.probe()}
    assert methods == {"GPU-a": Method.INTEGRATED, "GPU-b": Method.COUNTER}


@pytest.mark.parametrize("value_type", [0, 1, 2, 3])
def test_instantaneous_power_is_read_in_whatever_type_the_driver_gives_it(tmp_path: Path, value_type: int) -> None:
    with machine(tmp_path) as m:
        m.driver.set_power("GPU-a", 321.5)
        m.driver.change("GPU-a", field_type=value_type)
        assert m.read()["GPU-a"].power_w == 321.5
        assert m.asked(POWER, "GPU-a") == 0


def test_where_the_field_says_not_supported_inside_a_good_call_power_usage_is_read(tmp_path: Path) -> None:
    with machine(tmp_path) as m:
        m.driver.set_power("GPU-a", 300.0)
        m.driver.change("GPU-a", field_return=NOT_SUPPORTED)
        for _ in range(3):
            assert m.after(1.0)["GPU-a"].power_w == 300.0
        assert m.asked(FIELDS, "GPU-a") == 1
        assert m.asked(POWER, "GPU-a") == 3


def test_where_the_driver_has_no_field_call_power_usage_is_read(tmp_path: Path) -> None:
    with machine(tmp_path) as m:
        m.driver.set_power("GPU-a", 300.0)
        m.driver.fail(FIELDS, 13)
        assert m.read()["GPU-a"].power_w == 300.0


def test_a_power_that_the_driver_marks_as_not_available_is_no_power(tmp_path: Path) -> None:
    with machine(tmp_path) as m:
        m.driver.change("GPU-a", power_w=0xFFFFFFFF / 1000, counter_gain=0.0)
        reading = m.read()["GPU-a"]
    assert (reading.power_w, reading.energy_j, reading.error) == (None, 1000.0, None)


def test_the_limit_is_the_highest_that_can_be_set_even_while_a_lower_one_is_enforced(tmp_path: Path) -> None:
    gpus = two_gpus()
    gpus[0].limit_w, gpus[0].max_limit_w = 300.0, 700.0
    with machine(tmp_path, gpus) as m:
        assert m.read()["GPU-a"].max_power_w == 700.0


def test_where_the_highest_limit_is_not_told_the_enforced_one_is_read_again_each_minute(tmp_path: Path) -> None:
    with machine(tmp_path) as m:
        m.driver.fail(HIGHEST, NOT_SUPPORTED)
        m.driver.change("GPU-a", limit_w=300.0)
        assert m.read()["GPU-a"].max_power_w == 300.0
        m.driver.change("GPU-a", limit_w=500.0)
        assert m.after(30.0)["GPU-a"].max_power_w == 300.0
        assert m.after(31.0)["GPU-a"].max_power_w == 500.0
        assert m.asked(ENFORCED, "GPU-a") == 2
        assert m.asked(HIGHEST, "GPU-a") == 1


def test_power_above_the_known_limit_has_the_limit_read_again_at_once(tmp_path: Path) -> None:
    with machine(tmp_path) as m:
        m.driver.fail(HIGHEST, NOT_SUPPORTED)
        m.driver.change("GPU-a", limit_w=300.0)
        m.read()
        m.driver.change("GPU-a", limit_w=600.0)
        m.driver.set_power("GPU-a", 550.0)
        assert m.after(1.0)["GPU-a"].max_power_w == 600.0


def test_a_gpu_that_tells_no_limit_has_none(tmp_path: Path) -> None:
    with machine(tmp_path) as m:
        m.driver.fail(HIGHEST, NOT_SUPPORTED)
        m.driver.change("GPU-a", limit_w=0.0)
        assert m.read()["GPU-a"].max_power_w is None


def test_processes_are_asked_for_only_on_the_gpus_that_want_it(tmp_path: Path) -> None:
    gpus = two_gpus()
    for gpu in gpus:
        gpu.processes = ((10, 70, 5_000_000), (11, 30, 5_000_000))
    with machine(tmp_path, gpus, want_processes=lambda uuid: uuid == "GPU-b") as m:
        readings = m.read()
        assert m.asked(PROCESSES, "GPU-a") == 0
    assert readings["GPU-a"].processes is None
    assert readings["GPU-b"].processes == (ProcessUse(10, 0.7), ProcessUse(11, 0.3))


def test_the_newest_sample_of_a_process_counts_and_old_ones_are_left_out(tmp_path: Path) -> None:
    gpus = two_gpus()
    gpus[0].processes = ((10, 20, 9_500_000), (10, 60, 10_000_000), (12, 99, 1_000_000))
    with machine(tmp_path, gpus, want_processes=lambda _: True) as m:
        assert m.read()["GPU-a"].processes == (ProcessUse(10, 0.6),)
        m.driver.change("GPU-a", processes=((10, 20, 12_000_000), (12, 250, 12_000_000)))
        assert m.after(1.0)["GPU-a"].processes == (ProcessUse(10, 0.2), ProcessUse(12, 1.0))


def test_slow_answers_about_processes_are_held_so_that_they_take_little_of_the_time(tmp_path: Path) -> None:
    gpus = two_gpus()[:1]
    gpus[0].processes = ((10, 70, 0),)
    clock = ManualClock(step_s=0.001)  # each call takes 1 ms
    with machine(tmp_path, gpus, clock=clock, want_processes=lambda _: True) as m:
        for _ in range(100):
            assert m.after(1.0)["GPU-a"].processes == (ProcessUse(10, 0.7),)
        assert 40 <= m.asked(PROCESSES, "GPU-a") / 2 <= 52  # nvidia-ml-py asks twice: how many, and then which
        m.driver.change("GPU-a", processes=((10, 70, 0), (11, 20, 0)))
        m.after(1.0)
        m.driver.forget_calls()
        for _ in range(100):
            m.after(1.0)
        assert m.asked(PROCESSES, "GPU-a") / 2 == 100, "who has how much of a shared GPU changes quickly"


def test_a_gpu_that_nobody_uses_has_no_processes_rather_than_unknown_ones(tmp_path: Path) -> None:
    gpus = two_gpus()
    gpus[1].processes = ((10, 20, 5_000_000),)
    with machine(tmp_path, gpus, want_processes=lambda _: True) as m:
        readings = m.read()
        assert readings["GPU-a"].processes == ()  # nvidia-ml-py raises "error 0" here
        assert readings["GPU-b"].processes == (ProcessUse(10, 0.2),)
        m.driver.change("GPU-b", processes=((10, 20, 1_000_000),))  # nothing new: the driver says "not found"
        assert m.after(1.0)["GPU-b"].processes == ()


def test_a_process_of_which_no_new_sample_comes_uses_the_gpu_no_more(tmp_path: Path) -> None:
    gpus = two_gpus()
    gpus[0].processes = ((10, 70, 5_000_000),)
    with machine(tmp_path, gpus, want_processes=lambda _: True) as m:
        ran = (ProcessUse(10, 0.7),)
        told = [m.after(0.5)["GPU-a"].processes for _ in range(5)]
        assert told == [ran, ran, (), (), ()], "for a second it may be between two samples"
        m.driver.change("GPU-a", processes=((10, 70, 9_000_000),))
        assert m.after(1.0)["GPU-a"].processes == ran


def test_trouble_with_processes_costs_neither_energy_nor_the_gpu(tmp_path: Path) -> None:
    with machine(tmp_path, want_processes=lambda _: True) as m:
        for code in (2, 4, 15, 999):
            m.driver.fail(PROCESSES, code, "GPU-a")
            reading = m.after(60.0)["GPU-a"]
            assert (reading.energy_j, reading.error, reading.processes) == (1000.0, None, None)


def test_mig_is_measured_as_the_whole_gpu_and_the_finding_says_so(tmp_path: Path) -> None:
    gpus = two_gpus()
    gpus[0].mig = 1
    with machine(tmp_path, gpus, want_processes=lambda _: True) as m:
        readings = m.read()
        details = {f.subject: f.detail for f in m.source.probe()}
        assert m.asked(PROCESSES, "GPU-a") == 0
    assert readings["GPU-a"].energy_j == 1000.0
    assert readings["GPU-a"].processes is None
    assert "MIG is on" in details["GPU-a"]
    assert "MIG" not in details["GPU-b"]


def test_the_instances_of_a_gpu_with_mig_are_told_with_their_memory_and_asked_for_now_and_then(tmp_path: Path) -> None:
    gpus = two_gpus()
    gpus[0].mig = 1
    gpus[0].instances = (("MIG-big", 40_192), ("", 0), ("MIG-small", 9_728))
    with machine(tmp_path, gpus) as m:
        seen = m.read()
        assert seen["GPU-a"].instances == (Instance("MIG-big", 40_192 * 2**20), Instance("MIG-small", 9_728 * 2**20))
        assert seen["GPU-b"].instances == ()
        assert "MIG-small has 9.5 GiB" in {f.subject: f.detail for f in m.source.probe()}["GPU-a"]
        m.driver.forget_calls()
        for _ in range(240):
            m.after(1.0)
        assert m.asked("nvmlDeviceGetMaxMigDeviceCount") == 4
        m.driver.change("GPU-a", instances=(("MIG-new", 4_864),))
        m.after(60.0)
        assert m.read()["GPU-a"].instances == (Instance("MIG-new", 4_864 * 2**20),)
        m.driver.change("GPU-a", mig=0)
        assert m.after(61.0)["GPU-a"].instances == ()


def test_a_driver_that_takes_long_to_list_instances_is_asked_less_often(tmp_path: Path) -> None:
    gpus = [FakeGpu("GPU-a", mig=1, instances=(("MIG-a", 4_864),))]
    with machine(tmp_path, gpus, clock=ManualClock(step_s=0.05)) as m:
        for _ in range(300):
            m.after(1.0)
        assert m.asked("nvmlDeviceGetMaxMigDeviceCount") <= 5, "50 ms are 0.05% of 100 s"


def test_trouble_with_instances_costs_neither_energy_nor_the_gpu(tmp_path: Path) -> None:
    gpus = two_gpus()
    gpus[0].mig = 1
    with machine(tmp_path, gpus) as m:
        m.driver.fail("nvmlDeviceGetMaxMigDeviceCount", 4, "GPU-a")
        reading = m.read()["GPU-a"]
    assert (reading.energy_j, reading.error, reading.instances) == (1000.0, None, ())


def test_a_finding_tells_the_gpu_how_its_energy_is_known_and_its_limit(tmp_path: Path) -> None:
    with machine(tmp_path) as m:
        m.driver.change("GPU-b", field_return=NOT_SUPPORTED)
        a, b = m.source.probe()
    assert (a.subject, a.ok, a.kind, a.method, a.fix) == ("GPU-a", True, DeviceKind.GPU, Method.COUNTER, "")
    assert a.detail == "NVIDIA H100 80GB HBM3, GPU 0; energy counter; instantaneous power; draws at most 700 W"
    assert "power as nvidia-smi shows it" in b.detail


def test_a_finding_warns_of_counters_that_cover_a_grace_cpu_too(tmp_path: Path) -> None:
    with machine(tmp_path, [FakeGpu("GPU-g", name="NVIDIA GH200 480GB")]) as m:
        (finding,) = m.source.probe()
    assert "may cover the CPU" in finding.detail


def test_a_gpu_that_tells_neither_energy_nor_power_is_said_so_with_a_fix(tmp_path: Path) -> None:
    with machine(tmp_path) as m:
        for call in (ENERGY, FIELDS, POWER):
            m.driver.fail(call, NOT_SUPPORTED, "GPU-a")
        for _ in range(2):
            reading = m.after(1.0)["GPU-a"]
            assert reading.error == "the driver tells neither energy nor power"
        finding = m.source.probe()[0]
    assert (finding.ok, finding.method) == (False, None)
    assert "host" in finding.fix


def test_one_reading_of_a_healthy_gpu_takes_two_calls(tmp_path: Path) -> None:
    with machine(tmp_path) as m:
        m.read()
        m.driver.forget_calls()
        for _ in range(10):
            m.after(1.0)
        calls = m.driver.calls()
    assert len(calls) == 10 * 2 * 2
    assert {call for call, _, _ in calls} == {ENERGY, FIELDS}


def test_after_close_nothing_of_the_library_is_left_and_closing_twice_is_fine(tmp_path: Path) -> None:
    with machine(tmp_path) as m:
        m.read()
        m.driver.forget_calls()
        m.source.close()
        m.source.close()
        assert m.asked("nvmlShutdown") == 1


def test_closing_a_source_that_was_never_read_asks_the_driver_nothing(tmp_path: Path) -> None:
    with machine(tmp_path) as m:
        m.source.close()
        assert m.driver.calls() == []


def test_readings_stand_in_the_order_of_the_drivers_indices(tmp_path: Path) -> None:
    gpus = [FakeGpu(uuid) for uuid in ("GPU-z", "GPU-a", "GPU-m")]
    with machine(tmp_path, gpus) as m:
        readings = m.source.read()
    assert [r.index for r in readings] == [0, 1, 2]
    assert [r.device.key for r in readings] == ["GPU-z", "GPU-a", "GPU-m"]
    assert all(x.at <= y.at for x, y in itertools.pairwise(readings))
