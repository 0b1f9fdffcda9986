"""What NvmlSource does when the driver as a whole fails: absent, away, upgraded, without GPUs, hanging."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pynvml
import pytest

from agent.errors import ReadFailed, Unavailable
from agent.sources.nvml import NO_ANSWER
from tests.agent.sources.nvml_machine import ENERGY, Machine, ManualClock, machine, skip_with_a_real_driver, two_gpus
from tests.fakes.nvml.driver import FakeDriver, FakeGpu, is_loaded

INIT = "nvmlInitWithFlags"


@pytest.mark.parametrize("code", [1, 9, 18])
def test_a_driver_that_went_away_is_opened_again_at_most_every_half_minute(tmp_path: Path, code: int) -> None:
    with machine(tmp_path) as m:
        m.read()
        m.driver.fail("*", code)
        m.driver.forget_calls()
        for _ in range(90):
            with pytest.raises((Unavailable, ReadFailed), match=rf"NVML {code}"):
                m.after(1.0)
        assert 2 <= m.asked(INIT) <= 3
        m.driver.heal()
        m.driver.reset("GPU-a", 0.5)
        m.clock.mono_s += 30.0
        readings = m.read()
    assert (readings["GPU-a"].energy_j, readings["GPU-b"].energy_j) == (0.5, 2000.0)


@pytest.mark.parametrize("code", [1, 9, 18])
def test_one_gpu_that_claims_the_driver_is_away_does_not_hide_the_others(tmp_path: Path, code: int) -> None:
    with machine(tmp_path) as m:
        m.read()
        m.driver.fail("*", code, "GPU-a")
        for _ in range(40):
            readings = m.after(1.0)
            assert readings["GPU-a"].error is not None
            assert readings["GPU-b"].energy_j == 2000.0


def test_somebody_else_shutting_nvml_down_costs_one_reading(tmp_path: Path) -> None:
    with machine(tmp_path) as m:
        m.read()
        m.clock.mono_s += 40.0
        pynvml.nvmlShutdown()
        with pytest.raises(ReadFailed, match="not initialised"):
            m.read()
        assert m.after(1.0)["GPU-a"].energy_j == 1000.0


def test_after_a_driver_upgrade_the_new_library_is_loaded_without_a_restart(tmp_path: Path) -> None:
    with machine(tmp_path) as m:
        m.read()
        m.driver.upgrade_kernel("590.10.01")
        with pytest.raises(Unavailable, match="different versions") as caught:
            m.after(60.0)
        assert "reboot" in caught.value.fix
        with pytest.raises(Unavailable):
            m.after(30.0)
        m.driver.install("590.10.01")
        m.driver.preload()
        assert m.after(30.0)["GPU-a"].energy_j == 1000.0
        assert str(m.driver.library_folder) in Path("/proc/self/maps").read_text()


def test_a_driver_that_appears_is_picked_up_without_a_restart(tmp_path: Path) -> None:
    skip_with_a_real_driver()
    with machine(tmp_path, preload=False) as m:
        for _ in range(3):
            with pytest.raises(Unavailable, match="NVML 12") as caught:
                m.after(1.0)
            assert "NVIDIA_DRIVER_CAPABILITIES=utility" in caught.value.fix
        (finding,) = m.source.probe()
        assert (finding.ok, finding.fix) == (False, caught.value.fix)
        m.driver.preload()
        with pytest.raises(Unavailable):  # looked for every 30 s, not every second
            m.after(1.0)
        assert m.after(30.0)["GPU-a"].energy_j == 1000.0


def test_a_source_that_is_closed_leaves_no_library_behind_and_no_pointer_into_it(tmp_path: Path) -> None:
    skip_with_a_real_driver()
    with machine(tmp_path) as m:
        m.read()
        m.source.close()
        m.driver.unload()
        assert not is_loaded()
        assert not pynvml._nvmlGetFunctionPointer_cache


def test_a_missing_driver_is_logged_once_and_its_arrival_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    skip_with_a_real_driver()
    caplog.set_level("INFO", logger="agent.sources.nvml_gpus")
    with machine(tmp_path, [FakeGpu("GPU-a")], preload=False) as m:
        for _ in range(200):
            with pytest.raises(Unavailable):
                m.after(1.0)
        m.driver.preload()
        m.after(30.0)
    assert caplog.messages == [
        "no NVIDIA driver here (libnvidia-ml.so.1 not found) (NVML 12)",
        "GPU 0 (GPU-a): NVIDIA H100 80GB HBM3",
        "the NVIDIA driver answers; GPUs: 1",
    ]


def test_what_a_gpu_can_tell_is_found_out_anew_with_another_driver(tmp_path: Path) -> None:
    with machine(tmp_path) as m:
        m.driver.no_energy_counter("GPU-a")
        assert m.read()["GPU-a"].energy_j is None
        m.driver.fail("*", 9)
        with pytest.raises(Unavailable):
            m.after(60.0)
        m.driver.heal()
        assert m.after(30.0)["GPU-a"].energy_j == 1000.0


@pytest.mark.parametrize("code", [9, 18])
def test_a_driver_that_cannot_be_opened_is_explained_by_the_probe(tmp_path: Path, code: int) -> None:
    with machine(tmp_path) as m:
        m.driver.fail(INIT, code)
        (finding,) = m.source.probe()
    assert (finding.subject, finding.ok) == ("nvml", False)
    assert f"NVML {code}" in finding.detail
    assert finding.fix


def test_a_driver_without_gpus_is_unavailable_until_one_is_there(tmp_path: Path) -> None:
    with machine(tmp_path, []) as m:
        with pytest.raises(Unavailable, match="shows no GPU") as caught:
            m.read()
        assert "NVIDIA_VISIBLE_DEVICES" in caught.value.fix
        m.driver.add(FakeGpu("GPU-a", counter_j=4.0))
        assert m.after(30.0)["GPU-a"].energy_j == 4.0


def read_until_answered(m: Machine) -> None:
    pause = threading.Event()
    for _ in range(1000):
        if all(r.error != NO_ANSWER for r in m.after(1.0).values()):
            return
        pause.wait(0.005)
    raise AssertionError("the source never came back")


def test_a_driver_that_hangs_costs_one_deadline_and_then_readings_with_an_error(tmp_path: Path) -> None:
    with machine(tmp_path, deadline_s=0.3) as m:
        m.read()
        m.driver.slow(3_600_000, ENERGY, "GPU-a")
        started_s = time.monotonic()
        for _ in range(50):
            readings = m.after(1.0)
            assert {u: r.error for u, r in readings.items()} == {"GPU-a": NO_ANSWER, "GPU-b": NO_ANSWER}
        assert time.monotonic() - started_s < 50 * 0.3 / 2
        assert [f.detail for f in m.source.probe()] == [NO_ANSWER]
        last_error_s = readings["GPU-b"].at.mono_s
        m.driver.slow(0, ENERGY, "GPU-a")
        read_until_answered(m)
        readings = m.read()
    assert (readings["GPU-a"].energy_j, readings["GPU-b"].energy_j) == (1000.0, 2000.0)
    assert readings["GPU-b"].at.mono_s > last_error_s


def test_what_a_hanging_call_brings_in_the_end_is_not_passed_on_late(tmp_path: Path) -> None:
    with machine(tmp_path, deadline_s=0.3) as m:
        m.read()
        m.driver.slow(3_600_000, ENERGY, "GPU-b")
        seen = [*m.after(1.0).values(), *m.after(1.0).values()]
        m.driver.slow(0, ENERGY, "GPU-b")
        for _ in range(20):
            seen += m.after(1.0).values()
    for uuid in ("GPU-a", "GPU-b"):
        ats = [r.at.mono_s for r in seen if r.device.key == uuid]
        assert ats == sorted(ats)


def test_a_driver_that_hangs_from_the_start_is_a_failed_read_and_then_works(tmp_path: Path) -> None:
    with machine(tmp_path, deadline_s=0.3) as m:
        m.driver.slow(3_600_000, INIT)
        for _ in range(3):
            with pytest.raises(ReadFailed, match="does not answer"):
                m.after(1.0)
        m.driver.slow(0, INIT)
        pause = threading.Event()
        for _ in range(1000):
            try:
                assert m.after(1.0)["GPU-a"].energy_j == 1000.0
                break
            except ReadFailed:
                pause.wait(0.005)
        else:
            raise AssertionError("the source never came back")


class StoppableClock(ManualClock):
    stopped = False

    def wait_until(self, mono_s: float) -> bool:
        return super().wait_until(mono_s) and not self.stopped


def test_a_read_that_hangs_ends_soon_after_the_agent_is_told_to_stop(tmp_path: Path) -> None:
    clock = StoppableClock()
    with machine(tmp_path, clock=clock, deadline_s=60.0) as m:
        m.read()
        m.driver.slow(3_600_000, ENERGY)
        said: list[str | None] = []
        reading = threading.Thread(target=lambda: said.extend(r.error for r in m.read().values()))
        reading.start()
        reading.join(1.0)
        assert reading.is_alive(), "it waits for the driver"
        clock.stopped = True
        told_s = time.monotonic()
        reading.join(10.0)
        m.source.close()
        assert time.monotonic() - told_s < 1.8
    assert said == [NO_ANSWER, NO_ANSWER]


def test_close_does_not_wait_for_a_driver_that_hangs(tmp_path: Path) -> None:
    with machine(tmp_path, two_gpus(), deadline_s=0.2) as m:
        m.read()
        m.driver.slow(3_600_000, ENERGY)
        m.after(1.0)
        closing = threading.Thread(target=m.source.close)
        closing.start()
        closing.join(10.0)
        assert not closing.is_alive()
        m.driver.forget_calls()
        m.driver.slow(0, ENERGY)
        m.source.close()  # waits for what hung until now
        assert m.asked(ENERGY, "GPU-b") == 0
        assert m.asked("nvmlShutdown") == 1


# Reads once a second of a clock that flies, one line of answer for each line of input.
DAEMON = """
import sys
from agent.errors import JoulecarError
from agent.sources.nvml import NvmlSource
from tests.agent.sources.nvml_machine import ManualClock
clock = ManualClock()
source = NvmlSource(clock)
for line in sys.stdin:
    clock.mono_s += float(line)
    try:
        print([(r.device.key, r.energy_j, r.error) for r in source.read()], flush=True)
    except JoulecarError as error:
        print(error, flush=True)
