"""Timing and tables for the benchmarks."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of a table; ratio is against the row named baseline of the same run."""

    name: str
    value: float
    unit: str
    note: str = ""


def median_s(work: Callable[[], object], *, repeat: int = 15) -> float:
    """Median seconds of one call, after one warm-up."""
    work()
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def print_table(title: str, rows: Sequence[Row], *, baseline: str = "") -> None:
    """A table on stdout; ratio = baseline / value, so more is better where less is better."""
    base = next((r.value for r in rows if r.name == baseline), None)
    print(f"\n{title}")
    width = max(len(r.name) for r in rows)
    for r in rows:
        ratio = f"{base / r.value:9.1f}x" if base is not None and r.value else " " * 10
        print(f"  {r.name:<{width}}  {r.value:>12.4g} {r.unit:<6} {ratio}  {r.note}")
