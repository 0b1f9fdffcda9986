"""What a start costs: time to the first answered scrape, memory, and which imports they go to."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from tests.bench.harness import Row, print_table
from tests.bench.rig import daemon, free_port, joulecar, rig, scrape

STARTS = 5
TOP = 8

# What `joulecar run` has loaded when it serves, in an order in which each line is paid for by the one who needs it.
_DAEMON = (
    "agent.cli",
    "agent.settings",
    "agent.loop",
    "agent.sources.host",
    "agent.sources.nvml",
    "pynvml",
    "agent.engines.scrape",
    "agent.config",
    "agent.app",
    "exporters.prometheus",
    "exporters.serving",
    "exporters.web",
    "agent.commands.run",
)

_RESIDENT = """
import importlib, sys, time
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6
print("python", resident(), 0.0)
for name in sys.argv[1:]:
    began, before = time.perf_counter(), resident()
    importlib.import_module(name)
    print(name, resident() - before, 1e3 * (time.perf_counter() - began))
"""


def run() -> None:
    starts = [_start() for _ in range(STARTS)]
    scraped, ready, cpu, resident = zip(*starts, strict=True)
    rows = [
        Row("to the first answered scrape", statistics.median(scraped), "s", f"worst {max(scraped):.2f}; target 1.5 s"),
        Row("to ready", statistics.median(ready), "s", "/readyz is 200: a device has been read"),
        Row("CPU until then", statistics.median(cpu), "s"),
        Row("resident then", statistics.median(resident), "MB", "target 64 MB when it runs"),
        Row("joulecar --version", _version_s(), "s", "a command that measures nothing"),
    ]
    print_table(f"Start of `joulecar run`: 8 GPUs, RAPL, two engines; median of {STARTS}", rows)
    _imports()
    _slowest()


def _start() -> tuple[float, float, float, float]:
    with tempfile.TemporaryDirectory() as folder, rig(Path(folder)) as machine:
        port = free_port()
        with daemon(joulecar(machine, port), machine.env(), Path(folder) / "log") as agent:
            scraped_s = agent.wait_for(lambda: scrape(port) is not None)
            ready_s = agent.wait_for(lambda: scrape(port, "/readyz") is not None)
            return scraped_s, ready_s, agent.cpu_s(), agent.resident_mb()


def _version_s() -> float:
    began_s = time.perf_counter()
    subprocess.run([sys.executable, "-m", "agent.cli", "--version"], check=True, capture_output=True)
    return time.perf_counter() - began_s


def _imports() -> None:
    said = subprocess.run([sys.executable, "-c", _RESIDENT, *_DAEMON], capture_output=True, text=True, check=True)
    rows, sum_mb, sum_ms = [], 0.0, 0.0
    for line in said.stdout.splitlines():
        name, mb, ms = line.split()
        sum_mb, sum_ms = sum_mb + float(mb), sum_ms + float(ms)
        rows.append(Row(name, float(mb), "MB", f"{float(ms):5.0f} ms; so far {sum_mb:.1f} MB, {sum_ms:.0f} ms"))
    print_table("Imports of the daemon, each on top of those above it", rows)


def _slowest() -> None:
    """Self times of -X importtime, summed per distribution or package."""
    code = "; ".join(f"import {name}" for name in _DAEMON)
    said = subprocess.run([sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, check=True)
    spent_ms: dict[str, float] = defaultdict(float)
    for self_us, name in re.findall(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)", said.stderr):
        spent_ms[name.split(".")[0]] += int(self_us) / 1e3
    ranked = sorted(spent_ms.items(), key=lambda item: -item[1])
    rows = [Row(name, ms, "ms") for name, ms in ranked[:TOP]]
    rows.append(Row(f"{len(ranked) - TOP} more", sum(ms for _, ms in ranked[TOP:]), "ms"))
    print_table("Import time by top package, of itself alone (python -X importtime, which doubles it)", rows)


if __name__ == "__main__":
    run()
