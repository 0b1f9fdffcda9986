"""The energy of single requests, from the span that is posted to the trace that is passed on, and from a recording."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.otlp.decode import PROTOBUF, from_protobuf
from agent.otlp.forward import ENERGY, METHOD
from tests.agent.otlp.bodies import VLLM, as_protobuf, span
from tests.e2e.conftest import Figure
from tests.e2e.worlds import BRISK, GPUS_ALONE, engine, send_spans, works
from tests.fakes.collector import FakeCollector
from tests.fakes.daemon import Daemon, Scrape, joulecar
from tests.fakes.engine import FakeEngine
from tests.fakes.nvml.driver import FakeDriver, FakeGpu

pytestmark = pytest.mark.e2e

GPU = "GPU-6d1c4a1e-0b62-4a9e-9d0e-3f6a5f0c0001"
CANARY = "a-prompt-nobody-may-see"


def request(n: int, ended_ago_s: float, lasted_s: float = 1.0) -> dict[str, Any]:
    end = time.time_ns() - int(ended_ago_s * 1e9)
    told = {
        **VLLM,
        "gen_ai.request.id": f"cmpl-{n}-0",
        "gen_ai.latency.time_in_queue": 0.0,
        "gen_ai.latency.time_in_model_prefill": 0.1,
        "gen_ai.latency.time_in_model_decode": lasted_s - 0.1,
        "gen_ai.usage.completion_tokens": 40,
        "tenant.id": f"t{n % 2}",
        "gen_ai.prompt.0.content": CANARY,
    }
    return span(told, service="a", start=end - int(lasted_s * 1e9), end=end, trace=f"{n:032x}", span_id=f"{n:016x}")


def test_each_request_shows_its_joules_in_the_trace_on_the_page_and_in_a_replay(tmp_path: Path, figure: Figure) -> None:
    driver = FakeDriver(tmp_path / "driver", [FakeGpu(GPU, power_w=100.0)], log_calls=False)
    trace, lines = tmp_path / "trace.jsonl", tmp_path / "requests.jsonl"
    with FakeEngine() as served, FakeCollector() as collector:
        config = "\n".join(
            [
                BRISK,
                GPUS_ALONE,
                engine("a", served.url),
                f'[otlp]\nlisten = "127.0.0.1:0"\ngroup_by = ["tenant.id"]\nforward_to = "{collector.url}"',
            ]
        )
        with Daemon(tmp_path / "agent", config, env=driver.env(), arguments=["--record", str(trace)]) as agent:
            agent.wait_for(lambda s: bool(s.all("joulecar_tokens_total")))
            served.change(generated_per_s=80.0, prompt_per_s=200.0, requests_per_s=2.0)
            driver.set_power(GPU, 400.0)
            agent.wait_for(works)
            agent.scrape_for(2.0)  # what the spans tell of
            body = as_protobuf(*(request(n, ended_ago_s=0.1 + 0.2 * n) for n in range(5)))
            send_spans(agent, body)
            page = agent.wait_for(lambda s: s.total("joulecar_request_energy_joules_count") == 5)
            base = agent.url.removesuffix("/metrics")
            shown = httpx.get(f"{base}/requests.json", trust_env=False).json()["requests"]
            one = httpx.get(f"{base}/requests.json?trace_id={3:032x}", trust_env=False).json()["requests"]
            agent.wait_for(lambda _: bool(collector.taken), what="the trace is passed on")
            ended = agent.stop()
    assert ended.rc == 0, ended.err
    assert CANARY not in ended.err and CANARY not in trace.read_text()

    live = {r["request_id"]: r["energy_j"] for r in shown}
    assert len(live) == 5 and [r["request_id"] for r in one] == ["cmpl-3-0"]
    assert sum(live.values()) <= page.total("joulecar_energy_joules_total", use="decode") + page.total(
        "joulecar_energy_joules_total", use="prefill"
    )
    assert sum(live.values()) == pytest.approx(page.total("joulecar_group_energy_joules_total"))
    assert page.total("joulecar_request_spans_total", outcome="attributed") == 5
    # 400 W for a second each, of which those beside it and the requests without spans have their part.
    assert all(50.0 < j < 400.0 for j in live.values()), live

    ((path, kind, _, body),) = collector.taken
    assert (path, kind) == ("/v1/traces", PROTOBUF)
    passed = {raw.span_id: raw for raw in from_protobuf(body, frozenset((ENERGY, METHOD)))}
    assert {f"cmpl-{int(k, 16)}-0": raw.number(ENERGY) for k, raw in passed.items()} == pytest.approx(live)
    assert {raw.text(METHOD) for raw in passed.values()} == {"windows"}

    done = joulecar("replay", str(trace), "--config", str(agent.config), "--requests", str(lines))
    assert done.rc == 0, done.err
    replayed = {r["request_id"]: r["energy_j"] for r in map(json.loads, lines.read_text().splitlines())}
    assert replayed == live
    figure(f"five spans: {min(live.values()):.0f} to {max(live.values()):.0f} J, live, forwarded and replayed alike")


def test_requests_and_the_rest_are_prefill_and_decode_also_after_a_restart(tmp_path: Path, figure: Figure) -> None:
    driver = FakeDriver(tmp_path / "driver", [FakeGpu(GPU, power_w=100.0)], log_calls=False)
    (tmp_path / "state").mkdir()
    with FakeEngine() as served:
        config = "\n".join(
            [
                f'{BRISK}state_dir = "{tmp_path / "state"}"\n{GPUS_ALONE}',
                engine("a", served.url),
                "[attribution]\nprefill_weight = 0.12",  # else requests wait for prices that are learned
                '[grid]\nfixed_g_per_kwh = 360.0\n[otlp]\nlisten = "127.0.0.1:0"\ngroup_by = ["tenant.id"]',
            ]
        )
        served.change(generated_per_s=80.0, prompt_per_s=200.0, requests_per_s=2.0)
        driver.set_power(GPU, 400.0)
        pages: list[Scrape] = []
        for run in range(2):
            with Daemon(tmp_path / f"agent-{run}", config, env=driver.env()) as agent:
                agent.wait_for(lambda s: bool(s.all("joulecar_tokens_total")))
                agent.wait_for(works)
                agent.scrape_for(2.0)
                body = as_protobuf(*(request(10 * run + n, ended_ago_s=0.1 + 0.2 * n) for n in range(5)))
                send_spans(agent, body)
                many = 5 * (run + 1)
                pages.append(
                    agent.wait_for(lambda s: s.total("joulecar_request_energy_joules_count") == many)  # noqa: B023
                )
                ended = agent.stop()
            assert ended.rc == 0, ended.err
    for page in pages:
        active_j = sum(page.total("joulecar_energy_joules_total", use=use) for use in ("prefill", "decode"))
        given_j = page.total("joulecar_request_energy_joules_sum")
        assert given_j + page.total("joulecar_request_unclaimed_joules") == pytest.approx(active_j, rel=1e-9)
        assert 0.0 < given_j < active_j
        assert page.total("joulecar_group_energy_joules_total") == pytest.approx(given_j)
        grams = page.total("joulecar_group_emissions_gco2e_total")
        assert grams == pytest.approx(given_j / 3.6e6 * 360.0)
        assert grams == pytest.approx(page.total("joulecar_request_emissions_gco2e_sum"))
    given = [page.total("joulecar_request_energy_joules_sum") for page in pages]
    figure(f"requests have {given[0]:.0f} J, and {given[1]:.0f} J after a restart; the rest is told beside them")
