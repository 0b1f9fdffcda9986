"""A real vLLM beside the agent, where JOULECAR_VLLM names the command of one that runs on CPU.

Its GPU is made up: it draws more while any request is under way, and its only process is the engine's worker.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from agent.clock import SystemClock
from agent.otlp.decode import PROTOBUF, from_protobuf
from agent.otlp.forward import ENERGY
from agent.sources.processes import ListenerCpu
from tests.e2e.conftest import Figure
from tests.e2e.worlds import BRISK, GPUS_ALONE, engine, up
from tests.fakes.collector import FakeCollector
from tests.fakes.daemon import Daemon, Scrape, joulecar
from tests.fakes.nvml.driver import FakeDriver, FakeGpu
from tests.fakes.program import free_address
from tests.fakes.vllm import READY_S, VllmServer
from tests.fakes.vllm_load import Answer, Running, mixed, send

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

VLLM = Path(os.environ["JOULECAR_VLLM"])
GPU = "GPU-6d1c4a1e-0b62-4a9e-9d0e-3f6a5f0c0001"
IDLE_W, BUSY_W = 100.0, 400.0
SPANS_S = 100.0  # sent every 5 s; the first windows wait a minute for prices


class Drawing(Running):
    """Requests make the GPU draw more."""

    def __init__(self, driver: FakeDriver) -> None:
        super().__init__()
        self._driver = driver

    def changed(self, *, busy: bool) -> None:
        self._driver.set_power(GPU, BUSY_W if busy else IDLE_W)


def work_j(page: Scrape) -> float:
    return sum(page.total("joulecar_energy_joules_total", engine="chat", use=use) for use in ("prefill", "decode"))


@pytest.mark.parametrize("more", [(), ("--data-parallel-size", "2")], ids=["one", "data parallel"])
def test_every_request_of_a_real_vllm_has_its_joules(more: tuple[str, ...], tmp_path: Path, figure: Figure) -> None:
    driver = FakeDriver(tmp_path / "driver", [FakeGpu(GPU, power_w=IDLE_W)], log_calls=False)
    spans_at = free_address()
    server = VllmServer(VLLM, tmp_path, spans_to=f"http://{spans_at}/v1/traces", service="chat", more=more)
    otlp = f'[otlp]\nlisten = "{spans_at}"\n'
    with FakeCollector() as collector:
        config = "\n".join([BRISK, GPUS_ALONE, engine("chat", server.url), f'{otlp}forward_to = "{collector.url}"'])
        with Daemon(tmp_path / "agent", config, env=driver.env()) as agent, server:
            agent.wait_for(lambda s: up(s, "engine", "chat") == 1, READY_S)
            pids = engine_processes(server.url)
            answers = send(server.url, mixed(11, 40), at_once=5, running=Drawing(driver))
            spans = sum(a.n for a in answers if a.is_whole)
            answered_s = time.monotonic()
            page = agent.wait_for(lambda s: s.total("joulecar_request_energy_joules_count") >= spans, SPANS_S)
            waited_s = time.monotonic() - answered_s
            base = agent.url.removesuffix("/metrics")
            shown = httpx.get(f"{base}/requests.json", trust_env=False).json()["requests"]
            asked = answers[0].request_id
            one = httpx.get(f"{base}/requests.json?request_id={asked}", trust_env=False).json()["requests"]
            checked = joulecar("check", "--config", str(agent.config), env=driver.env())
            agent.wait_for(lambda _: carried(collector) >= spans, SPANS_S)
            ended = agent.stop()
    assert ended.rc == 0, ended.err
    assert "Traceback" not in ended.err

    assert any("EngineCore" in title for title in pids), pids
    assert re.search(r"^ok +engine +chat", checked.out, re.MULTILINE), checked.out
    assert_tokens(page, answers)
    # Where a busy machine gives its page late, a prompt meets the window before it, and takes no more than that has.
    by = {o: page.total("joulecar_request_spans_total", outcome=o) for o in ("attributed", "scaled_down")}
    assert sum(by.values()) == page.total("joulecar_request_spans_total") == spans
    assert by["attributed"] > 0.8 * spans, by
    assert {r["method"] for r in shown} == {"windows"}
    assert all(0 < r["low_j"] <= r["energy_j"] <= r["high_j"] for r in shown)
    assert len(one) == answers[0].n
    given_j = page.total("joulecar_request_energy_joules_sum")
    assert given_j == pytest.approx(sum(r["energy_j"] for r in shown), rel=1e-9)
    left_j = page.total("joulecar_request_unclaimed_joules")
    assert given_j + left_j == pytest.approx(work_j(page), rel=1e-9)
    figure(f"vLLM {' '.join(more)}: {by} spans, all told {waited_s:.0f} s after the last answer")
    figure(f"vLLM {' '.join(more)}: {given_j:.0f} J, and {left_j:.0f} J of requests whose clients left")


def engine_processes(url: str) -> list[str]:
    """What the processes behind the engine's port are called."""
    port = urlsplit(url).port
    assert port is not None
    return [" ".join(psutil.Process(pid).cmdline()) for pid in ListenerCpu(SystemClock()).look((port,))[port]]


def assert_tokens(page: Scrape, answers: list[Answer]) -> None:
    """Of all that stayed and all that left; the tokens that these got before they did are not known to the client."""
    told = {t: page.total("joulecar_tokens_total", type=t) for t in ("prompt_computed", "prompt_cached", "generated")}
    assert told["prompt_computed"] + told["prompt_cached"] == sum(a.asked * a.n for a in answers)
    stayed = sum(a.generated or 0 for a in answers)
    left = sum(not a.is_whole for a in answers)
    assert stayed < told["generated"] < stayed + 50 * left
    assert page.total("joulecar_requests_total") == sum(a.n for a in answers if a.is_whole)


def carried(collector: FakeCollector) -> int:
    """Spans with joules that came to the collector."""
    wanted = frozenset((ENERGY,))
    bodies = [body for _, kind, _, body in list(collector.taken) if kind == PROTOBUF]  # check asks in JSON
    return sum(raw.number(ENERGY) is not None for body in bodies for raw in from_protobuf(body, wanted))
