"""The machine that daemons are measured on: 8 stand-in GPUs, a powercap tree that counts, two vLLM pages that count.

What it shows is known to the joule: *_used_j() is the integral of the power that was set, resets or not. Power is 0
before go() and after rest(), so that a meter that reads once a second has nothing to miss at either end.
"""

from __future__ import annotations

import compileall
import http.client
import http.server
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.fakes.nvml.driver import FakeDriver, FakeGpu
from tests.fakes.powercap import RANGE_UJ, PowercapTree

GPUS = 8
ROOT = Path(__file__).parents[2]
PAGE = Path(__file__).parents[1] / "data" / "engines" / "vllm_basic" / "during_01.prom"
ZONES_W = {"intel-rapl:0": 120.0, "intel-rapl:0:0": 20.0, "intel-rapl:1": 90.0, "intel-rapl:1:0": 15.0}
WRITE_EVERY_S = 0.05


@dataclass
class _Zone:
    counter: Path
    power_w: float
    shown_uj: float
    used_j: float = 0.0
    flows: bool = False


class CountingTree:
    """A powercap tree whose counters run. Each value appears at once, as the kernel's do."""

    def __init__(self, sysfs: Path) -> None:
        tree = PowercapTree(sysfs)
        self._zones = {}
        for i, (zone, power_w) in enumerate(ZONES_W.items()):
            name = "dram" if zone.count(":") == 2 else f"package-{zone[-1]}"
            start_uj = 1e9 * (i + 1)
            folder = tree.zone(zone, name, f"{start_uj:.0f}", RANGE_UJ)
            self._zones[zone] = _Zone(folder / "energy_uj", power_w, start_uj)
        # Tools that look for "the" directory follow this link.
        (tree.tree / "intel-rapl" / "subsystem").symlink_to(tree.links)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._last_s = time.monotonic()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def used_j(self, *, dram: bool = True) -> float:
        """Joules that flowed in all zones together, or in the packages alone."""
        with self._lock:
            self._advance()
            return sum(z.used_j for name, z in self._zones.items() if dram or name.count(":") == 1)

    def flow(self, on: bool) -> None:
        with self._lock:
            self._advance()
            for zone in self._zones.values():
                zone.flows = on

    def reset(self, zone: str) -> None:
        """The counter starts again from 0."""
        with self._lock:
            self._advance()
            self._zones[zone].shown_uj = 0.0

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(WRITE_EVERY_S):
            with self._lock:
                self._advance()

    def _advance(self) -> None:
        now_s = time.monotonic()
        for zone in self._zones.values():
            if zone.flows:
                energy_j = zone.power_w * (now_s - self._last_s)
                zone.used_j += energy_j
                zone.shown_uj += 1e6 * energy_j
            new = zone.counter.with_name(".energy_uj.new")
            new.write_text(f"{zone.shown_uj:.0f}\n")
            new.replace(zone.counter)
        self._last_s = now_s


