"""A powercap counter that runs by the clock, in the test's own process, for a daemon in another one."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from pathlib import Path
from types import TracebackType

STEP_S = 0.01  # how often it is written; hardware counts every millisecond


class RunningCounter:
    """Writes zone/energy_uj inside the `with` block. zone: a folder that PowercapTree.zone() made."""

    def __init__(self, zone: Path, power_w: float, energy_j: float) -> None:
        """energy_j: where the counter stands at first."""
        self._file = zone / "energy_uj"
        range_uj = int((zone / "max_energy_range_uj").read_text())
        self._wraps_at_uj = range_uj + round(range_uj / (2**32 - 1))  # the range is one unit less
        self._power_w = power_w
        self._shown_j = energy_j
        self._used: list[tuple[float, float]] = [(time.monotonic(), 0.0)]
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._step()

    def __enter__(self) -> RunningCounter:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def reset(self, to_j: float = 0.0) -> None:
        """As after a kernel's restart, or a driver's reload."""
        with self._lock:
            self._shown_j = to_j

    def set_power(self, power_w: float) -> None:
        """From now on."""
        self._step()
        with self._lock:
            self._power_w = power_w

    def used_j(self, start_s: float, end_s: float) -> float:
        """Joules that flowed between two moments of CLOCK_MONOTONIC, as far as they were written by then."""
        with self._lock:
            until = [
                self._used[max(0, bisect_right(self._used, (at_s, float("inf"))) - 1)][1] for at_s in (start_s, end_s)
            ]
        return until[1] - until[0]

    def _run(self) -> None:
        while not self._stop.wait(STEP_S):
            self._step()

    def _step(self) -> None:
        with self._lock:
            now_s = time.monotonic()
            last_s, used_j = self._used[-1]
            grown_j = self._power_w * (now_s - last_s)
            self._shown_j += grown_j
            new = self._file.with_name("energy_uj.new")
            new.write_text(f"{round(self._shown_j * 1e6) % self._wraps_at_uj}\n")
            new.replace(self._file)  # a reader sees the old value or the new one, never half of one
            self._used.append((now_s, used_j + grown_j))
