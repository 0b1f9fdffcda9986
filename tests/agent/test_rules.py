"""Every rule that `joulecar rules` writes, by Debian's promtool: when it speaks, and when it must not."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.cli import main
from agent.grids.history import Rung
from agent.rules.budgets import lead_s
from agent.rules.document import groups, rules_yaml
from agent.rules.health import FALLBACKS
from agent.rules.rule import Alert, Group, Record, Severity, quoted
from agent.rules.yaml import document
from agent.settings import BudgetSettings
from tests.fakes.prometheus import program

DEPLOY = Path(__file__).parents[2] / "deploy" / "prometheus"
DAY = BudgetSettings("day", "energy", 3.6e6, "joules", "day")
ROLLING = BudgetSettings("roll 30", "carbon", 1e6, "gco2e", "rolling", over_s=30 * 86400.0)
RULES = rules_yaml((DAY, ROLLING))
TARGET = 'instance="a:9420",job="joulecar"'


def series(name: str, values: str, /, **labels: str) -> dict[str, str]:
    """An input series of target a:9420; another one by instance=."""
    own = {"instance": "a:9420", "job": "joulecar", **labels}
    inside = ",".join(f"{label}={quoted(value)}" for label, value in own.items())
    return {"series": f"{name}{{{inside}}}", "values": values}


def promtool(folder: Path, rules: Mapping[str, Any], tests: Sequence[Mapping[str, Any]], every: str = "1m") -> str:
    """What `promtool test rules` has to say; nothing, if all is well."""
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules))
    spec = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": every,
        "group_eval_order": [group["name"] for group in rules["groups"]],  # promtool has no order of its own
        "tests": list(tests),
    }
    (folder / "test.yaml").write_text(yaml.safe_dump(spec))
    done = subprocess.run(
        [program("promtool"), "test", "rules", "test.yaml"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def rules_for(alert: str) -> dict[str, Any]:
    """An alert's group as it is written and those that it builds on, but for the texts, which promtool would want to
    see repeated."""
    rules: dict[str, Any] = yaml.safe_load(RULES)
    needed = "joulecar-fleet-5m" if alert == "JoulecarTokensPerJouleHalved" else "joulecar-budgets"
    rules["groups"] = [
        group
        for group in rules["groups"]
        if group["name"] == needed or any(rule.get("alert") == alert for rule in group["rules"])
    ]
    for group in rules["groups"]:
        for rule in group["rules"]:
            rule.pop("annotations", None)
    return rules


@dataclass(frozen=True, slots=True)
class Case:
    """Series, and what an alert makes of them: the labels of those that fire at a time. `quiet`: nobody may."""

    alert: str
    series: list[dict[str, str]]
    fires: dict[str, list[dict[str, str]]] = field(default_factory=dict)  # eval_time -> labels besides the target's
    quiet: tuple[str, ...] = ()
    every: str = "1m"
    target: bool = True  # whether the alert carries the target's labels


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


def books(total: str, pending: str | None, device: str) -> list[dict[str, str]]:
    found = [
        series("joulecar_energy_joules_total", total, engine="e", model="m", use="decode", kind="gpu"),
        series("joulecar_energy_joules_total", "50+0x60", engine="", model="", use="unassigned", kind="gpu"),
        series("joulecar_device_energy_joules_total", device, device="GPU-0", kind="gpu"),
    ]
    return found if pending is None else [*found, series("joulecar_energy_pending_joules", pending, kind="gpu")]


def serving(tokens: str, joules: str, **labels: str) -> list[dict[str, str]]:
    owner = {"engine": "e", "model": "m", **labels}
    return [
        series("joulecar_build_info", "1x2000", version="1", **{k: v for k, v in labels.items() if k != "model"}),
        series("joulecar_tokens_total", tokens, type="generated", **owner),
        series("joulecar_energy_joules_total", joules, use="decode", kind="gpu", **owner),
    ]


CRITICAL, WARNING = {"severity": "critical"}, {"severity": "warning"}
GAP = {"device": "GPU-0", "kind": "gpu"}
GRID = {"zone": "FR", "provider": "p", "signal": "average", "basis": "direct"}
THIS = {**CRITICAL, "budget": "day"}
SOON = {**WARNING, "budget": "day"}
ROLLS = {**CRITICAL, "budget": "roll 30"}

CASES = [
    Case("JoulecarDown", [series("up", "1x5 0x20")], {"12m": [CRITICAL]}, quiet=("5m", "9m")),
    Case(
        "JoulecarDown",
        [{"series": 'up{job="monitoring/joulecar",instance="b"}', "values": "0x20"}, series("up", "0x20", job="node")],
        {"6m": [{**CRITICAL, "job": "monitoring/joulecar", "instance": "b"}]},
        target=False,
    ),
    Case("JoulecarAbsent", [series("up", "1x60", job="node")], {"11m": [CRITICAL]}, quiet=("9m",), target=False),
    Case("JoulecarAbsent", [series("up", "0x60")], quiet=("59m",)),
    Case(
        "JoulecarGap",
        [
            series("joulecar_build_info", "1x120", version="1"),
            series("joulecar_device_gap_seconds_total", "7x30 67x90", reason="reset", **GAP),
        ],
        {"32m": [{**WARNING, **GAP}], "44m": [{**WARNING, **GAP}]},
        quiet=("20m", "30m", "50m"),
    ),
    Case(  # the series is born with its first gap
        "JoulecarGap",
        [
            series("joulecar_build_info", "1x120", version="1"),
            series("joulecar_device_gap_seconds_total", "_x30 60x90", reason="reset", **GAP),
        ],
        {"31m": [{**WARNING, **GAP}], "44m": [{**WARNING, **GAP}]},
        quiet=("29m", "50m"),
    ),
    Case(  # Prometheus is young, not the gap
        "JoulecarGap",
        [
            series("joulecar_build_info", "1x120", version="1"),
            series("joulecar_device_gap_seconds_total", "60x120", reason="reset", **GAP),
        ],
        quiet=("1m", "14m", "20m"),
    ),
    Case(
        "JoulecarEngineUnreadable",
        [
            series("joulecar_part_up", "1x10 0x10", part="engine", name="chat"),
            series("joulecar_part_up", "0x20", part="grid", name="table"),
        ],
        {"17m": [{**WARNING, "part": "engine", "name": "chat"}]},
        quiet=("10m", "14m"),
    ),
    Case(
        "JoulecarPartDown",
        [
            series("joulecar_part_up", "1x10 0x20", part="ledger", name="disk"),
            series("joulecar_part_up", "0x30", part="engine", name="chat"),
            series("joulecar_part_up", "0x30", part="grid", name="table"),  # no zone configured: nobody's fault
            series("joulecar_part_up", "1x30", part="source", name="nvml"),
        ],
        {"22m": [{**WARNING, "part": "ledger", "name": "disk"}]},
        quiet=("10m", "19m"),
    ),
    Case(
        "JoulecarGridStale",
        [series("joulecar_grid_intensity_age_seconds", "0+60x300", zone="FR")],
        {"200m": [{**WARNING, "zone": "FR"}]},
        quiet=("180m", "190m"),
    ),
    Case(
        "JoulecarGridFallback",
        [
            series("joulecar_grid_intensity_info", "1x60 _x60", kind="actual", **GRID),
            series("joulecar_grid_intensity_info", "_x60 1x90", kind="last_value", **GRID),
        ],
        {"125m": [{"severity": "info", "kind": "last_value", **GRID}]},
        quiet=("60m", "110m"),
    ),
    Case(  # a live source that is down, and the yearly figure in its place
        "JoulecarGridFallback",
        [
            series("joulecar_grid_intensity_info", "1x90", kind="yearly", **GRID),
            series("joulecar_part_up", "0x90", part="grid", name="entsoe"),
        ],
        {"61m": [{"severity": "info", "kind": "yearly", **GRID}]},
    ),
    Case(  # the yearly figure as configured
        "JoulecarGridFallback",
        [
            series("joulecar_grid_intensity_info", "1x90", kind="yearly", **GRID),
            series("joulecar_part_up", "1x90", part="grid", name="table"),
        ],
        quiet=("80m",),
    ),
    Case(
        "JoulecarResidual",
        books("0+100x30", "10x30", "60+100x10 1061+100x20"),
        {"20m": [{**CRITICAL, "kind": "gpu"}]},
        quiet=("10m", "14m"),
    ),
    Case("JoulecarResidual", books("0+100x30", None, "51+100x30"), {"20m": [{**CRITICAL, "kind": "gpu"}]}),
    Case("JoulecarResidual", books("0+100x30", "10x30", "60+100x30"), quiet=("6m", "29m")),
    Case("JoulecarResidual", books("1e9+100x30", "0.0001x30", "1000000050+100x30"), quiet=("29m",)),
    Case(  # from 2 tokens per joule to 0.86, 7 days and 2 hours after the beginning
        "JoulecarTokensPerJouleHalved",
        serving("0+600x360", "0+300x340 102700+700x20"),
        {"10320m": [{**WARNING, "model": "m", "job": "joulecar"}]},
        quiet=("10200m", "10260m"),
        every="30m",
        target=False,
    ),
    Case(  # to 1.2
        "JoulecarTokensPerJouleHalved",
        serving("0+600x360", "0+300x340 102500+500x20"),
        quiet=("10320m", "10800m"),
        every="30m",
    ),
    Case(
        "JoulecarUnattributed",
        [
            series("joulecar_energy_joules_total", "0+90x120", engine="e", model="m", use="decode", kind="gpu"),
            series("joulecar_energy_joules_total", "0+900x120", engine="", model="", use="foreign", kind="gpu"),
            series("joulecar_energy_joules_total", "0+10x120", engine="", model="", use="unattributed", kind="gpu"),
        ],
        {"20m": [WARNING]},
        quiet=("10m",),
    ),
    Case(
        "JoulecarUnattributed",
        [
            series("joulecar_energy_joules_total", "0+96x120", engine="e", model="m", use="idle", kind="gpu"),
            series("joulecar_energy_joules_total", "0+4x120", engine="", model="", use="unattributed", kind="gpu"),
        ],
        quiet=("60m", "110m"),
    ),
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
ALERTS = [rule for group in groups((DAY, ROLLING)) for rule in group.rules if isinstance(rule, Alert)]


@pytest.mark.parametrize("alert", sorted({alert.name for alert in ALERTS}))
def test_an_alert_fires_when_it_should_and_not_when_it_should_not(alert: str, tmp_path: Path) -> None:
    cases = [case for case in CASES if case.alert == alert]
    assert any(any(case.fires.values()) for case in cases), "no case in which it fires"
    assert any(case.quiet for case in cases), "no case in which it must not"
    tests = []
    for case in cases:
        target = {"instance": "a:9420", "job": "joulecar"} if case.target else {}
        expected = [
            {
                "eval_time": at,
                "alertname": alert,
                "exp_alerts": [{"exp_labels": {**target, **labels}} for labels in fires],
            }
            for at, fires in {**case.fires, **{at: [] for at in case.quiet}}.items()
        ]
        tests.append({"interval": case.every, "input_series": case.series, "alert_rule_test": expected})
    assert promtool(tmp_path, rules_for(alert), tests, cases[0].every) == ""


def test_what_a_person_reads_in_an_alert_is_whole(tmp_path: Path) -> None:
    """Templates filled in, nothing lost in folding: three alerts in full."""
    rules = yaml.safe_load(RULES)
    texts = {
        rule["alert"]: rule["annotations"]
        for group in rules["groups"]
        for rule in group["rules"]
        if "alert" in rule and rule["labels"].get("budget", "day") == "day"
    }
    rules["groups"] = [
        group for group in rules["groups"] if group["name"] in ("joulecar-budgets", "joulecar-budget-day")
    ]
    target = {"instance": "a:9420", "job": "joulecar", "budget": "day"}
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


def test_every_alert_says_what_is_wrong_and_what_to_do() -> None:
    for alert in ALERTS:
        assert len(alert.summary) < 100, alert.name
        assert len(alert.description.split()) > 7, alert.name
        assert len(alert.runbook.split()) > 8, alert.name
        assert alert.summary.endswith("."), alert.name


# -- what is recorded


OWN, NOBODY = {"engine": "e", "model": "m"}, {"engine": "", "model": ""}
A, B = {"instance": "a", "cluster": "c"}, {"instance": "b", "cluster": "c"}
FLEET = [
    # a: 200 W of model m, 300 W of nobody's, 100 tokens/s, 0.01 g/s of m and 0.02 of nobody
    *serving("0+6000x20", "0+9000x20", **A),
    series("joulecar_energy_joules_total", "0+3000x20", **A, **OWN, use="idle"),
    series("joulecar_energy_joules_total", "0+18000x20", **A, **NOBODY, use="unassigned"),
    series("joulecar_emissions_gco2e_total", "0+0.6x20", **A, **OWN, scope="operational"),
    series("joulecar_emissions_gco2e_total", "0+1.2x20", **A, **NOBODY, scope="operational"),
    series("joulecar_emissions_gco2e_total", "0+6x20", **A, **OWN, scope="embodied"),
    series("joulecar_device_energy_joules_total", "0+30000x20", **A, device="GPU-0", kind="gpu"),
    series("joulecar_requests_total", "0+60x20", **A, **OWN, outcome="stop"),
    series("joulecar_requests_total", "0+60x20", **A, **OWN, outcome="length"),
    series("joulecar_grid_intensity_info", "1x20", **A, kind="actual", **GRID),
    # b: in the same zone, 100 W and 400 tokens/s of m
    *serving("0+24000x20", "0+6000x20", **B),
    series("joulecar_emissions_gco2e_total", "0+0.6x20", **B, **OWN, scope="operational"),
    series("joulecar_grid_intensity_info", "1x20", **B, kind="yearly", **GRID),
    # d: knows no zone, 50 W and 100 tokens/s of n
    *serving("0+6000x20", "0+3000x20", instance="d", cluster="c", model="n"),
    # x: in another cluster, loaded and never asked
    *serving("0x20", "0+3000x20", instance="x", cluster="other"),
]
C, M, FR, OTHER = 'cluster="c",job="joulecar"', 'model="m"', 'zone="FR"', 'cluster="other",job="joulecar",model="m"'
RECORDED: dict[str, dict[str, float]] = {
    "instance:joulecar_zone:info": {
        f'{C},instance="a",{FR}': 1,
        f'{C},instance="b",{FR}': 1,
        f'{C},instance="d"': 1,
        'cluster="other",instance="x",job="joulecar"': 1,
    },
    "model:joulecar_energy_joules": {
        f'{C},{M},use="decode",{FR}': 250,
        f'{C},{M},use="idle",{FR}': 50,
        f'{C},use="unassigned",{FR}': 300,
        f'{C},model="n",use="decode"': 50,
        f'{OTHER},use="decode"': 50,
    },
    "model:joulecar_tokens": {
        f'{C},{M},type="generated",{FR}': 500,
        f'{C},model="n",type="generated"': 100,
        f'{OTHER},type="generated"': 0,
    },
    "model:joulecar_requests": {f"{C},{M},{FR}": 2},
    "model:joulecar_emissions_gco2e": {
        f'{C},{M},scope="operational",{FR}': 0.02,
        f'{C},scope="operational",{FR}': 0.02,
        f'{C},{M},scope="embodied",{FR}': 0.1,
    },
    "model:joulecar_tokens_per_joule": {f"{C},{M},{FR}": 500 / 300, f'{C},model="n"': 2},
    "model:joulecar_gco2e_per_1k_tokens": {f"{C},{M},{FR}": 0.04},
    "zone:joulecar_device_energy_joules": {f'{C},kind="gpu",{FR}': 500},
    "zone:joulecar_energy_joules": {
        f'{C},use="decode",{FR}': 250,
        f'{C},use="idle",{FR}': 50,
        f'{C},use="unassigned",{FR}': 300,
        f'{C},use="decode"': 50,
        'cluster="other",job="joulecar",use="decode"': 50,
    },
    "zone:joulecar_tokens": {
        f'{C},type="generated",{FR}': 500,
        f'{C},type="generated"': 100,
        'cluster="other",job="joulecar",type="generated"': 0,
    },
    "zone:joulecar_requests": {f"{C},{FR}": 2},
    "zone:joulecar_emissions_gco2e": {f'{C},scope="operational",{FR}': 0.04, f'{C},scope="embodied",{FR}': 0.1},
    "zone:joulecar_tokens_per_joule": {f"{C},{FR}": 500 / 300, C: 2},
    "zone:joulecar_gco2e_per_1k_tokens": {f"{C},{FR}": 0.04},
    "cluster:joulecar_device_energy_joules": {f'{C},kind="gpu"': 500},
    "cluster:joulecar_energy_joules": {
        f'{C},use="decode"': 300,
        f'{C},use="idle"': 50,
        f'{C},use="unassigned"': 300,
        'cluster="other",job="joulecar",use="decode"': 50,
    },
    "cluster:joulecar_tokens": {
        f'{C},type="generated"': 600,
        'cluster="other",job="joulecar",type="generated"': 0,
    },
    "cluster:joulecar_requests": {C: 2},
    "cluster:joulecar_emissions_gco2e": {f'{C},scope="operational"': 0.04, f'{C},scope="embodied"': 0.1},
    "cluster:joulecar_tokens_per_joule": {C: 600 / 350},
    "cluster:joulecar_gco2e_per_1k_tokens": {C: 0.04},
}


def records() -> list[str]:
    return [rule.name for group in groups((DAY,)) for rule in group.rules if isinstance(rule, Record)]


def test_a_fleet_is_summed_by_model_zone_and_cluster_and_a_ratio_is_one_of_sums(tmp_path: Path) -> None:
    """Agent a makes 0.5 tokens per joule and b 4: together 1.67, not the mean of 2.25. d knows no zone, and its
    tokens dilute nobody's grams. In whole millionths, since promtool compares
    exactly."""
    rules = yaml.safe_load(RULES)
    rules["groups"] = [group for group in rules["groups"] if group["name"].startswith("joulecar-fleet")]
    for group in rules["groups"]:
        group["rules"] = [rule for rule in group["rules"] if "record" in rule]
    ranges = [
        f"{name}{suffix}" for name in RECORDED for suffix in ((":rate5m", ":rate1h") if "info" not in name else ("",))
    ]
    assert sorted(ranges) == sorted(name for name in records() if name != "joulecar:budget_lasts_seconds")
    tests = [
        {
            "expr": f"round(1e6 * {name})",
            "eval_time": "20m",
            "exp_samples": [
                {"labels": f"{{{labels}}}", "value": round(1e6 * value)}
                for labels, value in RECORDED[name.removesuffix(":rate5m").removesuffix(":rate1h")].items()
            ],
        }
        for name in ranges
        if not name.endswith("1h")  # the same but for the range, of which the series fill only a part
    ]
    assert promtool(tmp_path, rules, [{"interval": "1m", "input_series": FLEET, "promql_expr_test": tests}]) == ""


@pytest.mark.parametrize("level", ["model", "zone", "cluster"])
def test_the_two_ranges_of_a_recorded_rate_differ_in_nothing_else(level: str) -> None:
    rules = {rule.name: rule.expr for group in groups(()) for rule in group.rules if isinstance(rule, Record)}
    short = {name: expr for name, expr in rules.items() if name.startswith(level) and name.endswith("rate5m")}
    assert len(short) >= 6
    for name, expr in short.items():
        assert rules[name.replace("5m", "1h")] == expr.replace("5m", "1h")


def test_how_long_a_budget_lasts_is_told_at_the_rate_of_each_window(tmp_path: Path) -> None:
    rules = yaml.safe_load(RULES)
    rules["groups"] = [group for group in rules["groups"] if group["name"] == "joulecar-budgets"]
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


# -- the file


def test_promtool_has_nothing_to_say_of_the_rules(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    for text in (RULES, rules_yaml(())):
        file.write_text(text)
        done = subprocess.run(
            [program("promtool"), "check", "rules", "--lint=all", "--lint-fatal", str(file)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_the_file_in_deploy_is_fresh_and_has_no_budget() -> None:
    assert (DEPLOY / "rules.yaml").read_text("utf-8") == rules_yaml(()), "run: make docs"
    assert "budget" not in rules_yaml(())


@pytest.mark.parametrize(
    ("command", "file"),
    [(["promtool", "check", "config"], "prometheus.yml"), (["amtool", "check-config"], "alertmanager.yml")],
)
def test_the_example_configurations_are_what_their_programs_take(command: list[str], file: str) -> None:
    done = subprocess.run(
        [program(command[0]), *command[1:], str(DEPLOY / file)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_go_to_stdout_with_the_budgets_of_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "joulecar.toml"
    config.write_text('[[budget]]\nname = "day"\nlimit = "1 kWh"\nperiod = "day"\nmodel = "never-seen"\n')
    assert main(["rules", "--config", str(config)]) == 0
    assert capsys.readouterr().out == rules_yaml((DAY,))
    assert main(["rules"]) == 0
    assert capsys.readouterr().out == rules_yaml(())


def test_a_budget_with_a_fault_gives_no_rules(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "joulecar.toml"
    config.write_text('[[budget]]\nname = "day"\nlimit = "1 kwh"\n')
    assert main(["rules", "--config", str(config)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert 'did you mean "kWh"?' in told.err


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


def test_the_grid_alert_knows_every_stand_in_of_the_ladder() -> None:
    said = {Rung.ACTUAL, Rung.ESTIMATED, Rung.FORECAST, Rung.YEARLY}
    assert set(FALLBACKS.split("|")) == {rung.value for rung in Rung if rung not in said}


@settings(deadline=None)
@given(st.text(min_size=1, max_size=80).filter(str.isprintable), st.text(max_size=400))
def test_any_text_survives_the_way_through_yaml(name: str, text: str) -> None:
    readable = " ".join("".join(c for c in text if c.isprintable()).split()) or "x"
    alert = Alert("A", "up == 0", Severity.INFO, readable, readable, readable, labels={"budget": name})
    (group,) = yaml.safe_load(document([Group(name, (alert,))], "head"))["groups"]
    (rule,) = group["rules"]
    assert (group["name"], rule["labels"]["budget"]) == (name, name)
    assert rule["annotations"]["summary"] == readable


@given(st.text(max_size=80))
def test_a_quoted_text_ends_where_it_should(text: str) -> None:
    inside = quoted(text)[1:-1]
    assert '"' not in inside.replace("\\\\", "").replace('\\"', "")
    assert "\n" not in inside
