"""Alerts on budgets: gone, going fast, not going to last."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.rules.budgets import lead_s
from agent.settings import BudgetSettings
from tests.agent.rules.unit import CRITICAL, INSTANCE, WARNING, Case, groups_of, promtool, series, verdict

GROUPS = ("joulecar-budgets", "joulecar-budget-day", "joulecar-budget-roll 30")
THIS = {**CRITICAL, "budget": "day"}
SOON = {**WARNING, "budget": "day"}
ROLLS = {**CRITICAL, "budget": "roll 30"}


def budget(
    name: str = "day",
    ratio: str = "0.5x600",
    rates: tuple[str, str, str] = ("1x600", "1x600", "1x600"),
    exhausted: str = "100000x600",
    resets: str | None = "80000x600",
) -> list[dict[str, str]]:
    """The series of a budget. Times are seconds since the test's beginning."""
    found = [
        series("joulecar_budget_limit", "3600000x600", budget=name, unit="joules"),
        series("joulecar_budget_used_ratio", ratio, budget=name),
        series("joulecar_budget_exhausted_timestamp_seconds", exhausted, budget=name),
        *(
            series("joulecar_budget_burn_rate", rate, budget=name, window=window)
            for window, rate in zip(("1h", "6h", "24h"), rates, strict=True)
        ),
    ]
    if resets is not None:
        found.append(series("joulecar_budget_resets_timestamp_seconds", resets, budget=name))
    return found


CASES = [
    Case(
        "JoulecarBudgetExhausted",
        budget(ratio="0.9+0.01x20 0x20"),
        {"10m": [THIS], "20m": [THIS]},
        quiet=("9m", "21m"),
    ),
    Case("JoulecarBudgetExhausted", budget("roll 30", "1.2x20", resets=None), {"1m": [ROLLS]}),
    Case("JoulecarBudgetExhausted", budget("another", "1.2x20"), quiet=("10m",)),
    Case(  # 6 h at 2: 7,000 s are left, of a day's budget
        "JoulecarBudgetGoesFast",
        budget(rates=("2x60", "2x60", "1x60"), exhausted="7600+60x60"),
        {"3m": [], "20m": []},
        quiet=("3m", "20m"),
    ),
    Case(
        "JoulecarBudgetGoesFast",
        budget(rates=("2x60", "2x60", "1x60"), exhausted="7100+60x60"),
        {"3m": [THIS], "20m": [THIS]},
        quiet=("1m",),
    ),
    Case(  # the last hour is quiet again: at its rate the rest lasts four times as long
        "JoulecarBudgetGoesFast",
        budget(rates=("2x10 0.5x50", "2x60", "1x60"), exhausted="7100+60x60"),
        {"9m": [THIS]},
        quiet=("11m", "20m"),
    ),
    Case(  # a burst: at the rate of 6 h the rest lasts
        "JoulecarBudgetGoesFast",
        budget(rates=("8x60", "1x60", "1x60"), exhausted="20000x60"),
        quiet=("20m",),
    ),
    Case(  # the period is over sooner
        "JoulecarBudgetGoesFast",
        budget(rates=("2x60", "2x60", "1x60"), exhausted="7100+60x60", resets="7000+60x60"),
        quiet=("20m",),
    ),
    Case(  # it is gone already: another alert
        "JoulecarBudgetGoesFast",
        budget(ratio="1.1x60", rates=("2x60", "2x60", "1x60"), exhausted="0x60"),
        quiet=("20m",),
    ),
    Case(
        "JoulecarBudgetGoesFast",
        budget("roll 30", rates=("2x60", "2x60", "1x60"), exhausted="86000+60x60", resets=None),
        {"3m": [ROLLS]},
    ),
    Case("JoulecarBudgetGoesFast", budget(exhausted="_x60", rates=("0x60", "0x60", "0x60")), quiet=("20m",)),
    Case(
        "JoulecarBudgetWillNotLast",
        budget(exhausted="70000x600"),
        {"31m": [SOON]},
        quiet=("29m",),
    ),
    Case("JoulecarBudgetWillNotLast", budget(exhausted="81000x600"), quiet=("31m", "100m")),
    Case(  # at the rate of 24 h it lasts
        "JoulecarBudgetWillNotLast",
        budget(rates=("1x60", "1x60", "0.8x60"), exhausted="70000x60"),
        quiet=("31m", "59m"),
    ),
    Case("JoulecarBudgetWillNotLast", budget(ratio="1.1x60", exhausted="0x60"), quiet=("31m",)),
    Case(
        "JoulecarBudgetWillNotLast",
        budget("roll 30", exhausted="2000000x60", resets=None),
        {"31m": [{**WARNING, "budget": "roll 30"}]},
    ),
    Case("JoulecarBudgetWillNotLast", budget("roll 30", exhausted="_x60", resets=None), quiet=("59m",)),
    Case(
        "JoulecarBudgetUnknown",
        budget("roll 30", resets=None),
        {"16m": [SOON]},
        quiet=("14m",),
        target=False,
    ),
    Case("JoulecarBudgetUnknown", [*budget(), *budget("roll 30", resets=None)], quiet=("60m",)),
]


