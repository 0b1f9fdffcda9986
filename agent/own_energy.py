"""The agent's own energy: its part of what the CPUs used, by CPU seconds."""

from __future__ import annotations

from collections.abc import Callable

from agent.books import Books
from agent.model import DeviceKind, Ledger
from agent.sources.selfshare import CpuSeconds, self_energy_j

EVERY_S = 5.0  # how often the CPU seconds are read: with many processors that takes the kernel a millisecond


class OwnEnergy:
    """Asked at every tick, by one thread; reads once in EVERY_S."""

    def __init__(self, read: Callable[[], CpuSeconds | None], interval_s: float) -> None:
        """read: CPU seconds so far of the agent and of the machine; None: not known. interval_s: between two ticks."""
        self._read = read
        self._every_s = EVERY_S - interval_s / 2  # a tick may come a little early
        self._due_s = float("-inf")
        self._cpu: CpuSeconds | None = None  # when it was read last ...
        self._ledger = Ledger()  # ... and the totals of that moment
        self.total_j: float | None = None  # None: never known

    def count(self, now: Books, *, is_last: bool = False) -> None:
        """Add what was used since the last reading, if one is due. is_last: it is due in any case."""
        if now.at.mono_s < self._due_s and not is_last:
            return
        self._due_s = now.at.mono_s + self._every_s
        last, cpu, before_j = self._cpu, self._read(), self._ledger.device_energy_j
        self._cpu, self._ledger = cpu, now.ledger
        if last is None or cpu is None:
            return
        energy_j = now.ledger.device_energy_j
        used_j = sum(joules - before_j.get(d, 0.0) for d, joules in energy_j.items() if d.kind is DeviceKind.CPU)
        own_j = self_energy_j(used_j, cpu.own_s - last.own_s, cpu.busy_s - last.busy_s, cpu.total_s - last.total_s)
        self.total_j = (self.total_j or 0.0) + own_j
