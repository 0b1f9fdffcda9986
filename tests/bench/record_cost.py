"""What recording costs: the same daemon three times beside the same machine at the same time, with and without it.

8 stand-in GPUs and 4 RAPL zones at 1 s, two vLLM pages of 52 KB at 5 s. JOULECAR_BENCH_SECONDS shortens it from four
minutes. CPU is that of each whole process, kernel included, after its start.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.bench.harness import Row, print_table
from tests.bench.rig import Daemon, Rig, daemon, free_port, joulecar, rig, scrape

SECONDS = 240.0
SCRAPE_EVERY_S = 5.0
ALONE = "no recording"
RECORDINGS = {ALONE: "", "--record day.jsonl": "day.jsonl", "--record day.jsonl.gz": "day.jsonl.gz"}


def run() -> None:
    seconds = float(os.environ.get("JOULECAR_BENCH_SECONDS", SECONDS))
    print(f"recording for {seconds:g} s; JOULECAR_BENCH_SECONDS=60 is shorter", file=sys.stderr)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with rig(folder) as machine, ExitStack() as daemons:
            agents = {what: _started(machine, daemons, file) for what, file in RECORDINGS.items()}
            cpu_s = _measure(machine, agents, seconds)
        sizes = {file: (folder / file).stat().st_size for file in RECORDINGS.values() if file}
    rows = []
    for what, file in RECORDINGS.items():
        note = f"of one core, {cpu_s[what]:.2f} s in {seconds:.0f} s"
        if file:
            more_s = cpu_s[what] - cpu_s[ALONE]
            note += f"; {100 * more_s / seconds:+.3f} points (target 1), {100 * more_s / cpu_s[ALONE]:+.1f}% of its own"
            note += f"; {3600 * sizes[file] / seconds / 1e6:.1f} MB an hour"
        rows.append(Row(what, 100 * cpu_s[what] / seconds, "%", note))
    print_table("CPU of the agent while it records", rows)


def _started(machine: Rig, daemons: ExitStack, file: str) -> tuple[Daemon, int]:
    port = free_port()
    more = ("--record", str(machine.folder / file)) if file else ()
    agent = daemons.enter_context(daemon(joulecar(machine, port, *more), machine.env(), machine.folder / f"log-{port}"))
    agent.wait_for(lambda: scrape(port) is not None)
    return agent, port


def _measure(machine: Rig, agents: dict[str, tuple[Daemon, int]], seconds: float) -> dict[str, float]:
    """CPU seconds of each."""
    before_s = {what: agent.cpu_s() for what, (agent, _) in agents.items()}
    machine.go()
    began_s = time.perf_counter()
    while (gone_s := time.perf_counter() - began_s) < seconds:
        time.sleep(min(SCRAPE_EVERY_S, seconds - gone_s))
        machine.change()
        for _, port in agents.values():
            scrape(port)
    return {what: agent.cpu_s() - before_s[what] for what, (agent, _) in agents.items()}


if __name__ == "__main__":
    run()
