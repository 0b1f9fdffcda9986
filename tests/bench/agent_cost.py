"""What the agent itself costs: the real daemon beside 8 stand-in GPUs at 1 s, RAPL, and two vLLM pages at 5 s.

JOULECAR_BENCH_SECONDS shortens it from ten minutes. CPU is that of the whole process, kernel included, from the
first scrape on; the scrapes, one every 5 s, are part of it.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.harness import Row, print_table
from tests.bench.rig import Daemon, Rig, daemon, free_port, joulecar, rig, scrape, total

SECONDS = 600.0
SCRAPE_EVERY_S = 5.0
SETTLE_S = 8.0  # a window, and the scrape of an engine that tells of it


def run() -> None:
    seconds = float(os.environ.get("JOULECAR_BENCH_SECONDS", SECONDS))
    print(f"measuring the agent for {seconds:g} s; JOULECAR_BENCH_SECONDS=60 is shorter", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder, rig(Path(folder)) as machine:
        port = free_port()
        with daemon(joulecar(machine, port), machine.env(), Path(folder) / "log") as agent:
            start_s = agent.wait_for(lambda: scrape(port) is not None)
            start_cpu_s = agent.cpu_s()
            time.sleep(SETTLE_S)
            rows = _measure(machine, agent, port, seconds)
            stop_s = agent.stop()
    rows += [
        Row("start to first scrape", start_s, "s", f"{start_cpu_s:.2f} s of CPU; target 1.5 s"),
        Row("stop", stop_s, "s", "SIGTERM to exit; target 2 s"),
    ]
    print_table(f"The agent's own cost: 8 GPUs at 1 s, 4 RAPL zones, 2 vLLM pages at 5 s, for {seconds:g} s", rows)


def _measure(machine: Rig, agent: Daemon, port: int, seconds: float) -> list[Row]:
    resident_mb, scrape_ms = [agent.resident_mb()], []
    began_s, began_cpu_s = time.perf_counter(), agent.cpu_s()
    machine.go()
    while (gone_s := time.perf_counter() - began_s) < seconds:
        time.sleep(min(SCRAPE_EVERY_S, seconds - gone_s))
        machine.change()
        asked_s = time.perf_counter()
        page = scrape(port) or ""
        scrape_ms.append(1e3 * (time.perf_counter() - asked_s))
        resident_mb.append(agent.resident_mb())
    cpu_s, wall_s = agent.cpu_s() - began_cpu_s, time.perf_counter() - began_s
    machine.rest()
    time.sleep(SETTLE_S)
    page = scrape(port) or ""
    series = sum(not line.startswith("#") for line in page.splitlines())
    gpu_j = total(page, "joulecar_device_energy_joules_total", kind="gpu")
    node_j = total(page, "joulecar_device_energy_joules_total") - gpu_j
    booked_j = total(page, "joulecar_energy_joules_total") + total(page, "joulecar_energy_pending_joules")
    off = booked_j / (gpu_j + node_j) - 1 if gpu_j + node_j else 0.0
    used_j, node_used_j = machine.gpu_used_j(), machine.tree.used_j()
    middle = resident_mb[len(resident_mb) // 2]
    slow_ms = sorted(scrape_ms)[max(0, round(0.99 * len(scrape_ms)) - 1)]
    return [
        Row("CPU", 100 * cpu_s / wall_s, "%", f"of one core, {cpu_s:.2f} s in {wall_s:.0f} s; target 1%"),
        Row("resident, at the start", resident_mb[0], "MB", "target 64 MB"),
        Row("resident, half way", middle, "MB"),
        Row("resident, at the end", resident_mb[-1], "MB", f"{resident_mb[-1] - middle:+.2f} MB in the second half"),
        Row("threads", agent.threads(), ""),
        Row("scrape, median", statistics.median(scrape_ms), "ms", f"{series} series, a new connection each"),
        Row("scrape, p99", slow_ms, "ms", f"of {len(scrape_ms)}; target 10 ms"),
        Row("GPU joules booked", gpu_j, "J", f"{100 * (gpu_j / used_j - 1):+.4f}% of the stand-in's {used_j:,.1f}"),
        Row("CPU and DRAM booked", node_j, "J", f"{100 * (node_j / node_used_j - 1):+.4f}% of {node_used_j:,.1f}"),
        Row("shares + pending to devices", off, "", "relative; 0 is conservation"),
    ]


if __name__ == "__main__":
    run()
