"""A real llama-server under a real load, on this machine's own meters: both sides count the same tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.clock import SystemClock
from agent.demo.load import Load, LoadShape, LoadTotals
from agent.demo.server import DemoServer
from agent.demo.tiny_model import NAME
from tests.e2e.conftest import Figure
from tests.e2e.worlds import BRISK, engine, up
from tests.fakes.daemon import Daemon, Scrape
from tests.fakes.llama import BUILD_TIMEOUT_S, llama_server_binary, tiny_model_file

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(BUILD_TIMEOUT_S)]

BURST = LoadShape(pause_s=(0.0, 0.02), quiet_s=0.0)
TYPES = ("prompt_computed", "prompt_cached", "generated")


def server(tmp_path: Path, port: int | None = None) -> DemoServer:
    return DemoServer(llama_server_binary(), tiny_model_file(), tmp_path / "llama.log", clock=SystemClock(), port=port)


def burst(running: DemoServer, requests: int, agent: Daemon, seed: int) -> LoadTotals:
    """A load of at least this many requests, watched all the while; its own count after the last answer."""
    load = Load(running.url, clock=SystemClock(), shape=BURST, seed=seed)
    load.start()
    try:
        agent.wait_for(lambda _: load.totals().requests >= requests, 120.0, f"{requests} answers")
    finally:
        load.stop()
    assert load.totals().errors == 0
    return load.totals()


def counted(scrape: Scrape) -> dict[str, float]:
    return {t: scrape.total("joulecar_tokens_total", engine="llama", type=t) for t in TYPES}


def of(totals: LoadTotals) -> dict[str, float]:
    return {t: float(getattr(totals, t)) for t in TYPES}


def plus(one: dict[str, float], other: dict[str, float]) -> dict[str, float]:
    return {t: one[t] + other[t] for t in TYPES}


def test_tokens_equal_the_clients_count_and_a_killed_server_costs_none(tmp_path: Path, figure: Figure) -> None:
    with server(tmp_path) as first:
        config = BRISK + engine("llama", first.url, f'model = "{NAME}"', "gpus = []")
        with Daemon(tmp_path / "agent", config) as agent:
            agent.wait_for(lambda s: up(s, "engine", "llama") == 1)
            one = of(burst(first, 50, agent, seed=1))
            page = agent.wait_for(lambda s: counted(s) == one, what=f"the client's totals, {one}")
            # The pages after the last answer tell nothing more.
            page = agent.scrape_for(1.5)
            assert counted(page) == one
            assert one["prompt_cached"] > 0
            figure(f"llama-server: the client's {one} are the agent's")
            assert_headlines(page, figure)

            port = int(first.url.rsplit(":", 1)[1])
            first.stop()
            agent.wait_for(lambda s: up(s, "engine", "llama") == 0, what="the server is missed")
            with server(tmp_path, port) as second:
                agent.wait_for(lambda s: up(s, "engine", "llama") == 1, what="the server is back")
                both = plus(one, of(burst(second, 60, agent, seed=2)))
                agent.wait_for(lambda s: counted(s) == both, what=f"the totals of both runs, {both}")
                page = agent.scrape_for(1.5)
                assert counted(page) == both
            figure(f"llama-server restarted: the totals of both runs, {both}, are the agent's")
            ended = agent.stop()
    assert ended.rc == 0
    assert len(agent.lines("engine llama.* is back")) == 1
    assert "Traceback" not in ended.err
    figure(f"worst imbalance of any scrape beside llama-server: {agent.worst_imbalance:.1e}")


def assert_headlines(page: Scrape, figure: Figure) -> None:
    per_joule = page.value(
        "joulecar_tokens_per_joule", engine="llama", model=NAME, window="1h", tokens="generated", boundary="active"
    )
    work_j = sum(page.total("joulecar_energy_joules_total", engine="llama", use=use) for use in ("prefill", "decode"))
    generated = page.total("joulecar_tokens_total", type="generated")
    figure(f"llama-server: {generated:.0f} tokens / {work_j:.3f} J = {per_joule:.3f} tokens/J")
    assert per_joule == pytest.approx(generated / work_j, rel=1e-9)


def test_a_restart_that_no_scrape_has_seen_costs_no_token(tmp_path: Path, figure: Figure) -> None:
    """Between two scrapes the server is gone and there again: only its counters tell, by standing lower."""
    with server(tmp_path) as first:
        table = engine("llama", first.url, f'model = "{NAME}"', "gpus = []").replace("500ms", "5s")
        with Daemon(tmp_path / "agent", BRISK + table) as agent:
            agent.wait_for(lambda s: up(s, "engine", "llama") == 1)
            one = of(burst(first, 30, agent, seed=3))
            agent.wait_for(lambda s: counted(s) == one, what=f"the client's totals, {one}")
            agent.wait_for(lambda s: s.value("joulecar_engine_sample_age_seconds", engine="llama") < 1.0)
            port = int(first.url.rsplit(":", 1)[1])
            first.stop()
            with server(tmp_path, port) as second:
                both = plus(one, of(burst(second, 3, agent, seed=4)))
                page = agent.wait_for(lambda s: counted(s) == both, what=f"the totals of both runs, {both}")
            assert page.value("joulecar_part_errors_total", part="engine", name="llama") == 0, "nobody saw it away"
    figure(f"an unseen restart of llama-server: {both} are the agent's")