class CountingVllm:
    """A captured vLLM page over HTTP, with counters that move while traffic is on."""

    def __init__(self, model: str, *, generated_per_s: float, computed_per_s: float) -> None:
        self._page = PAGE.read_text().replace("tiny-llama", model)
        self._rates = {
            r"vllm:generation_tokens_total\{[^}]*\}": generated_per_s,
            r"vllm:prompt_tokens_total\{[^}]*\}": computed_per_s,
            r'vllm:prompt_tokens_by_source_total\{[^}]*source="local_compute"\}': computed_per_s,
            r'vllm:request_success_total\{[^}]*finished_reason="length"[^}]*\}': generated_per_s / 200,
        }
        self._began_s: float | None = None
        self._counted_s = 0.0
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = owner.page().encode() if self.path == "/metrics" else b"no such page"
                self.send_response(200 if self.path == "/metrics" else 404)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def traffic(self, on: bool) -> None:
        now_s = time.monotonic()
        if self._began_s is not None:
            self._counted_s += now_s - self._began_s
        self._began_s = now_s if on else None

    def page(self) -> str:
        run_s = self._counted_s + (0.0 if self._began_s is None else time.monotonic() - self._began_s)
        page = re.sub(
            r"(vllm:num_requests_running\{[^}]*\}) .*", rf"\1 {0.0 if self._began_s is None else 8.0}", self._page
        )
        for pattern, per_s in self._rates.items():
            page = re.sub(f"({pattern}) .*", rf"\g<1> {1000.0 + int(per_s * run_s)}", page)
        return page

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Rig:
    """All of it. folder: a fresh one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.uuids = [f"GPU-{i:08d}-1111-2222-3333-444444444444" for i in range(GPUS)]
        self.driver = FakeDriver(folder, [FakeGpu(u, counter_j=1e6 * (i + 1)) for i, u in enumerate(self.uuids)])
        self.sysfs = folder / "sys"
        self.tree = CountingTree(self.sysfs)
        self.engines = [
            CountingVllm("meta-llama/Llama-3.1-70B-Instruct", generated_per_s=2400, computed_per_s=9000),
            CountingVllm("Qwen/Qwen3-32B", generated_per_s=4100, computed_per_s=3000),
        ]
        self._dice = random.Random(7)
        self._began_s = time.monotonic()

    def go(self) -> None:
        """Power flows and tokens come."""
        self.tree.flow(True)
        for engine in self.engines:
            engine.traffic(True)
        self.change()

    def change(self) -> None:
        """Every GPU draws something else from now on."""
        for uuid in self.uuids:
            self.driver.set_power(uuid, self._dice.uniform(120.0, 690.0))

    def rest(self) -> None:
        for uuid in self.uuids:
            self.driver.set_power(uuid, 0.0)
        self.tree.flow(False)
        for engine in self.engines:
            engine.traffic(False)

    def gpu_used_j(self) -> float:
        return sum(self.driver.used_j(u, self._began_s, time.monotonic()) for u in self.uuids)

    def env(self, **more: str) -> dict[str, str]:
        return {**os.environ, **self.driver.env(), **more}

    def config(self, port: int) -> Path:
        """Joulecar's configuration for this machine: four GPUs for each engine, books on disk, a budget, defaults for
        the rest. Agents on different ports keep different books."""
        state = self.folder / f"state-{port}"
        state.mkdir(exist_ok=True)
        text = f'[agent]\nstate_dir = "{state}"\n[[budget]]\nname = "day"\nlimit = "50 kWh"\nperiod = "day"\n'
        text += f'[server]\nlisten = "127.0.0.1:{port}"\n[sources]\nsysfs = "{self.sysfs}"\n'
        text += '[grid]\nzone = "DE"\nproviders = ["table"]\n'
        for i, engine in enumerate(self.engines):
            gpus = list(range(4 * i, 4 * i + 4))
            text += f'[[engine]]\nname = "vllm-{"ab"[i]}"\nurl = "{engine.url}"\ngpus = {gpus}\n'
        path = self.folder / f"joulecar-{port}.toml"
        path.write_text(text)
        return path

    def close(self) -> None:
        self.tree.close()
        for engine in self.engines:
            engine.close()


@contextmanager
def rig(folder: Path) -> Iterator[Rig]:
    # As whatever installs a package does: else every start compiles it anew, where Python is told to write nothing.
    for package in ("agent", "exporters"):
        compileall.compile_dir(ROOT / package, quiet=1)
    machine = Rig(folder)
    try:
        yield machine
    finally:
        machine.close()


class Daemon:
    """A process under test, its children included."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        self.began_s = time.perf_counter()
        self.log = log
        self._command = " ".join(command)
        with log.open("wb") as file:
            self._popen = subprocess.Popen(command, env=dict(env), stdout=file, stderr=file, stdin=subprocess.DEVNULL)
        self._process = psutil.Process(self._popen.pid)

    def _all(self) -> list[psutil.Process]:
        return [self._process, *self._process.children(recursive=True)]

    def cpu_s(self) -> float:
        times = [p.cpu_times() for p in self._all()]
        return float(sum(t.user + t.system for t in times))

    def resident_mb(self) -> float:
        return float(sum(p.memory_info().rss for p in self._all())) / 1e6

    def threads(self) -> int:
        return sum(p.num_threads() for p in self._all())

    def runs(self) -> bool:
        return self._popen.poll() is None

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for(self, there: Callable[[], bool], timeout_s: float = 60.0) -> float:
        """Seconds from the start of the process until there() is true."""
        while not there():
            if not self.runs() or time.perf_counter() - self.began_s > timeout_s:
                raise RuntimeError(f"{self._command} did not start:\n{self.said()[-2000:]}")
            time.sleep(0.005)
        return time.perf_counter() - self.began_s

    def stop(self) -> float:
        """SIGTERM; seconds until it was gone."""
        began_s = time.perf_counter()
        self._popen.terminate()
        try:
            self._popen.wait(10.0)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        return time.perf_counter() - began_s


@contextmanager
def daemon(command: Sequence[str], env: Mapping[str, str], log: Path) -> Iterator[Daemon]:
    process = Daemon(command, env, log)
    try:
        yield process
    finally:
        if process.runs():
            process.stop()


def joulecar(machine: Rig, port: int, *more: str) -> list[str]:
    return [sys.executable, "-m", "agent.cli", "run", "--config", str(machine.config(port)), *more]


def free_port() -> int:
    with closing(socket.socket()) as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def scrape(port: int, path: str = "/metrics") -> str | None:
    """A page as Prometheus asks for it, but unpacked; None: nothing answers, or not with 200."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
        except OSError:
            return None
        return body.decode() if answer.status == 200 else None


def total(page: str, family: str, **labels: str) -> float:
    """The sum of a family's series with these labels."""
    wanted = [f'{k}="{v}"' for k, v in labels.items()]
    lines = (line for line in page.splitlines() if line.startswith((family + "{", family + " ")))
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if all(w in line for w in wanted))
