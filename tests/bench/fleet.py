"""A thousand agents of 8 GPUs: series, bytes, memory, and the time of the fleet's queries with and without its rules.

Takes some ten minutes and two gigabytes of memory. JOULECAR_FLEET=AGENTS,SCRAPES runs another size.
"""

from __future__ import annotations

import os
import tempfile
from itertools import islice
from pathlib import Path

from tests.bench.harness import Row, print_table
from tests.fleet.fleet import EVERY_S, kinds
from tests.fleet.machine import GPUS, PLAIN, pages
from tests.fleet.simulation import Figures, Timed, simulate

AGENTS, SCRAPES = 1000, 61
KINDS = 20
SHOWN_S = 600.0
FLEET_GPUS = 100_000
DAY_S = 86_400.0


def run() -> None:
    count, rounds = map(int, os.environ.get("JOULECAR_FLEET", f"{AGENTS},{SCRAPES}").split(","))
    with tempfile.TemporaryDirectory() as work:
        every = f"{max(1, count // 333)}s"
        seen = simulate(Path(work), count, rounds, of_kinds=KINDS, every=every, shown_s=SHOWN_S)
    print_table(f"{count} agents of {GPUS} GPUs and 2 engines, {rounds} scrapes {EVERY_S:g} s apart", _storage(seen))
    print_table("The fleet dashboard's queries over 10 minutes, each once, in seconds", _queries(seen))
    print_table(f"From there to {FLEET_GPUS:,} GPUs, in proportion", _extrapolated(seen))


def _storage(seen: Figures) -> list[Row]:
    plain = next(islice(pages(kinds(1, PLAIN)[0], 1.79e9, EVERY_S), seen.rounds, None))  # with all its windows
    return [
        Row("series of an agent", seen.series_per_agent, "", "prices, embodied carbon, water and two budgets on"),
        Row("series of an agent", sum(not line.startswith(b"#") for line in plain.splitlines()), "", "energy, grams"),
        Row("series in all", seen.series, "", "with up and its kin"),
        Row("recorded series", seen.recorded_series, "", "rules over 5 minutes"),
        Row("samples", seen.samples, "", f"taken in within {seen.fed_s:.0f} s"),
        Row("Prometheus, chunks", seen.chunk_bytes_per_sample, "B", "a sample"),
        Row("Prometheus, index", seen.index_bytes_per_series, "B", "a series and block"),
        Row(
            "Prometheus, resident", seen.resident_bytes / seen.series, "B", f"a series; {seen.resident_bytes:,} in all"
        ),
        Row("VictoriaMetrics, all files", seen.victoria_bytes_per_sample, "B", "a sample, index and all"),
        Row("VictoriaMetrics, resident", seen.victoria_resident_bytes / seen.series, "B", "a series"),
    ]


def _queries(seen: Figures) -> list[Row]:
    def rows(name: str, timed: Timed) -> list[Row]:
        title, worst_s = timed.worst
        return [Row(name, timed.all_s, "s", f"slowest: {title}, {worst_s:.2f} s")]

    return [
        *rows("Prometheus, without rules", seen.before),
        *rows("Prometheus, with rules", seen.after),
        *rows("VictoriaMetrics, without rules", seen.victoria_before),
        *rows("VictoriaMetrics, with rules", seen.victoria_after),
        Row("furthest apart", seen.furthest, "", "with and without rules, relative"),
    ]


def _extrapolated(seen: Figures) -> list[Row]:
    times = FLEET_GPUS / (GPUS * seen.agents)
    series = times * seen.series
    samples_per_s = series / EVERY_S
    prometheus_b = samples_per_s * DAY_S * seen.chunk_bytes_per_sample + series * seen.index_bytes_per_series
    victoria_b = samples_per_s * DAY_S * seen.victoria_bytes_per_sample
    return [
        Row("agents", FLEET_GPUS / GPUS, ""),
        Row("series", series / 1e6, "M"),
        Row("samples", samples_per_s / 1e3, "k/s", f"every {EVERY_S:g} s"),
        Row("Prometheus, disk", prometheus_b / 1e9, "GB/day", "one index a day, once blocks are compacted"),
        Row("VictoriaMetrics, disk", victoria_b / 1e9, "GB/day"),
        Row("Prometheus, memory", series * seen.resident_bytes / seen.series / 1e9, "GB", "in proportion"),
    ]
