"""`joulecar check` on the books' directory, prices and embodied carbon."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from agent.commands.report import Found
from agent.commands.site_lines import site
from agent.settings import (
    AgentSettings,
    BudgetSettings,
    EmbodiedSettings,
    PriceSettings,
    Settings,
    SiteSettings,
    SourcesSettings,
)
from agent.store.database import LOCK, Database
from tests.fakes.clock import FakeClock

QUIET = SourcesSettings(sysfs=Path("/none"), nvml="off", rapl="off", host="off")


def told(settings: Settings) -> list[Found]:
    return list(site(replace(settings, sources=QUIET), FakeClock(), ask=True))


def on(folder: Path) -> Settings:
    return replace(Settings(), agent=AgentSettings(state_dir=folder))


def test_without_a_directory_it_says_that_totals_begin_anew() -> None:
    (line,) = told(Settings())
    assert (line.ok, line.fault) == (False, False)
    assert "begin anew" in line.detail


def test_looking_at_a_directory_leaves_nothing_behind(tmp_path: Path) -> None:
    (line,) = told(on(tmp_path))
    assert line.ok
    assert not list(tmp_path.iterdir())


def test_a_directory_in_use_is_well_and_stays_in_use(tmp_path: Path) -> None:
    running = Database(tmp_path, 0.0)
    (line,) = told(on(tmp_path))
    assert (line.ok, line.detail) == (True, "an agent keeps its books there now")
    running.close()
    (after,) = told(on(tmp_path))
    assert (tmp_path / LOCK).exists()
    assert after.ok


def test_a_budget_is_told_in_the_unit_of_its_metrics() -> None:
    day = BudgetSettings("day", "energy", 3.6e6, "joules", period="day", engines=("a",), timezone="Europe/Paris")
    roll = BudgetSettings("roll", "carbon", 500.0, "gco2e", period="rolling", over_s=30 * 86_400.0)
    lines = {f.subject: f.detail for f in told(replace(Settings(), budgets=(day, roll)))}
    assert lines["day"] == "3.6e+06 joules in a day in Europe/Paris, of engine a"
    assert lines["roll"] == "500 gco2e in any 30 days, of all that is measured here"


def test_a_fixed_price_and_hardware_without_a_footprint_are_named() -> None:
    price = PriceSettings("fixed", "EUR", per_kwh=0.3)
    embodied = EmbodiedSettings(lifetime_s=4 * 365.25 * 86400)
    lines = told(replace(Settings(), site=SiteSettings(price=price, embodied=embodied)))
    assert "0.3 EUR/kWh" in lines[1].detail
    assert not lines[2].ok
    assert "server_kgco2e" in lines[2].fix
