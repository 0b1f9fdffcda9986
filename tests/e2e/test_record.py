"""What a daemon recorded, replayed: the same totals to the last digit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.agent.otlp.bodies import as_protobuf
from tests.e2e.conftest import Figure
from tests.e2e.test_spans import request
from tests.e2e.worlds import BRISK, GPUS_ALONE, engine, send_spans
from tests.fakes.daemon import Daemon, Scrape, Series, joulecar
from tests.fakes.engine import FakeEngine
from tests.fakes.nvml.driver import FakeDriver, FakeGpu

pytestmark = pytest.mark.e2e

A, B = "GPU-6d1c4a1e-0b62-4a9e-9d0e-3f6a5f0c0001", "GPU-6d1c4a1e-0b62-4a9e-9d0e-3f6a5f0c0002"
SAME = (
    "joulecar_device_energy_joules_total",
    "joulecar_energy_joules_total",
    "joulecar_tokens_total",
    "joulecar_requests_total",
    "joulecar_emissions_gco2e_total",
    "joulecar_request_energy_joules",
    "joulecar_request_emissions_gco2e",
    "joulecar_request_spans_total",
    "joulecar_request_unclaimed_joules",
    "joulecar_group_",
)


def exported(page: str) -> dict[str, str]:
    """The samples of the ledger's counters, digit by digit as they are written."""
    found = [line.rsplit(" ", 1) for line in page.splitlines() if line.startswith(SAME)]
    return dict(found)


def still(before: Scrape, after: Scrape) -> bool:
    return exported(before.text) == exported(after.text) and after.total("joulecar_energy_pending_joules") < 1e-9


def quiet(agent: Daemon) -> Scrape:
    """The last scrape, when nothing has counted for two seconds."""
    before = agent.scrape()
    for _ in range(20):
        after = agent.scrape_for(2.0)
        if still(before, after):
            return after
        before = after
    raise AssertionError(f"the counters do not stand still:\n{before.text}")


def test_a_replay_gives_the_totals_of_the_run_that_was_recorded(tmp_path: Path, figure: Figure) -> None:
    """Load, quiet, a reset, a GPU without a counter, a restarted engine. At the end the power is 0 and the engines
    rest, so that the last scrape is the final state."""
    driver = FakeDriver(tmp_path / "driver", [FakeGpu(A, power_w=90.0), FakeGpu(B, power_w=60.0)], log_calls=False)
    driver.no_energy_counter(B)
    trace = tmp_path / "trace.jsonl.gz"
    with FakeEngine() as served, FakeEngine() as other:
        config = "\n".join(
            [
                BRISK,
                GPUS_ALONE,
                '[grid]\nzone = "FR"\nproviders = ["table"]\n[site]\npue = 1.3',
                engine("a", served.url, f'gpus = ["{A}"]'),
                engine("b", other.url, f'gpus = ["{B}"]'),
            ]
        )
        with Daemon(tmp_path / "agent", config, env=driver.env(), arguments=["--record", str(trace)]) as agent:
            agent.scrape_for(1.5)
            served.change(generated_per_s=120.0, prompt_per_s=500.0, cached_per_s=100.0, requests_per_s=3.0)
            other.change(generated_per_s=30.0, prompt_per_s=10.0)
            driver.set_power(A, 500.0)
            driver.set_power(B, 250.0)
            agent.scrape_for(1.5)
            driver.reset(A)
            served.restart()
            agent.scrape_for(1.0)
            agent.scrape_for(1.0)
            served.change()
            other.change()
            agent.scrape_for(1.0)
            driver.set_power(A, 0.0)
            driver.set_power(B, 0.0)
            last = quiet(agent)
            ended = agent.stop()
    assert ended.rc == 0, ended.err

    configs: tuple[list[str], ...] = (
        ["--config", str(agent.config)],
        [],
    )  # the trace tells all that the configuration does
    pages = [joulecar("replay", str(trace), *config, "--format", "prometheus") for config in configs]
    assert [p.rc for p in pages] == [0, 0], pages[0].err
    live, replayed = exported(last.text), exported(pages[0].out)
    assert replayed == live
    assert replayed == exported(pages[1].out)
    figure(f"record and replay: {len(live)} counters equal to the last digit, e.g. {max(live.items())}")
    assert len(live) > 15
    assert all(float(v) > 0 for s, v in live.items() if 'use="decode"' in s or 'type="generated"' in s)


