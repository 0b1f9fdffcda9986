"""A budget goes over its limit, and a person hears of it once, by Debian's prometheus and alertmanager."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.e2e.conftest import Figure
from tests.e2e.worlds import BRISK, GPUS_ALONE
from tests.fakes.alertmanager import Alertmanager, Told, Webhook
from tests.fakes.daemon import Daemon, joulecar
from tests.fakes.nvml.driver import FakeDriver, FakeGpu
from tests.fakes.pages import Pages
from tests.fakes.prometheus import Prometheus

pytestmark = pytest.mark.e2e

EXHAUSTED = "JoulecarBudgetExhausted"
HEARD_S = 60.0  # scrape, evaluation and notification are a second apart each, on a machine that has the time
GPU = "GPU-aaaa"
LIMIT_J, QUIET_W, LOUD_W = 1500.0, 20.0, 650.0


class Relay:
    """The agent's page under an address that stays when the agent starts again. Its last page stands meanwhile, as
    if no scrape had come between: a missed one would take every alert back, for the wrong reason."""

    def __init__(self) -> None:
        self.agent: Daemon | None = None
        self._last = b""

    def page(self, _: int) -> bytes:
        if self.agent is not None:
            self._last = self.agent.scrape().text.encode()
        return self._last


def settings(folder: Path, limit: str) -> str:
    return (
        BRISK
        + f'state_dir = "{folder}"\n{GPUS_ALONE}'
        + f'[[budget]]\nname = "day"\nlimit = "{limit}"\nperiod = "rolling"\nover = "1d"\n'
    )


def rules(folder: Path, config: str) -> Path:
    """What `joulecar rules` writes for a configuration."""
    file = folder / "budgets.toml"
    file.write_text(config)
    done = joulecar("rules", "--config", str(file))
    assert (done.rc, done.err) == (0, "")
    written = folder / "rules.yaml"
    written.write_text(done.out)
    return written


def test_a_budget_over_its_limit_is_told_once_survives_a_restart_and_is_taken_back_with_a_higher_limit(
    tmp_path: Path, figure: Figure
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    config = settings(state, f"{LIMIT_J:g} J")
    driver = FakeDriver(tmp_path / "driver", [FakeGpu(GPU, power_w=QUIET_W)], log_calls=False)
    relay = Relay()
    with (
        Webhook() as webhook,
        Pages(relay.page) as pages,
        Alertmanager(tmp_path / "alertmanager", webhook.url) as alertmanager,
    ):
        watched = rules(tmp_path, config)
        with Daemon(tmp_path / "first", config, env=driver.env()) as agent:
            relay.agent = agent
            agent.wait_for(lambda s: (s.get("joulecar_budget_used", budget="day") or 0.0) > 0)
            with Prometheus(
                tmp_path / "prometheus", pages.target, rules=[watched], alertmanagers=[alertmanager.target]
            ) as prometheus:
                wait_until_scraped(prometheus)
                prometheus.wait_for_scrapes(2)
                assert webhook.told == [], "nothing to say below the limit"

                told = goes_over(driver, agent, webhook, figure)
                assert told.labels["instance"] == pages.target
                assert told.annotations["summary"] == "Budget day is used up."
                assert f" of budget day is used on {pages.target}. " in told.annotations["description"]

                used_j = agent.scrape().value("joulecar_budget_used", budget="day")
                relay.agent = None
                agent.stop()
                with Daemon(tmp_path / "second", config, env=driver.env()) as again:
                    relay.agent = again
                    survived = again.wait_for(lambda s: s.get("joulecar_budget_used", budget="day") is not None)
                    assert survived.value("joulecar_budget_used", budget="day") >= used_j
                    prometheus.wait_for_scrapes(4)
                    assert says(webhook) == ["firing"], "once, however often it is evaluated, a restart between"
                    relay.agent = None
                    again.stop()

                with Daemon(tmp_path / "third", settings(state, "1 MJ"), env=driver.env()) as higher:
                    relay.agent = higher
                    higher.wait_for(lambda s: s.get("joulecar_budget_used_ratio", budget="day") is not None)
                    under_s = time.monotonic()
                    resolved_s = webhook.wait_for(EXHAUSTED, "resolved", HEARD_S).at_s - under_s
                    prometheus.wait_for_scrapes(2)
                    assert says(webhook) == ["firing", "resolved"]
                    assert higher.scrape().value("joulecar_budget_used", budget="day") >= used_j
                    figure(f"a budget's alert: taken back {resolved_s:.1f} s after the page showed a higher limit")
                    relay.agent = None


def wait_until_scraped(prometheus: Prometheus) -> None:
    until_s = time.monotonic() + 60.0
    while not prometheus.query("joulecar_budget_used_ratio < 1"):
        assert time.monotonic() < until_s, "prometheus does not scrape"
        time.sleep(0.1)


def goes_over(driver: FakeDriver, agent: Daemon, webhook: Webhook, figure: Figure) -> Told:
    """Load until the budget is used up; what is said of it."""
    driver.set_power(GPU, LOUD_W)
    agent.wait_for(lambda s: s.value("joulecar_budget_used_ratio", budget="day") >= 1)
    over_s = time.monotonic()
    driver.set_power(GPU, QUIET_W)
    told = webhook.wait_for(EXHAUSTED, "firing", HEARD_S)
    figure(f"a budget's alert: at the webhook {told.at_s - over_s:.1f} s after the page showed the limit reached")
    assert told.labels["severity"] == "critical"
    return told


def says(webhook: Webhook) -> list[str]:
    """What was said of the budget so far. Nothing else is used up, so that nothing else may be said of it."""
    assert {told.labels["alertname"] for told in webhook.told} == {EXHAUSTED}
    return [told.status for told in webhook.told]
