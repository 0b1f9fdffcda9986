"""Drives the stand-in libnvidia-ml.so.1 (fake_nvml.c), which the real nvidia-ml-py loads.

In the test's own process:

    driver = FakeDriver(tmp_path, [FakeGpu("GPU-a", power_w=300.0), FakeGpu("GPU-b")])
    with driver.loaded():                    # CDLL("libnvidia-ml.so.1") now finds the stand-in
        ... NvmlSource(...).read() ...
        driver.set_power("GPU-a", 650.0)

For a daemon in a process of its own:

    subprocess.Popen(["joulecar", "run", ...], env={**os.environ, **driver.env()})
    driver.uninstall()                       # before the start: a machine without a driver; install() brings it
    driver.set_power("GPU-a", 650.0); driver.reset("GPU-a"); driver.lose("GPU-a"); driver.return_("GPU-a", index=0)
    driver.used_j("GPU-a", start_s, end_s)   # the truth: joules that flowed between two CLOCK_MONOTONIC moments

Every change happens at one instant for all readers (the state file is read and written under a lock), and counters
run on by CLOCK_MONOTONIC between changes. used_j() integrates the power that was set, resets and losses or not, so it
is what a perfect meter would have booked; counter_j() is what the driver's counter shows.

cc is needed; the library is built once and kept under build/ in the checkout, by the hash of its source.
"""

from __future__ import annotations

import _ctypes
import ctypes
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("fake_nvml.c")
BUILD = Path(__file__).resolve().parents[3] / "build" / "fake-nvml"
SONAME = "libnvidia-ml.so.1"
STATE_VARIABLE = "JOULECAR_FAKE_NVML_STATE"
VERSION = "580.65.06"

NOT_SUPPORTED = 3
GPU_IS_LOST = 15
VALUE_TYPE_UNSIGNED_INT = 1


@dataclass
class FakeGpu:
    """One GPU as the stand-in shows it. Change it through FakeDriver, not directly, once a driver has it."""

    uuid: str
    power_w: float = 0.0
    counter_j: float = 1000.0  # the energy counter at `since_s`
    name: str = "NVIDIA H100 80GB HBM3"
    limit_w: float = 700.0  # enforced now
    max_limit_w: float = 700.0  # the highest that an administrator can set
    counter_gain: float = 1.0  # the counter counts this times the power; 0: it stands still
    counter_step_s: float = 0.0  # the counter moves in steps of this, as real ones do (0.02 to 0.1)
    mig: int = 0  # -1: the GPU has no MIG; 0 off; 1 on
    instances: tuple[tuple[str, int], ...] = ()  # of MIG: UUID, memory in MiB; "" is a free slot
    gpm: bool = False  # whether its performance can be monitored, as on Hopper and newer
    busy: dict[str, float] = field(default_factory=dict)  # by instance: share of its SMs that is busy
    sms: dict[str, int] = field(default_factory=dict)  # by instance
    gpu_instance: dict[str, int] = field(default_factory=dict)  # by instance: the driver's number; else its own
    slices: dict[str, tuple[int, int]] = field(default_factory=dict)  # by instance: the GPU instance's, and its own
    residents: dict[str, tuple[int, ...]] = field(default_factory=dict)  # by instance: processes with memory there
    busy_s: dict[str, float] = field(default_factory=dict)  # by instance, at `since_s`
    arch: int = 9
    field_return: int = 0  # nvmlReturn of POWER_INSTANT (186) inside a field call that itself succeeds
    field_type: int = VALUE_TYPE_UNSIGNED_INT  # its valueType
    processes: tuple[tuple[int, int, int], ...] = ()  # pid, SM utilisation in percent, time in us; 0: just now
    errors: dict[str, int] = field(default_factory=dict)  # NVML function or "*" -> code
    delays_ms: dict[str, float] = field(default_factory=dict)  # NVML function or "*" -> ms
    since_s: float = 0.0
    used: list[tuple[float, float]] = field(default_factory=list)  # power_w from each moment on

    def shows_j(self, at_s: float) -> float:
        return self.counter_j + self.counter_gain * self.power_w * (at_s - self.since_s)

    def go_on(self, now_s: float) -> None:
        """Bring the counters up to now."""
        for uuid, share in self.busy.items():
            self.busy_s[uuid] = self.busy_s.get(uuid, 0.0) + share * (now_s - self.since_s)
        self.counter_j, self.since_s = self.shows_j(now_s), now_s

    def lines(self) -> list[str]:
        lines = [
            f"gpu {self.uuid}",
            f"name {self.name}",
            f"since {self.since_s!r}",
            f"base_mj {self.counter_j * 1000!r}",
            f"mw {self.power_w * 1000!r}",
            f"gain {self.counter_gain!r}",
            f"step_s {self.counter_step_s!r}",
            f"limit_mw {round(self.limit_w * 1000)}",
            f"max_limit_mw {round(self.max_limit_w * 1000)}",
            f"mig {self.mig}",
            f"arch {self.arch}",
            f"field_return {self.field_return}",
            f"field_type {self.field_type}",
        ]
        lines.append(f"gpm {int(self.gpm)}")
        for n, (uuid, memory_mb) in enumerate(self.instances):
            slices, own = self.slices.get(uuid, (1, 1))
            counts = f"{self.gpu_instance.get(uuid, n + 1)} {self.sms.get(uuid, 0)} {slices} {own}"
            busy = f"{self.busy_s.get(uuid, 0.0)!r} {self.busy.get(uuid, 0.0)!r}"
            lines.append(f"instance {uuid or '-'} {memory_mb} {counts} {busy}")
            lines += [f"resident {pid}" for pid in self.residents.get(uuid, ())]
        lines += [f"process {pid} {sm} {at_us}" for pid, sm, at_us in self.processes]
        lines += [f"error {call} {code}" for call, code in self.errors.items()]
        return lines + [f"delay_ms {call} {ms}" for call, ms in self.delays_ms.items()]


