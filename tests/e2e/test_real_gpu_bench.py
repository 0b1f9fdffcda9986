"""The benchmark for a user's own GPU, on the compiled stand-in driver and a real llama-server on the CPU."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from agent.clock import SystemClock
from agent.commands.replay import final
from agent.model import RequestEnergy
from agent.settings import Settings
from tests.bench.real_gpu.model import Shape, cached
from tests.e2e.conftest import Figure
from tests.fakes.daemon import environment
from tests.fakes.llama import BUILD_TIMEOUT_S, llama_server_binary
from tests.fakes.nvml.driver import FakeDriver, FakeGpu

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(BUILD_TIMEOUT_S)]

GPU = "GPU-aaaa"
REST_W, BUSY_W = 100.0, 300.0  # busy: on top, while the servers take a whole core
LOOK_EVERY_S = 0.04
TINY = Shape(layers=2, width=64, heads=4, kv_heads=2, hidden=128, pieces=700)
COMMAND = (sys.executable, "-m", "tests.bench", "real_gpu")


def bench(*options: str, driver: FakeDriver) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *options],
        env=environment(driver.env()),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@contextmanager
def following(driver: FakeDriver, bench_pid: int) -> Iterator[None]:
    """The stand-in draws power and shows processes as the servers of the benchmark take CPU."""
    stop = threading.Event()

    def follow() -> None:
        taken: dict[int, float] = {}
        while not stop.wait(LOOK_EVERY_S):
            before, taken = taken, dict(servers(bench_pid))
            busy = {pid: min(1.0, (s - before.get(pid, s)) / LOOK_EVERY_S) for pid, s in taken.items()}
            driver.change(GPU, processes=tuple((pid, round(100 * share), 0) for pid, share in busy.items()))
            driver.set_power(GPU, REST_W + BUSY_W * min(1.0, sum(busy.values())))

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def servers(bench_pid: int) -> Iterator[tuple[int, float]]:
    """Each llama-server of the benchmark with the CPU seconds that it took."""
    try:
        for child in psutil.Process(bench_pid).children():
            if child.name() == "llama-server":
                times = child.cpu_times()
                yield child.pid, times.user + times.system
    except psutil.Error:
        return  # it has just ended


@pytest.fixture
def driver(tmp_path: Path) -> FakeDriver:
    return FakeDriver(tmp_path / "driver", [FakeGpu(GPU, power_w=REST_W)], log_calls=False)


def numbers(said: str, row: str) -> list[float]:
    """Of the one row that begins with these words, in order."""
    (line,) = re.findall(rf"^  {row}  +(\S.*)$", said, re.MULTILINE)
    return [float(n) for n in re.findall(r"[-+]?\d+(?:\.\d+)?", line)]


def replayed(recording: Path) -> dict[str, RequestEnergy]:
    found: list[RequestEnergy] = []
    final([recording], Settings(), SystemClock(), found=found.append, as_recorded=True)
    return {request.trace_id: request for request in found}


def test_a_short_run_prints_its_tables_and_leaves_a_recording_that_replays(
    tmp_path: Path, driver: FakeDriver, figure: Figure
) -> None:
    model = cached(tmp_path / "models", TINY)
    options = ["--llama-server", str(llama_server_binary()), "--model", str(model)]
    began_s = time.monotonic()
    running = bench(*options, "--out", str(tmp_path / "out"), "--short", driver=driver)
    try:
        with following(driver, running.pid):
            said, _ = running.communicate(timeout=180)
    finally:
        running.kill()
    assert running.returncode == 0, said
    assert "failed:" not in said, said
    apart = re.findall(r"(\S+) apart at most", said)
    assert len(apart) == 2 and all(float(one) < 1e-9 for one in apart)

    told = json.loads((tmp_path / "out" / "told.json").read_text(encoding="utf-8"))
    assert told["rest_w"] == pytest.approx(REST_W, rel=0.1)
    found = replayed(tmp_path / "out" / "llama.jsonl.gz")
    clients = {r["trace_id"]: r for r in told["requests"] if not r["load"].startswith("without")}
    assert found.keys() == clients.keys(), "each request is told once, in the recording as well"
    for load in told["loads"]:
        _, requests, said_told, joules, *given_j = numbers(said, load["load"])
        assert joules == pytest.approx(load["joules"], abs=0.06)
        mine = [key for key, r in clients.items() if r["load"].startswith(load["load"].removesuffix("s"))]
        assert said_told == len(mine)
        if mine:
            assert requests == len(mine)
            assert given_j[0] == pytest.approx(sum(found[key].energy_j for key in mine), abs=0.06)
    assert_the_counter_is_the_truth(driver, told)
    with gzip.open(tmp_path / "out" / "llama.jsonl.gz", "rt", encoding="utf-8") as lines:
        kinds = {reading["kind"] for line in lines for reading in json.loads(line).get("readings", ())}
    assert kinds == {"gpu"}, "a request has no joules of other devices, which the counter does not know"

    for asked, names in (("chat", 1), ("docs", 2), ("chat and docs", 2)):
        assert len(re.findall(rf"^  {asked}   ", said, re.MULTILINE)) == names
    stranger = said.partition("is a stranger")[2]
    # How much of it is foreign is not held to a figure: an agent that has just begun may not know whose it is.
    above_j, chat_j, docs_j, _ = numbers(stranger, "docs")[:4]
    assert above_j > 0 and chat_j == docs_j == 0
    figure(f"the benchmark of a real GPU, on a stand-in: {time.monotonic() - began_s:.0f} s\n{said}")


def assert_the_counter_is_the_truth(driver: FakeDriver, told: dict[str, Any]) -> None:
    """A load's joules are those that the stand-in knows to have flowed between its first and its last moment."""
    apart_s = time.time() - time.monotonic()
    (load,) = (load for load in told["loads"] if load["load"] == "decode_8")
    mine = [r for r in told["requests"] if r["load"] == "decode_8"]
    start_s, end_s = min(r["start_s"] for r in mine), max(r["end_s"] for r in mine)
    more_s = load["seconds"] - (end_s - start_s)  # before the first request, and until the last span was sent
    assert 0 <= more_s < end_s - start_s
    least_j = driver.used_j(GPU, start_s - apart_s, end_s - apart_s)
    most_j = driver.used_j(GPU, start_s - apart_s - more_s, end_s - apart_s + more_s)
    assert 0.98 * least_j <= load["joules"] <= 1.02 * most_j


def test_without_a_driver_or_a_server_it_says_so_in_one_line_and_the_other_benchmarks_go_on(driver: FakeDriver) -> None:
    said, _ = (running := bench(driver=driver)).communicate(timeout=60)
    assert running.returncode == 0
    assert said.strip().splitlines() == [
        "A real GPU is not measured: no llama-server (pass --llama-server PATH, of one that was built with CUDA)"
    ]
    driver.uninstall()
    said, _ = (running := bench(driver=driver)).communicate(timeout=60)
    assert running.returncode == 0
    (line,) = said.strip().splitlines()
    assert line.startswith("A real GPU is not measured: no NVIDIA driver")
