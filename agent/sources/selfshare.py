"""What the agent itself costs: its own CPU seconds against the machine's."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from agent.sources.host import HostStats, PsutilStats
from agent.sources.tdp import IDLE_SHARE, PEAK_SHARE

FLOOR_SHARE = IDLE_SHARE / PEAK_SHARE  # of full power that a CPU draws with nothing to do


def self_energy_j(cpu_energy_j: float, own_cpu_s: float, busy_cpu_s: float, total_cpu_s: float | None = None) -> float:
    """The process's part of the CPU's energy in an interval, J; all CPU seconds are of that interval.

    total_cpu_s is what all threads together could have used. With it the part of the energy that flows whatever runs
    is shared by total_cpu_s, and only the rest by busy_cpu_s: on an idle machine the agent is all that is busy, and
    yet not the reason why the CPU draws power. Without it everything is shared by busy_cpu_s. Never more than
    cpu_energy_j; 0 where nothing was busy.
    """
    if busy_cpu_s <= 0 or own_cpu_s <= 0 or cpu_energy_j <= 0:
        return 0.0
    of_busy = min(1.0, own_cpu_s / busy_cpu_s)
    if total_cpu_s is None or total_cpu_s <= 0:
        return cpu_energy_j * of_busy
    utilisation = min(1.0, busy_cpu_s / total_cpu_s)
    active = (1 - FLOOR_SHARE) * utilisation
    active /= FLOOR_SHARE + active
    return cpu_energy_j * (active * of_busy + (1 - active) * of_busy * utilisation)


@dataclass(frozen=True, slots=True)
class CpuSeconds:
    """Counters since some start: take differences."""

    own_s: float
    busy_s: float
    total_s: float


def own_cpu_s() -> float:
    """CPU seconds of this process, user and kernel. One call to the kernel: psutil reads and parses a file."""
    times = os.times()
    return times.user + times.system


class SelfCpu:
    """Reads both sides at once."""

    def __init__(self, stats: HostStats | None = None, own_s: Callable[[], float] = own_cpu_s) -> None:
        self._stats = stats if stats is not None else PsutilStats()
        self._own_s = own_s

    def read(self) -> CpuSeconds | None:
        """None: the machine does not say."""
        try:
            times = self._stats.cpu_times()
            return CpuSeconds(self._own_s(), times.busy_s, times.total_s)
        except (OSError, RuntimeError, ValueError, psutil.Error):
            return None