@pytest.mark.parametrize("alert", sorted({case.alert for case in CASES}))
def test_a_budgets_alert_fires_when_it_should_and_not_when_it_should_not(alert: str, tmp_path: Path) -> None:
    assert verdict(tmp_path, alert, [case for case in CASES if case.alert == alert], groups_of(*GROUPS)) == ""


def test_what_a_person_reads_in_an_alert_is_whole(tmp_path: Path) -> None:
    """Templates filled in, nothing lost in folding: three alerts in full."""
    rules = groups_of("joulecar-budgets", "joulecar-budget-day")
    texts = {rule["alert"]: rule["annotations"] for rule in rules["groups"][1]["rules"]}
    target = {**INSTANCE, "budget": "day"}
    told = {
        "JoulecarBudgetExhausted": (
            "1m",
            "critical",
            "Budget day is used up.",
            "104% of budget day is used on a:9420. Nothing is switched off: whatever runs on is over the limit.",
        ),
        "JoulecarBudgetGoesFast": (
            "22m",
            "critical",
            "Budget day is gone in 1h 45m 0s.",
            "At the pace of the last hour and of the last 6 hours, what is left of budget day on a:9420 is gone in "
            "1h 45m 0s, before the day is over.",
        ),
        "JoulecarBudgetWillNotLast": (
            "50m",
            "warning",
            "Budget day will not last.",
            "At the pace of the last 6 and 24 hours, what is left of budget day on a:9420 is gone in 1h 45m 0s, before "
            "the day is over.",
        ),
    }
    found = budget(ratio="1.04x2 0.9x60", rates=("2x60", "2x60", "2x60"), exhausted="6300+60x60")
    tests = [
        {
            "eval_time": at,
            "alertname": name,
            "exp_alerts": [
                {
                    "exp_labels": {**target, "severity": severity},
                    "exp_annotations": {
                        "summary": summary,
                        "description": description,
                        "runbook": texts[name]["runbook"],
                    },
                }
            ],
        }
        for name, (at, severity, summary, description) in told.items()
    ]
    assert promtool(tmp_path, rules, [{"interval": "1m", "input_series": found, "alert_rule_test": tests}]) == ""


def test_how_long_a_budget_lasts_is_told_at_the_rate_of_each_window(tmp_path: Path) -> None:
    rules = groups_of("joulecar-budgets")
    found = budget(rates=("4x9", "2x9", "0.5x9"), exhausted="3660x9")
    own = 'budget="day",instance="a:9420",job="joulecar"'
    test = {
        "expr": "joulecar:budget_lasts_seconds",
        "eval_time": "1m",
        "exp_samples": [
            {"labels": f'joulecar:budget_lasts_seconds{{{own},window="{window}"}}', "value": value}
            for window, value in (("1h", 1800), ("6h", 3600), ("24h", 14400))
        ],
    }
    assert promtool(tmp_path, rules, [{"interval": "1m", "input_series": found, "promql_expr_test": [test]}]) == ""


@pytest.mark.parametrize(
    ("period", "over_s", "lead"),
    [
        ("day", 0.0, 7200),
        ("week", 0.0, 43200),
        ("month", 0.0, 86400),
        ("rolling", 3600.0, 300),
        ("rolling", 9e6, 86400),
    ],
)
def test_the_fast_alert_leaves_time_to_do_something(period: str, over_s: float, lead: int) -> None:
    assert lead_s(BudgetSettings("b", "energy", 1.0, "joules", period, over_s=over_s)) == lead
