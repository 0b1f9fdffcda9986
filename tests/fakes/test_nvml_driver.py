"""The stand-in NVIDIA driver itself: what tests believe of it has to be true."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

import pynvml
import pytest

from tests.fakes.nvml import driver as driver_module
from tests.fakes.nvml.driver import FakeDriver, FakeGpu, build_library


def test_the_truth_is_the_integral_of_the_power_that_was_set(tmp_path: Path) -> None:
    driver = FakeDriver(tmp_path, [FakeGpu("GPU-a", power_w=100.0)])
    start_s = time.monotonic()
    driver.set_power("GPU-a", 400.0)
    driver.reset("GPU-a")
    changed_s = driver._gpus[0].used[1][0]
    end_s = changed_s + 10.0
    assert driver.used_j("GPU-a", start_s, end_s) == pytest.approx(100.0 * (changed_s - start_s) + 4000.0)
    assert driver.used_j("GPU-a", changed_s + 1.0, changed_s + 3.0) == pytest.approx(800.0)
    assert driver.used_j("GPU-a", start_s - 50.0, start_s - 40.0) == 0.0


def test_a_running_counter_counts_the_energy_that_flowed_and_never_steps_back_when_the_power_changes(
    tmp_path: Path,
) -> None:
    driver = FakeDriver(tmp_path, [FakeGpu("GPU-a", counter_j=1000.0)], log_calls=False)
    done = threading.Event()

    def change() -> None:
        for step in range(400):
            driver.set_power("GPU-a", 700.0 if step % 2 == 0 else 0.0)
        done.set()

    with driver.loaded():
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        start_s = time.monotonic()
        changer = threading.Thread(target=change)
        changer.start()
        counts = [pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)]
        while not done.is_set():
            counts.append(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle))
        changer.join()
        last_s = time.monotonic()
        last_mj = pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
        after_s = time.monotonic()
        pynvml.nvmlShutdown()
    assert counts == sorted(counts)
    assert len(set(counts)) > 10
    low_j, high_j = (1000.0 + driver.used_j("GPU-a", start_s, at_s) for at_s in (last_s, after_s))
    assert low_j - 0.002 <= last_mj / 1000 <= high_j + 0.002


def test_a_counter_may_move_in_steps_and_count_more_or_less_than_flows(tmp_path: Path) -> None:
    gpu = FakeGpu("GPU-a", power_w=1000.0, counter_gain=0.5, counter_step_s=3600.0, counter_j=1.0)
    driver = FakeDriver(tmp_path, [gpu])
    with driver.loaded():
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        before = {pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) for _ in range(3)}
        driver.change("GPU-a", counter_step_s=0.0)
        early_s = time.monotonic()
        first = pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000
        late_s = time.monotonic()
        pynvml.nvmlShutdown()
    assert len(before) == 1
    assert driver.counter_j("GPU-a", early_s) - 0.002 <= first <= driver.counter_j("GPU-a", late_s) + 0.002
    assert driver.used_j("GPU-a", 0.0, late_s) > 1.5 * (first - 1.0)


def test_handles_of_before_a_new_start_are_refused(tmp_path: Path) -> None:
    driver = FakeDriver(tmp_path, [FakeGpu("GPU-a")])
    with driver.loaded():
        pynvml.nvmlInit()
        old = pynvml.nvmlDeviceGetHandleByIndex(0)
        pynvml.nvmlShutdown()
        pynvml.nvmlInit()
        with pytest.raises(pynvml.NVMLError) as caught:
            pynvml.nvmlDeviceGetPowerUsage(old)
        assert caught.value.value == pynvml.NVML_ERROR_INVALID_ARGUMENT
        assert driver.calls()[-1] == ("nvmlDeviceGetPowerUsage", "GPU-a", 2)
        pynvml.nvmlShutdown()


def test_a_wrong_name_is_told(tmp_path: Path) -> None:
    driver = FakeDriver(tmp_path, [FakeGpu("GPU-a")])
    with pytest.raises(KeyError, match="no GPU GPU-x"):
        driver.set_power("GPU-x", 1.0)
    with pytest.raises(AttributeError, match="no watts"):
        driver.change("GPU-a", watts=3.0)


def test_the_library_is_built_once(tmp_path: Path) -> None:
    first = build_library("1.0")
    built_s = first.stat().st_mtime_ns
    assert build_library("1.0") == first
    assert first.stat().st_mtime_ns == built_s
    assert build_library() != first
    first.unlink()


def test_a_copy_of_the_library_is_what_a_process_is_pointed_at(tmp_path: Path) -> None:
    driver = FakeDriver(tmp_path)
    folder = Path(driver.env()["LD_LIBRARY_PATH"].split(":")[0])
    assert (folder / driver_module.SONAME).read_bytes() == build_library().read_bytes()
    driver.uninstall()
    assert not (folder / driver_module.SONAME).exists()
    shutil.rmtree(folder)
