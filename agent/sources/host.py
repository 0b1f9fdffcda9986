"""CPU and memory where nothing measures them: an estimate from utilisation and the CPU's TDP, and labelled as one.

Which kinds are estimated is told by the caller, since a joule that RAPL counts must not be estimated as well. The
energy is this source's own count: estimated power at the true utilisation between two reads, times that time. The
first read only sets the start. Formulas and their sources are in tdp.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

from agent.model import Device, DeviceKind, Instant, Method, Reading
from agent.ports import Clock, Finding
from agent.sources.tdp import (
    DEFAULT_TDP_PER_THREAD_W,
    TdpTable,
    codecarbon_table,
    estimate_cpu_power_w,
    estimate_memory_power_w,
)

CPU = Device(DeviceKind.CPU, "host-cpu")
DRAM = Device(DeviceKind.DRAM, "host-dram")

STALE_S = 10.0  # CPU times that stand still for longer are no clock tick that was missed, but broken
BOUND_OVER_TDP = 1.5  # the estimate cannot exceed the TDP; this is the gate that it must pass
BYTES_PER_GB = 1e9

_FIX_PROC = 'the agent needs the machine\'s /proc (stat, cpuinfo, meminfo): mount it, or set sources.host = "off"'
_FIX_TDP = "set sources.cpu_tdp_w to what all CPUs of this machine together are rated for"


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Seconds of all threads together since boot, as /proc/stat has them. Time of guests is inside user and nice."""

    user: float
    nice: float
    system: float
    idle: float
    iowait: float = 0.0
    irq: float = 0.0
    softirq: float = 0.0
    steal: float = 0.0

    @property
    def busy_s(self) -> float:
        """Waiting for a disk is idle; stolen time ran someone else's machine."""
        return self.user + self.nice + self.system + self.irq + self.softirq

    @property
    def total_s(self) -> float:
        return self.busy_s + self.idle + self.iowait + self.steal


class HostStats(Protocol):
    """What is asked of psutil. Errors: OSError, RuntimeError, ValueError."""

    def cpu_times(self) -> CpuTimes: ...

    def threads(self) -> int: ...

    def memory_bytes(self) -> int: ...


class PsutilStats:
    """This machine."""

    def cpu_times(self) -> CpuTimes:
        t = psutil.cpu_times()
        rest = {name: float(getattr(t, name, 0.0)) for name in ("iowait", "irq", "softirq", "steal")}
        return CpuTimes(user=t.user, nice=getattr(t, "nice", 0.0), system=t.system, idle=t.idle, **rest)

    def threads(self) -> int:
        return psutil.cpu_count(logical=True) or 1

    def memory_bytes(self) -> int:
        return int(psutil.virtual_memory().total)


@dataclass(frozen=True, slots=True)
class CpuInfo:
    """What /proc/cpuinfo says. virtual: a hypervisor is underneath, so these are only some of the CPU's threads."""

    model: str = ""
    threads: int = 1
    sockets: int = 1
    virtual: bool = False


def parse_cpuinfo(text: str) -> CpuInfo:
    """The text of /proc/cpuinfo. An ARM kernel names no model; then model is ""."""
    model, virtual, threads, packages = "", False, 0, set()
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        key, value = key.strip().lower(), value.strip()
        if not colon:
            continue
        if key == "processor":
            threads += 1
        elif key == "model name" and not model:
            model = value
        elif key == "physical id":
            packages.add(value)
        elif key == "flags" and not virtual:
            virtual = "hypervisor" in value.split()
    return CpuInfo(model, max(1, threads), max(1, len(packages)), virtual)


@dataclass(frozen=True, slots=True)
class CpuPower:
    """The TDP that this machine's share of its CPUs stands for, and how it is known."""

    tdp_w: float
    how: str
    known: bool = True


_CORES = re.compile(r"\b(\d+)-cores?\b", re.IGNORECASE)