class FakeDriver:
    """The driver of a machine with some GPUs; their order is their index.

    folder: holds the state, the log of calls and, while the driver is installed, the library.
    """

    def __init__(self, folder: Path, gpus: Sequence[FakeGpu] = (), *, log_calls: bool = True) -> None:
        self.folder = folder
        self.state = folder / "nvml-state"
        self.library_folder = folder / "nvml-lib"
        self.library_folder.mkdir(parents=True, exist_ok=True)
        self._calls = folder / "nvml-calls" if log_calls else None
        self._gpus: list[FakeGpu] = []
        self._away: dict[str, FakeGpu] = {}
        self._errors: dict[str, int] = {}
        self._delays_ms: dict[str, float] = {}
        self._kernel = VERSION
        self._preloaded: ctypes.CDLL | None = None
        self.state.touch()
        with self._changing() as now_s:
            for gpu in gpus:
                _begin(gpu, now_s)
                self._gpus.append(gpu)
        self.install()

    # -- where it is found

    def install(self, version: str = VERSION) -> None:
        """Put the library where env() points."""
        target = self.library_folder / SONAME
        shutil.copy(build_library(version), target.with_suffix(".new"))
        target.with_suffix(".new").replace(target)

    def uninstall(self) -> None:
        """Take the library away: for a process that starts now there is no driver."""
        (self.library_folder / SONAME).unlink(missing_ok=True)

    def upgrade_kernel(self, version: str) -> None:
        """The kernel module is of another version from now on: every call fails with 18 until the library of that
        version is loaded (install(version), and in this process preload() again)."""
        with self._changing():
            self._kernel = version

    def env(self) -> dict[str, str]:
        """What a process needs in its environment, over its parent's, to find this driver."""
        paths = [str(self.library_folder), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
        return {"LD_LIBRARY_PATH": os.pathsep.join(paths), STATE_VARIABLE: str(self.state)}

    @contextmanager
    def loaded(self, *, preload: bool = True) -> Iterator[FakeDriver]:
        """In this process, dlopen finds this driver, and afterwards none, whatever the test has left open.

        preload=False: as on a machine without a driver, until preload() is called.
        """
        before = os.environ.get(STATE_VARIABLE)
        os.environ[STATE_VARIABLE] = str(self.state)
        try:
            if preload:
                self.preload()
            yield self
        finally:
            self.heal()  # lets go of a call that still hangs
            forget_nvml()
            self.unload()
            if before is None:
                del os.environ[STATE_VARIABLE]
            else:
                os.environ[STATE_VARIABLE] = before

    def preload(self) -> None:
        """Load the installed library by its path: dlopen by name then finds it by its SONAME."""
        self.unload()
        self._preloaded = ctypes.CDLL(str(self.library_folder / SONAME))

    def unload(self) -> None:
        """Undo preload(): it stays in memory only if somebody else has it open."""
        if self._preloaded is not None:
            _ctypes.dlclose(self._preloaded._handle)
            self._preloaded = None

    # -- what it says

    def set_power(self, uuid: str, power_w: float) -> None:
        with self._changing() as now_s:
            gpu = self._gpu(uuid)
            gpu.power_w = power_w
            gpu.used.append((now_s, power_w))

    def add_energy(self, uuid: str, energy_j: float) -> None:
        """The counter jumps by this much; used_j() does not count it."""
        with self._changing():
            self._gpu(uuid).counter_j += energy_j

    def reset(self, uuid: str, to_j: float = 0.0) -> None:
        """The counter starts again, as after a driver reload."""
        with self._changing():
            self._gpu(uuid).counter_j = to_j

    def change(self, uuid: str, **fields: object) -> None:
        """Set any other field of FakeGpu: limit_w, counter_gain, field_return, mig, processes ..."""
        with self._changing():
            gpu = self._gpu(uuid)
            for name, value in fields.items():
                if not hasattr(gpu, name):
                    raise AttributeError(f"FakeGpu has no {name}")
                setattr(gpu, name, value)

    def no_energy_counter(self, uuid: str) -> None:
        self.fail("nvmlDeviceGetTotalEnergyConsumption", NOT_SUPPORTED, uuid)

    def fail(self, call: str, code: int, uuid: str | None = None) -> None:
        """call ("*": every one) answers with this NVML code, for one GPU or the whole driver; 0 heals it."""
        with self._changing():
            (self._gpu(uuid).errors if uuid else self._errors)[call] = code

    def slow(self, ms: float, call: str = "*", uuid: str | None = None) -> None:
        """call takes this long from now on. Calls that hang already end when it is set back to 0."""
        with self._changing():
            (self._gpu(uuid).delays_ms if uuid else self._delays_ms)[call] = ms

    def heal(self) -> None:
        """No more failures and delays anywhere. GPUs that were removed stay away."""
        with self._changing():
            for gpu in [*self._gpus, *self._away.values()]:
                gpu.errors.clear()
                gpu.delays_ms.clear()
            self._errors.clear()
            self._delays_ms.clear()

    def lose(self, uuid: str) -> None:
        """The GPU falls off the bus: it is still enumerated, and every call about it says 15."""
        self.fail("*", GPU_IS_LOST, uuid)

    def remove(self, uuid: str) -> None:
        """The GPU is not enumerated any more; the ones after it move down by an index."""
        with self._changing():
            gpu = self._gpu(uuid)
            self._gpus.remove(gpu)
            self._away[uuid] = gpu

    def return_(self, uuid: str, *, index: int | None = None, counter_j: float | None = None) -> None:
        """A lost or removed GPU is back, at another index if one is given, with another counter if one is given."""
        with self._changing():
            gpu = self._away.pop(uuid, None) or self._gpu(uuid)
            gpu.errors.pop("*", None)
            if counter_j is not None:
                gpu.counter_j = counter_j
            if gpu in self._gpus and index is not None:
                self._gpus.remove(gpu)
            if gpu not in self._gpus:
                self._gpus.insert(len(self._gpus) if index is None else index, gpu)

    def add(self, gpu: FakeGpu, *, index: int | None = None) -> None:
        """A GPU that was not there before."""
        with self._changing() as now_s:
            _begin(gpu, now_s)
            self._gpus.insert(len(self._gpus) if index is None else index, gpu)

    # -- the truth

    def used_j(self, uuid: str, start_s: float, end_s: float) -> float:
        """Joules that flowed between two moments of CLOCK_MONOTONIC: the integral of the power that was set."""
        used = self._gpu(uuid).used
        ends = [at_s for at_s, _ in used[1:]] + [max(end_s, start_s)]
        return sum(
            power_w * max(0.0, min(until_s, end_s) - max(from_s, start_s))
            for (from_s, power_w), until_s in zip(used, ends, strict=True)
        )

    def counter_j(self, uuid: str, at_s: float | None = None) -> float:
        """What the counter shows, now or at a moment since the last change."""
        return self._gpu(uuid).shows_j(time.monotonic() if at_s is None else at_s)

    def calls(self) -> list[tuple[str, str, int]]:
        """Every call since forget_calls(): the function, the GPU's UUID or "-", and the code answered."""
        if self._calls is None or not self._calls.exists():
            return []
        rows = [line.split() for line in self._calls.read_text().splitlines()]
        return [(call, uuid, int(code)) for call, uuid, code in rows]

    def forget_calls(self) -> None:
        if self._calls is not None:
            self._calls.unlink(missing_ok=True)

    def _gpu(self, uuid: str) -> FakeGpu:
        for gpu in [*self._gpus, *self._away.values()]:
            if gpu.uuid == uuid:
                return gpu
        raise KeyError(f"no GPU {uuid}")

    @contextmanager
    def _changing(self) -> Iterator[float]:
        """Bring the counters up to now, let the caller change things, write the state: all under the lock, so that
        no reader sees a counter of before the change at a moment after it."""
        with self.state.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            now_s = time.monotonic()
            for gpu in [*self._gpus, *self._away.values()]:
                gpu.go_on(now_s)
            yield now_s
            lines = [f"kernel {self._kernel}"]
            if self._calls is not None:
                lines.append(f"calls {self._calls}")
            lines += [f"error {call} {code}" for call, code in self._errors.items()]
            lines += [f"delay_ms {call} {ms}" for call, ms in self._delays_ms.items()]
            for gpu in self._gpus:
                lines += gpu.lines()
            file.seek(0)
            file.truncate()
            file.write("\n".join(lines) + "\n")


def _begin(gpu: FakeGpu, now_s: float) -> None:
    gpu.since_s = now_s
    gpu.used = [(now_s, gpu.power_w)]


def build_library(version: str = VERSION) -> Path:
    """The stand-in library, compiled if it is not there yet. Fails with what to install where cc is missing."""
    source = SOURCE.read_bytes()
    digest = hashlib.sha256(source + version.encode()).hexdigest()[:16]
    target = BUILD / f"{digest}.so"
    if target.exists():
        return target
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise RuntimeError("the stand-in NVIDIA driver needs a C compiler: apt-get install gcc libc6-dev")
    BUILD.mkdir(parents=True, exist_ok=True)
    partial = BUILD / f"{digest}.{os.getpid()}.tmp"
    command = [compiler, "-shared", "-fPIC", "-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror"]
    command += [f"-Wl,-soname,{SONAME}", f'-DLIBRARY_VERSION="{version}"', "-o", str(partial), str(SOURCE), "-lm"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if result.returncode != 0:
        raise RuntimeError(f"the stand-in NVIDIA driver does not compile:\n{result.stderr}")
    partial.replace(target)
    return target


def forget_nvml() -> None:
    """Bring nvidia-ml-py of this process back to its state before the first nvmlInit, and drop its library."""
    pynvml: Any = sys.modules.get("pynvml")
    if pynvml is None:
        return
    library = pynvml.nvmlLib
    pynvml.nvmlLib = None
    pynvml._nvmlGetFunctionPointer_cache.clear()
    pynvml._nvmlLib_refcount = 0
    if library is not None:
        _ctypes.dlclose(library._handle)


def is_loaded() -> bool:
    """Whether any libnvidia-ml is mapped into this process."""
    return "libnvidia-ml" in Path("/proc/self/maps").read_text()
