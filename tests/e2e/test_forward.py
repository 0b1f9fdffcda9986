"""Traces that wait for their joules outlive the agent: a restart of it costs none."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.otlp.decode import from_protobuf
from agent.otlp.forward import ENERGY
from tests.agent.otlp.bodies import as_protobuf
from tests.e2e.test_spans import GPU, request
from tests.e2e.worlds import BRISK, GPUS_ALONE, crowded, engine, send_spans, works
from tests.fakes.collector import FakeCollector
from tests.fakes.daemon import Daemon
from tests.fakes.engine import FakeEngine
from tests.fakes.nvml.driver import FakeDriver, FakeGpu

pytestmark = pytest.mark.e2e


def test_an_agent_that_stops_passes_on_what_waited_for_its_joules(tmp_path: Path) -> None:
    driver = FakeDriver(tmp_path / "driver", [FakeGpu(GPU, power_w=400.0)], log_calls=False)
    with FakeEngine() as served, FakeCollector() as collector:
        otlp = f'[otlp]\nlisten = "127.0.0.1:0"\nforward_to = "{collector.url}"'
        config = "\n".join([BRISK, GPUS_ALONE, engine("a", served.url), otlp])
        served.change(generated_per_s=80.0, prompt_per_s=200.0, requests_per_s=2.0)
        with Daemon(tmp_path / "agent", config, env=driver.env()) as agent:
            agent.wait_for(lambda s: bool(s.all("joulecar_tokens_total")))
            agent.wait_for(works)
            agent.scrape_for(1.0)
            body = as_protobuf(*(request(n, ended_ago_s=0.1) for n in range(3)))
            send_spans(agent, body)
            assert collector.taken == []
            ended = agent.stop()
    assert (ended.rc, ended.seconds < 3.0 * crowded()) == (0, True), ended
    ((_, _, _, passed),) = collector.taken
    joules = [raw.number(ENERGY) for raw in from_protobuf(passed, frozenset((ENERGY,)))]
    assert len(joules) == 3 and all(j is not None and j > 0 for j in joules), joules