def cpu_power(info: CpuInfo, table: TdpTable | None, override_w: float | None = None) -> CpuPower:
    """Watts of all CPUs that the operating system sees. A guest has only its own threads of the model; how many the
    whole model has is known only where its name says so ("64-Core", two threads each)."""
    if override_w is not None:
        return CpuPower(override_w, f"{override_w:g} W from sources.cpu_tdp_w")
    default_w = DEFAULT_TDP_PER_THREAD_W * info.threads
    default = f"{info.threads} threads x {DEFAULT_TDP_PER_THREAD_W:g} W = {default_w:g} W"
    model = info.model or "unnamed CPU"
    entry = table.find(info.model) if table is not None and info.model else None
    if entry is None:
        why = "CodeCarbon's CPU table is not installed" if table is None else f"no TDP known for {model}"
        return CpuPower(default_w, f"{why}: {default}", known=False)
    if not info.virtual:
        tdp_w = entry.tdp_w * info.sockets
        return CpuPower(tdp_w, f"{info.sockets} x {entry.name}, TDP {entry.tdp_w:g} W")
    cores = _CORES.search(info.model)
    if cores is not None and int(cores[1]) > 0:
        share = info.threads / (2 * int(cores[1]))
        tdp_w = entry.tdp_w * max(share, 0.0)
        return CpuPower(tdp_w, f"virtual: {info.threads} of {2 * int(cores[1])} threads of {entry.name}, {tdp_w:.3g} W")
    if entry.tdp_w < default_w:
        return CpuPower(entry.tdp_w, f"virtual: {entry.name}, TDP {entry.tdp_w:g} W")
    return CpuPower(default_w, f"virtual, and how many threads {entry.name} has is not known: {default}", known=False)