source.close()
"""


def test_a_process_of_its_own_sees_the_driver_come_change_and_be_upgraded(tmp_path: Path) -> None:
    skip_with_a_real_driver()
    driver = FakeDriver(tmp_path, [FakeGpu("GPU-a", counter_j=5.0)])
    driver.uninstall()
    with subprocess.Popen(
        [sys.executable, "-c", DAEMON],
        env={**os.environ, **driver.env()},
        cwd=Path(__file__).parents[3],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as daemon:
        assert daemon.stdin is not None
        assert daemon.stdout is not None
        steps: list[tuple[Callable[[], None], str]] = [
            (lambda: None, "libnvidia-ml.so.1 not found"),
            (driver.install, "[('GPU-a', 5.0, None)]"),
            (lambda: driver.reset("GPU-a", 1.0), "[('GPU-a', 1.0, None)]"),
            (lambda: driver.upgrade_kernel("590.10.01"), "different versions"),
            (lambda: driver.install("590.10.01"), "[('GPU-a', 1.0, None)]"),
            (lambda: driver.lose("GPU-a"), "[('GPU-a', None, 'GPU is lost (NVML 15)')]"),
            (lambda: driver.return_("GPU-a", counter_j=2.0), "[('GPU-a', 2.0, None)]"),
        ]
        for step, expected in steps:
            step()
            daemon.stdin.write("30\n")
            daemon.stdin.flush()
            assert expected in daemon.stdout.readline()
        daemon.stdin.close()
        assert daemon.wait(10) == 0
