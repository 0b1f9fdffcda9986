"""A real llama-server under the demonstration's load: both sides count the same."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from agent.clock import SystemClock
from agent.demo.load import Load, LoadShape
from agent.demo.server import DemoServer
from agent.demo.tiny_model import NAME
from tests.fakes.llama import BUILD_TIMEOUT_S, llama_server_binary, tiny_model_file

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(BUILD_TIMEOUT_S)]

BRISK = LoadShape(pause_s=(0.0, 0.02), quiet_s=0.0)


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoServer]:
    log = tmp_path_factory.mktemp("llama") / "server.log"
    with DemoServer(llama_server_binary(), tiny_model_file(), log, clock=SystemClock()) as running:
        yield running


def page(server: DemoServer) -> dict[str, float]:
    text = httpx.get(f"{server.url}/metrics", trust_env=False).text
    lines = [line.split() for line in text.splitlines() if not line.startswith("#")]
    return {name: float(number) for name, number in lines}


def test_the_clients_totals_equal_the_servers_counters_exactly(server: DemoServer) -> None:
    assert page(server)["llamacpp:tokens_predicted_total"] == 0, "warming up counts for nothing"
    clock = SystemClock()
    load = Load(server.url, clock=clock, shape=BRISK)
    load.start()
    while load.totals().requests < 60:
        assert load.totals().errors == 0
        clock.wait_until(clock.now().mono_s + 0.05)
    load.stop()

    totals, counters = load.totals(), page(server)
    assert totals.errors == 0
    assert totals.prompt_cached > 0, "shared openings come from the cache"
    assert counters["llamacpp:prompt_tokens_total"] == totals.prompt_computed
    assert counters["llamacpp:prompt_tokens_cached_total"] == totals.prompt_cached
    assert counters["llamacpp:tokens_predicted_total"] == totals.generated
    assert counters["llamacpp:requests_processing"] == 0, "stop() let the requests under way end"


def test_the_server_goes_by_the_demonstrations_name(server: DemoServer) -> None:
    models = httpx.get(f"{server.url}/v1/models", trust_env=False).json()
    assert models["data"][0]["id"] == NAME
