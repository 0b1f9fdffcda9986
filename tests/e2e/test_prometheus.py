"""Debian's prometheus scrapes the daemon: what PromQL makes of the counters is what the headline gauges say."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.e2e.conftest import Figure
from tests.e2e.worlds import GPUS_ALONE, engine, up
from tests.fakes.daemon import Daemon
from tests.fakes.engine import FakeEngine
from tests.fakes.nvml.driver import FakeDriver, FakeGpu
from tests.fakes.prometheus import Prometheus, check_metrics

pytestmark = pytest.mark.e2e

WATTS, TOKENS_PER_S = 400.0, 1000.0
WINDOW_S = 20
CONFIG = f"""\
[agent]
interval = "250ms"
window = "500ms"
[headline]
windows = ["{WINDOW_S}s", "1h"]
[grid]
zone = "FR"
providers = ["table"]
[site]
pue = 1.25
{GPUS_ALONE}"""
WORK = 'sum(joulecar_energy_joules_total{{use=~"prefill|decode"}}{range})'
TOKENS = 'sum(joulecar_tokens_total{{type="generated"}}{range})'

MOVING = 'changes({__name__=~"joulecar_(tokens|requests|energy_joules)_total"}[4s]) > 0'


def gauge(name: str, window: str, boundary: str) -> str:
    tokens = "" if name == "joulecar_joules_per_request" else 'tokens="generated",'
    return f'sum({name}{{{tokens}boundary="{boundary}",window="{window}"}})'


def test_promql_over_the_counters_equals_the_headline_gauges(tmp_path: Path, figure: Figure) -> None:
    driver = FakeDriver(tmp_path / "driver", [FakeGpu("GPU-aaaa", power_w=WATTS)], log_calls=False)
    with FakeEngine() as served:
        served.change(generated_per_s=TOKENS_PER_S, requests_per_s=20.0)
        table = engine("e", served.url).replace("500ms", "250ms")
        with Daemon(tmp_path / "agent", CONFIG + table, env=driver.env()) as agent:
            agent.wait_for(lambda s: up(s, "engine", "e") == 1)
            with Prometheus(tmp_path / "prometheus", agent.url.split("/")[2]) as prometheus:
                page = agent.scrape_for(WINDOW_S + 2.0)
                assert check_metrics(page.text) == ""
                compare_the_sliding_window(prometheus, figure)

                # Now the service rests, so that every series of a scrape tells of the same moment.
                served.change()
                driver.set_power("GPU-aaaa", 0.0)
                agent.wait_for(lambda _: not prometheus.query(MOVING), what="all counters stand still")
                rest_s = time.time()
                prometheus.wait_for_scrapes(1)
                compare_since_the_start(prometheus, rest_s, figure)
                assert prometheus.number("min(min_over_time(up[10m]))") == 1, "every scrape was answered"
                figure(f"prometheus: {prometheus.scrapes():.0f} scrapes, all good")


def compare_the_sliding_window(prometheus: Prometheus, figure: Figure) -> None:
    """Under a steady load, over the same 20 s: as soon as these hold no page that came late.

    The two cannot be equal: increase() extrapolates from scrapes at whole seconds, the gauge takes the agent's own
    points, a third of a second apart, and tokens are booked with their page while their joules follow a window
    (0.5 s) later. Each of the two ends may so be off by one page and one window: 2 x 0.5 s of 20 s would be 5%; a
    service that is steady leaves far less.
    """
    until_s = time.monotonic() + 60.0
    ratio = f"{TOKENS} / {WORK}".replace("sum(", "sum(increase(").format(range=f"[{WINDOW_S}s])")
    while True:
        now_s = time.time()
        by_promql = prometheus.number(ratio, now_s)
        by_gauge = prometheus.number(gauge("joulecar_tokens_per_joule", f"{WINDOW_S}s", "active"), now_s)
        is_near = by_promql == pytest.approx(by_gauge, rel=0.03) and by_gauge == pytest.approx(
            TOKENS_PER_S / WATTS, rel=0.03
        )
        if is_near or time.monotonic() > until_s:
            break
        prometheus.wait_for_scrapes(1)
    figure(
        f"{WINDOW_S} s of steady load: PromQL {by_promql:.4f} tokens/J, gauge {by_gauge:.4f} "
        f"({by_promql / by_gauge - 1:+.2%}), set {TOKENS_PER_S / WATTS:.4f}"
    )
    assert is_near


def compare_since_the_start(prometheus: Prometheus, at_s: float, figure: Figure) -> None:
    """Since the agent's start, for which the 1h window stands: the very same numbers, so equal to rounding."""
    expressions = {
        gauge("joulecar_tokens_per_joule", "1h", "active"): f"{TOKENS} / {WORK}",
        gauge("joulecar_tokens_per_joule", "1h", "serving"): (
            f'{TOKENS} / sum(joulecar_energy_joules_total{{{{use=~"prefill|decode|idle"}}}})'
        ),
        gauge("joulecar_joules_per_request", "1h", "active"): f"{WORK} / sum(joulecar_requests_total)",
        gauge("joulecar_gco2e_per_1k_tokens", "1h", "facility"): (
            f'1000 * sum(joulecar_emissions_gco2e_total{{{{engine="e"}}}}) / {TOKENS}'
        ),
    }
    for headline, promql in expressions.items():
        shown, made = (prometheus.number(e, at_s) for e in (headline, promql.format(range="")))
        figure(f"since the start: {headline} = {shown:.9g}, PromQL {made / shown - 1:+.1e}")
        assert made == pytest.approx(shown, rel=1e-9), headline
