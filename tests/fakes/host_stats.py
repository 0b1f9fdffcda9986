"""A machine whose CPU times a test sets."""

from __future__ import annotations

from agent.sources.host import CpuTimes


class FakeStats:
    def __init__(self, threads: int = 4, memory_bytes: int = 64_000_000_000) -> None:
        self.times = CpuTimes(user=10.0, nice=0.0, system=5.0, idle=100.0)
        self.thread_count = threads
        self.memory = memory_bytes
        self.cpu_error: Exception | None = None
        self.memory_error: Exception | None = None

    def pass_time(
        self, *, busy: float = 0.0, idle: float = 0.0, iowait: float = 0.0, steal: float = 0.0, irq: float = 0.0
    ) -> None:
        """CPU seconds of all threads together."""
        t = self.times
        self.times = CpuTimes(
            t.user + busy, t.nice, t.system, t.idle + idle, t.iowait + iowait, t.irq + irq, t.softirq, t.steal + steal
        )

    def cpu_times(self) -> CpuTimes:
        if self.cpu_error is not None:
            raise self.cpu_error
        return self.times

    def threads(self) -> int:
        return self.thread_count

    def memory_bytes(self) -> int:
        if self.memory_error is not None:
            raise self.memory_error
        return self.memory
