"""A budget goes over its limit, and a person hears of it once, by Debian's prometheus and alertmanager."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.conftest import Figure
from tests.fakes.alertmanager import Alertmanager, Webhook
from tests.fakes.daemon import joulecar
from tests.fakes.pages import Pages
from tests.fakes.prometheus import Prometheus

pytestmark = pytest.mark.e2e

EXHAUSTED = "JoulecarBudgetExhausted"
HEARD_S = 8.0  # scrape, evaluation and notification are a second apart each


@dataclass
class Page:
    """A made-up agent's page: a budget whose use is told."""

    ratio: float = 0.5

    def text(self, _: int) -> bytes:
        now_s = time.time()
        lines = [
            'joulecar_build_info{version="0"} 1',
            'joulecar_budget_limit{budget="day",unit="joules"} 1000',
            f'joulecar_budget_used{{budget="day",unit="joules"}} {1000 * self.ratio}',
            f'joulecar_budget_used_ratio{{budget="day"}} {self.ratio}',
            f'joulecar_budget_resets_timestamp_seconds{{budget="day"}} {now_s + 1000}',
            f'joulecar_budget_exhausted_timestamp_seconds{{budget="day"}} {now_s + 5000}',
            *(f'joulecar_budget_burn_rate{{budget="day",window="{w}"}} 1' for w in ("1h", "6h", "24h")),
            "",
        ]
        return "\n".join(lines).encode()


def rules(folder: Path, config: str) -> Path:
    """What `joulecar rules` writes for a configuration."""
    file = folder / "budgets.toml"
    file.write_text(config)
    done = joulecar("rules", "--config", str(file))
    assert (done.rc, done.err) == (0, "")
    written = folder / "rules.yaml"
    written.write_text(done.out)
    return written


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with Webhook() as heard:
        yield heard


def test_a_budget_over_its_limit_is_told_once_and_taken_back_when_its_period_begins_anew(
    tmp_path: Path, webhook: Webhook, figure: Figure
) -> None:
    page = Page()
    written = rules(tmp_path, '[[budget]]\nname = "day"\nlimit = "1 kJ"\nperiod = "day"\n')
    with (
        Pages(page.text) as pages,
        Alertmanager(tmp_path / "alertmanager", webhook.url) as alertmanager,
        Prometheus(
            tmp_path / "prometheus", pages.target, rules=[written], alertmanagers=[alertmanager.target]
        ) as prometheus,
    ):
        until_s = time.monotonic() + 20.0
        while not prometheus.query("joulecar:budget_lasts_seconds") and time.monotonic() < until_s:
            time.sleep(0.1)
        assert prometheus.number("min(joulecar_budget_used_ratio)") == 0.5
        time.sleep(2.0)
        assert webhook.told == [], "nothing to say below the limit"

        page.ratio, over_s = 1.25, time.monotonic()
        told = webhook.wait_for(EXHAUSTED, "firing", HEARD_S)
        fired_s = told.at_s - over_s
        assert told.labels["severity"] == "critical"
        assert told.annotations["summary"] == "Budget day is used up."
        assert told.annotations["description"].startswith(f"125% of budget day is used on {pages.target}.")
        time.sleep(4.0)
        assert len(webhook.of(EXHAUSTED, "firing")) == 1, "once, however often it is evaluated"
        assert webhook.of(EXHAUSTED, "resolved") == []

        page.ratio, under_s = 0.0, time.monotonic()
        resolved_s = webhook.wait_for(EXHAUSTED, "resolved", HEARD_S).at_s - under_s
        time.sleep(2.0)
        assert [(told.labels["alertname"], told.status) for told in webhook.told] == [
            (EXHAUSTED, "firing"),
            (EXHAUSTED, "resolved"),
        ]
        figure(f"a budget's alert: {fired_s:.1f} s from the page to the webhook, {resolved_s:.1f} s to be taken back")
