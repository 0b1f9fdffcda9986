"""A machine with stand-in GPUs, read by an NvmlSource through the real nvidia-ml-py, and a clock set by hand."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.model import Instant, Reading
from agent.sources.nvml import NvmlSource
from agent.sources.nvml_device import Wants
from tests.fakes.nvml.driver import FakeDriver, FakeGpu

ENERGY = "nvmlDeviceGetTotalEnergyConsumption"
FIELDS = "nvmlDeviceGetFieldValues"
POWER = "nvmlDeviceGetPowerUsage"


class ManualClock:
    """Stands still until it is moved, or moves by step_s whenever it is looked at."""

    def __init__(self, step_s: float = 0.0) -> None:
        self.mono_s = 1000.0
        self.step_s = step_s

    def now(self) -> Instant:
        self.mono_s += self.step_s
        return Instant(self.mono_s, self.mono_s + 1.8e9)

    def wait_until(self, mono_s: float) -> bool:
        self.mono_s = max(self.mono_s, mono_s)
        return True


class Machine:
    def __init__(self, driver: FakeDriver, source: NvmlSource, clock: ManualClock) -> None:
        self.driver = driver
        self.source = source
        self.clock = clock

    def read(self) -> dict[str, Reading]:
        return {r.device.key: r for r in self.source.read()}

    def after(self, seconds: float) -> dict[str, Reading]:
        self.clock.mono_s += seconds
        return self.read()

    def asked(self, call: str, uuid: str | None = None) -> int:
        """How often the driver was asked this since forget_calls()."""
        return sum(1 for c, u, _ in self.driver.calls() if c == call and uuid in (None, u))


def two_gpus() -> list[FakeGpu]:
    return [FakeGpu("GPU-a", counter_j=1000.0), FakeGpu("GPU-b", counter_j=2000.0, name="NVIDIA A100-SXM4-80GB")]


@contextmanager
def machine(
    folder: Path,
    gpus: Sequence[FakeGpu] | None = None,
    *,
    preload: bool = True,
    clock: ManualClock | None = None,
    want_processes: Callable[[str], bool] = lambda _uuid: False,
    want_activity: Callable[[Collection[str]], bool] = lambda _uuids: False,
    want_residents: bool = False,
    deadline_s: float = 30.0,
) -> Iterator[Machine]:
    clock = clock or ManualClock()
    driver = FakeDriver(folder, two_gpus() if gpus is None else gpus)
    wants = Wants(want_processes, want_activity, want_residents)
    with driver.loaded(preload=preload):
        source = NvmlSource(clock, wants=wants, deadline_s=deadline_s)
        try:
            yield Machine(driver, source, clock)
        finally:
            driver.heal()
            source.close()


def skip_with_a_real_driver() -> None:
    """For tests of a machine without a driver: one that has it cannot play it."""
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return
    pytest.skip("this machine has an NVIDIA driver")
