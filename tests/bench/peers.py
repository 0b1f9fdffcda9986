"""Joulecar beside other meters, at the same time, on the same stand-in GPUs and powercap tree.

Every 1 s each, with the tool's own command; what it reports for GPUs and CPU packages is set against what flowed. Two
cases: nothing happens; and a GPU's counter and a package's start again from 0. Peers that are not here are installed
from PyPI, each in an environment of its own in the user's cache.

JOULECAR_BENCH_SECONDS, if smaller than 60, shortens a case.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.bench.rig import Daemon, Rig, daemon, free_port, joulecar, rig, scrape, total

SECONDS = 60.0
SETTLE_S = 8.0
J_PER_KWH = 3.6e6
ZEUS = """
import json, signal, sys
from zeus.monitor import ZeusMonitor
monitor = ZeusMonitor(approx_instant_energy=False)
monitor.begin_window("all", sync_execution=False)
signal.signal(signal.SIGTERM, lambda *_: None)
print("started", flush=True)
signal.pause()
m = monitor.end_window("all", sync_execution=False)
print(json.dumps([sum(m.gpu_energy.values()), sum((m.cpu_energy or {}).values())]), flush=True)
"""

Joules = tuple[float | None, float | None]  # GPUs, CPU packages; None: it does not say


@dataclass(frozen=True)
class Meter:
    """A tool under test. started: it measures. scraped: its numbers are read while it runs, else after its end."""

    name: str
    command: Sequence[str]
    started: Callable[[Daemon], bool]
    joules: Callable[[Daemon], Joules]
    scraped: bool
    env: dict[str, str]


@dataclass(frozen=True)
class Seen:
    """What became of one tool in one case."""

    name: str
    gpu_j: float | None = None
    cpu_j: float | None = None
    cpu_percent: float = 0.0
    resident_mb: float = 0.0
    why_not: str = ""


def run() -> None:
    seconds = min(SECONDS, float(os.environ.get("JOULECAR_BENCH_SECONDS", SECONDS)))
    for title, disturb in (("nothing happens", False), ("a GPU's and a package's counter are reset", True)):
        print(f"measuring peers for {seconds:g} s: {title}", file=sys.stderr)
        with tempfile.TemporaryDirectory() as folder, rig(Path(folder)) as machine:
            seen = _case(machine, seconds, disturb=disturb)
            _print(f"{title}, {seconds:g} s", seen, machine.gpu_used_j(), machine.tree.used_j(dram=False))


def _case(machine: Rig, seconds: float, *, disturb: bool) -> list[Seen]:
    out: list[Seen] = []
    with ExitStack() as stack:
        running: list[tuple[Meter, Daemon]] = []
        for build in (_joulecar, _codecarbon, _landauer, _zeus):
            try:
                meter = build(machine)
                env = machine.env(**meter.env)
                process = stack.enter_context(daemon(meter.command, env, machine.folder / f"{meter.name[:5]}.log"))
                process.wait_for(lambda m=meter, p=process: m.started(p))  # type: ignore[misc]  # mypy does not infer defaults
                running.append((meter, process))
            except (OSError, RuntimeError, subprocess.SubprocessError) as trouble:
                out.append(Seen(build.__name__[1:], why_not=str(trouble).strip().splitlines()[-1][:90]))
        time.sleep(SETTLE_S)
        before_s = [p.cpu_s() for _, p in running]
        began_s = time.perf_counter()
        machine.go()
        for third in range(3):
            if third and disturb:
                machine.driver.reset(machine.uuids[0]) if third == 1 else machine.tree.reset("intel-rapl:0")
            time.sleep(seconds / 3)
            machine.change()
        machine.rest()
        used = [
            (100 * (p.cpu_s() - s) / (time.perf_counter() - began_s), p.resident_mb())
            for (_, p), s in zip(running, before_s, strict=True)
        ]
        time.sleep(SETTLE_S)
        for (meter, process), (percent, mb) in zip(running, used, strict=True):
            try:
                joules = meter.joules(process) if meter.scraped else None
                process.stop()
                gpu_j, cpu_j = joules or meter.joules(process)
            except (OSError, LookupError, ValueError) as trouble:
                out.append(Seen(meter.name, why_not=f"no result: {trouble}; {process.said()[-80:]!r}"))
                continue
            out.append(Seen(meter.name, gpu_j, cpu_j, percent, mb))
    return out


def _print(title: str, seen: Sequence[Seen], gpu_j: float, cpu_j: float) -> None:
    def against(value: float | None, truth: float) -> str:
        return f"{'-':>12} {'':>9}" if value is None else f"{value:>12,.0f} {100 * (value / truth - 1):>+8.2f}%"

    print(f"\nSide by side: {title}; {gpu_j:,.0f} J of GPUs, {cpu_j:,.0f} J of CPU packages")
    print(f"  {'':<24} {'GPU J':>12} {'off':>9} {'CPU J':>12} {'off':>9} {'CPU':>7} {'resident':>9}")
    for s in seen:
        if s.why_not:
            print(f"  {s.name:<24} not measured: {s.why_not}")
        else:
            cost = f"{s.cpu_percent:>6.2f}% {s.resident_mb:>6.1f} MB"
            print(f"  {s.name:<24} {against(s.gpu_j, gpu_j)} {against(s.cpu_j, cpu_j)} {cost}")


# -- the tools


def _joulecar(machine: Rig) -> Meter:
    port = free_port()

    def joules(_: Daemon) -> Joules:
        page = scrape(port) or ""
        family = "joulecar_device_energy_joules_total"
        packages = sum(total(page, family, device=f"package-{i}") for i in (0, 1))
        return total(page, family, kind="gpu"), packages

    return Meter("joulecar", joulecar(machine, port), lambda _: scrape(port) is not None, joules, True, {})


def _codecarbon(machine: Rig) -> Meter:
    folder = machine.folder / "codecarbon"
    folder.mkdir()
    smi = folder / "nvidia-smi"  # it looks for GPUs only where this program runs
    smi.write_text("#!/bin/sh\n")
    smi.chmod(0o755)
    monitor = [str(Path(sys.executable).with_name("codecarbon")), "monitor", "--offline", "--no-api"]
    monitor += ["--country-iso-code", "DEU", "--measure-power-secs", "1"]

    def joules(_: Daemon) -> Joules:
        with (folder / "emissions.csv").open(newline="") as file:
            row = list(csv.DictReader(file))[-1]
        return float(row["gpu_energy"]) * J_PER_KWH, float(row["cpu_energy"]) * J_PER_KWH

    env = {"CODECARBON_OUTPUT_DIR": str(folder), "CODECARBON_ALLOW_MULTIPLE_RUNS": "true", "HOME": str(folder)}
    env["PATH"] = f"{folder}:{os.environ['PATH']}"
    command = _with_powercap(machine, monitor)
    return Meter("codecarbon monitor", command, lambda p: "infinite loop" in p.said(), joules, False, env)


def _landauer(machine: Rig) -> Meter:
    port = free_port()
    command = [str(_installed("landauer-gap==0.8.0") / "joules"), "agent", "--port", str(port), "--interval", "1"]

    def joules(_: Daemon) -> Joules:
        page = scrape(port) or ""
        by_device = {
            line.split('device="')[1].split('"')[0]: float(line.rsplit(" ", 1)[1])
            for line in page.splitlines()
            if line.startswith("joules_device_energy_joules_total{")
        }
        gpus = sum(j for d, j in by_device.items() if d.startswith("GPU"))
        return gpus, sum(j for d, j in by_device.items() if d.startswith("CPU"))

    env = {"JOULES_SYSFS": str(machine.sysfs), "HOME": str(machine.folder)}
    return Meter("landauer-gap 0.8 agent", command, lambda _: scrape(port) is not None, joules, True, env)


def _zeus(machine: Rig) -> Meter:
    command = _with_powercap(machine, [str(_installed("zeus==0.16.0") / "python"), "-c", ZEUS])

    def joules(process: Daemon) -> Joules:
        gpu_j, cpu_j = json.loads(process.said().strip().splitlines()[-1])
        return float(gpu_j), float(cpu_j)

    return Meter("zeus 0.16 window", command, lambda p: "started" in p.said(), joules, False, {})


def _with_powercap(machine: Rig, command: Sequence[str]) -> list[str]:
    """The command, seeing the tree at /sys/class/powercap, which it has compiled in. Needs user namespaces."""
    if shutil.which("unshare") is None:
        raise RuntimeError("unshare is not here, so it cannot be shown the powercap tree")
    show = 'mount --bind "$0" /sys/class && exec "$@"'
    return ["unshare", "--mount", "--map-root-user", "sh", "-c", show, str(machine.sysfs / "class"), *command]


def _installed(requirement: str) -> Path:
    """The programs of a distribution in an environment of its own. Raises CalledProcessError."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "joulecar" / "bench-peers"
    folder = cache / requirement.replace("==", "-")
    if not (folder / "installed").exists():
        print(f"installing {requirement} into {folder}", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True, timeout=120)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", requirement]
        subprocess.run(pip, check=True, capture_output=True, timeout=300)
        (folder / "installed").touch()
    return folder / "bin"


if __name__ == "__main__":
    run()