class HostSource:
    """Estimates the kinds it is told to. kinds may be changed while it runs."""

    def __init__(
        self,
        clock: Clock,
        *,
        kinds: frozenset[DeviceKind] = frozenset({DeviceKind.CPU, DeviceKind.DRAM}),
        stats: HostStats | None = None,
        proc: Path = Path("/proc"),
        cpu_tdp_w: float | None = None,
        table: Callable[[], TdpTable | None] = codecarbon_table,
    ) -> None:
        self._clock = clock
        self._kinds = kinds
        self._stats = stats if stats is not None else PsutilStats()
        self._proc = proc
        self._cpu_tdp_w = cpu_tdp_w
        self._table = table
        self._info: CpuInfo | None = None
        self._power: CpuPower | None = None
        self._memory_w: float | None = None
        self._cpu_from: tuple[Instant, CpuTimes] | None = None
        self._dram_from: Instant | None = None
        self._utilisation = 0.0
        self._cpu_j = 0.0
        self._cpu_w: float | None = None
        self._dram_j = 0.0

    @property
    def name(self) -> str:
        return "host"

    @property
    def kinds(self) -> frozenset[DeviceKind]:
        return self._kinds

    def set_kinds(self, kinds: frozenset[DeviceKind]) -> None:
        """From the next read on. A kind that comes back starts anew: the time without it is not estimated."""
        if DeviceKind.CPU not in kinds:
            self._cpu_from = self._cpu_w = None
        if DeviceKind.DRAM not in kinds:
            self._dram_from = None
        self._kinds = kinds

    def probe(self) -> Sequence[Finding]:
        findings = []
        if DeviceKind.CPU in self._kinds:
            findings.append(self._probe_cpu())
        if DeviceKind.DRAM in self._kinds:
            findings.append(self._probe_memory())
        return findings

    def read(self) -> Sequence[Reading]:
        """Never raises: what psutil does not say is an error of its device."""
        now = self._clock.now()
        readings = []
        if DeviceKind.CPU in self._kinds:
            readings.append(self._read_cpu(now))
        if DeviceKind.DRAM in self._kinds:
            readings.append(self._read_memory(now))
        return tuple(readings)

    def close(self) -> None:
        """Nothing is held open."""

    def _probe_cpu(self) -> Finding:
        kind, method = DeviceKind.CPU, Method.ESTIMATED
        try:
            self._stats.cpu_times()
        except (OSError, RuntimeError, ValueError) as error:
            detail = f"CPU times cannot be read: {error}"
            return Finding(CPU.key, ok=False, kind=kind, method=method, detail=detail, fix=_FIX_PROC)
        power = self._cpu_power()
        detail = f"estimated from utilisation and TDP, +-50%: {power.how}"
        return Finding(CPU.key, ok=True, kind=kind, method=method, detail=detail, fix="" if power.known else _FIX_TDP)

    def _probe_memory(self) -> Finding:
        kind, method = DeviceKind.DRAM, Method.ESTIMATED
        try:
            power_w = self._memory_power_w()
        except (OSError, RuntimeError, ValueError) as error:
            detail = f"the size of memory cannot be read: {error}"
            return Finding(DRAM.key, ok=False, kind=kind, method=method, detail=detail, fix=_FIX_PROC)
        detail = f"estimated from its size, constant: {power_w:.1f} W"
        return Finding(DRAM.key, ok=True, kind=kind, method=method, detail=detail)

    def _read_cpu(self, now: Instant) -> Reading:
        try:
            times = self._stats.cpu_times()
        except (OSError, RuntimeError, ValueError) as error:
            return Reading(CPU, now, estimated=True, error=f"CPU times cannot be read: {error}")
        power = self._cpu_power()
        if self._cpu_from is None:
            self._cpu_from = (now, times)
            return self._cpu_reading(now, power)
        then, before = self._cpu_from
        seconds = now.mono_s - then.mono_s
        passed_s = times.total_s - before.total_s
        if passed_s == 0 or seconds <= 0:
            # Sooner than the kernel's clock tick: the next read covers this time too.
            if seconds > STALE_S:
                return Reading(CPU, now, estimated=True, error="the machine's CPU times stand still")
            return self._cpu_reading(now, power)
        if passed_s > 0:  # backwards (a CPU taken offline): the load is taken to be what it was
            self._utilisation = min(1.0, max(0.0, (times.busy_s - before.busy_s) / passed_s))
        self._cpu_w = estimate_cpu_power_w(self._utilisation, power.tdp_w)
        self._cpu_j += self._cpu_w * seconds
        self._cpu_from = (now, times)
        return self._cpu_reading(now, power)

    def _cpu_reading(self, now: Instant, power: CpuPower) -> Reading:
        return Reading(
            CPU,
            now,
            energy_j=self._cpu_j,
            power_w=self._cpu_w,
            max_power_w=power.tdp_w * BOUND_OVER_TDP,
            estimated=True,
            name=self._cpuinfo().model,
        )

    def _read_memory(self, now: Instant) -> Reading:
        try:
            power_w = self._memory_power_w()
        except (OSError, RuntimeError, ValueError) as error:
            return Reading(DRAM, now, estimated=True, error=f"the size of memory cannot be read: {error}")
        if self._dram_from is not None:
            self._dram_j += power_w * max(0.0, now.mono_s - self._dram_from.mono_s)
        self._dram_from = now
        bound_w = power_w * BOUND_OVER_TDP
        return Reading(DRAM, now, energy_j=self._dram_j, power_w=power_w, max_power_w=bound_w, estimated=True)

    def _cpuinfo(self) -> CpuInfo:
        if self._info is None:
            try:
                info = parse_cpuinfo((self._proc / "cpuinfo").read_text(encoding="utf-8", errors="replace"))
            except OSError:
                info = CpuInfo(threads=self._stats.threads())
            self._info = info
        return self._info

    def _cpu_power(self) -> CpuPower:
        if self._power is None:
            # The table is let go after the one look-up.
            table = self._table() if self._cpu_tdp_w is None else None
            self._power = cpu_power(self._cpuinfo(), table, self._cpu_tdp_w)
        return self._power

    def _memory_power_w(self) -> float:
        if self._memory_w is None:
            memory_gb = self._stats.memory_bytes() / BYTES_PER_GB
            self._memory_w = estimate_memory_power_w(memory_gb, virtual=self._cpuinfo().virtual)
        return self._memory_w