@pytest.mark.parametrize("redacted", [False, True])
def test_after_a_restart_a_replay_has_the_totals_of_both_runs(tmp_path: Path, redacted: bool, figure: Figure) -> None:
    """What the first run left in state_dir is in the second one's trace, requests and their groups too; the first
    one's trace is kept beside it."""
    driver = FakeDriver(tmp_path / "driver", [FakeGpu(A, power_w=400.0)], log_calls=False)
    trace = tmp_path / "trace.jsonl"
    (tmp_path / "state").mkdir()
    pages = []
    with FakeEngine() as served:
        config = f'{BRISK}state_dir = "{tmp_path / "state"}"\nrecord_redact = {str(redacted).lower()}\n{GPUS_ALONE}'
        config += "[grid]\nfixed_g_per_kwh = 400\n" + engine("a", served.url)
        config += '\n[otlp]\nlisten = "127.0.0.1:0"\ngroup_by = ["tenant.id"]\n'
        config += "[attribution]\nprefill_weight = 0.12\n"  # else requests wait a minute for prices that are learned
        for run in range(2):
            with Daemon(tmp_path / "agent", config, env=driver.env(), arguments=["--record", str(trace)]) as agent:
                served.change(generated_per_s=100.0)
                driver.set_power(A, 400.0)
                agent.scrape_for(2.0)
                send_spans(agent, as_protobuf(*(request(10 * run + n, ended_ago_s=0.1 + 0.2 * n) for n in range(4))))
                served.change()
                driver.set_power(A, 0.0)
                attributed(agent, 4 * (run + 1))
                last = quiet(agent)
                agent.stop()
            pages.append(exported(last.text))
    replayed = [
        exported(joulecar("replay", str(file), "--format", "prometheus").out)
        for file in (tmp_path / "trace.1.jsonl", trace)
    ]
    if redacted:
        assert "tiny-llama" not in trace.read_text()
        replayed, pages = ([unnamed(page) for page in some] for some in (replayed, pages))
    assert replayed == pages
    joules = [sum(float(v) for s, v in page.items() if s.startswith(SAME[1])) for page in pages]
    asked = [sum(float(v) for s, v in page.items() if s.startswith(f"{SAME[5]}_count")) for page in pages]
    figure(
        f"recorded over a restart: {joules[0]:.1f} J, {asked[0]:.0f} requests, then {joules[1]:.1f} J, {asked[1]:.0f}"
    )
    assert joules[1] > 1.5 * joules[0] > 0
    assert asked == [4, 8]


def attributed(agent: Daemon, requests: int) -> None:
    agent.wait_for(lambda s: s.total("joulecar_request_energy_joules_count") == requests)


def unnamed(page: dict[str, str]) -> dict[str, str]:
    """Names of models and tenants as redacting writes them, in the order of their values."""
    named = re.compile(r'\b(model|tenant_id)="[^"]+"')
    return {
        f"{named.sub('?', series)} {n}": v
        for n, (series, v) in enumerate(sorted(page.items(), key=lambda i: (named.sub("?", i[0]), i[1])))
    }


def test_a_replay_ends_where_a_run_ended_that_was_stopped_in_mid_work(tmp_path: Path, figure: Figure) -> None:
    """The last scrape cannot have seen the end; the log's last line has."""
    driver = FakeDriver(tmp_path / "driver", [FakeGpu(A, power_w=400.0)], log_calls=False)
    trace = tmp_path / "trace.jsonl"
    with FakeEngine() as served:
        config = BRISK + GPUS_ALONE + engine("a", served.url)
        with Daemon(tmp_path / "agent", config, env=driver.env(), arguments=["--record", str(trace)]) as agent:
            agent.wait_for(lambda s: bool(s.all("joulecar_tokens_total")))
            served.change(generated_per_s=100.0)
            agent.scrape_for(2.3)
            ended = agent.stop()
    told = re.search(r"booked: gpu ([\d.]+) J, generated ([\d.]+) tokens", ended.err)
    assert told, ended.err
    page = joulecar("replay", str(trace), "--config", str(agent.config), "--format", "prometheus").out
    replayed: dict[Series, float] = {
        (s.name, frozenset(s.labels.items())): s.value
        for family in text_string_to_metric_families(page)
        for s in family.samples
    }
    final = Scrape(replayed, page)
    figure(f"stopped in mid-work: {told[1]} J, {told[2]} tokens, live and replayed")
    assert final.total("joulecar_device_energy_joules_total") == pytest.approx(float(told[1]), abs=0.00051)
    assert final.total("joulecar_energy_joules_total") == pytest.approx(float(told[1]), abs=0.00051)
    assert final.total("joulecar_tokens_total", type="generated") == float(told[2])
    assert final.total("joulecar_energy_pending_joules") == pytest.approx(0, abs=1e-9)
