"""Runs Debian's promtool over the rules that `joulecar rules` writes, with series that are made up."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from agent.rules.document import rules_yaml
from agent.rules.rule import quoted
from agent.settings import BudgetSettings
from tests.fakes.program import program

DAY = BudgetSettings("day", "energy", 3.6e6, "joules", "day")
ROLLING = BudgetSettings("roll 30", "carbon", 1e6, "gco2e", "rolling", over_s=30 * 86400.0)
RULES = rules_yaml((DAY, ROLLING))
INSTANCE = {"instance": "a:9420", "job": "joulecar"}
CRITICAL, WARNING = {"severity": "critical"}, {"severity": "warning"}
GRID = {"zone": "FR", "provider": "p", "signal": "average", "basis": "direct"}


def series(name: str, values: str, /, **labels: str) -> dict[str, str]:
    """An input series of target a:9420; another one by instance=."""
    own = {**INSTANCE, **labels}
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


def groups_of(*names: str) -> dict[str, Any]:
    """The groups of these names as they are written, in their order."""
    rules: dict[str, Any] = yaml.safe_load(RULES)
    rules["groups"] = [group for group in rules["groups"] if group["name"] in names]
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


def verdict(folder: Path, alert: str, cases: Sequence[Case], rules: dict[str, Any]) -> str:
    """What promtool says of an alert's cases; nothing, if all is as they say."""
    for group in rules["groups"]:
        for rule in group["rules"]:
            rule.pop("annotations", None)  # promtool would want to see the texts repeated
    tests = []
    for case in cases:
        target = INSTANCE if case.target else {}
        expected = [
            {
                "eval_time": at,
                "alertname": alert,
                "exp_alerts": [{"exp_labels": {**target, **labels}} for labels in fires],
            }
            for at, fires in {**case.fires, **{at: [] for at in case.quiet}}.items()
        ]
        tests.append({"interval": case.every, "input_series": case.series, "alert_rule_test": expected})
    return promtool(folder, rules, tests, cases[0].every)


def serving(tokens: str, joules: str, **labels: str) -> list[dict[str, str]]:
    owner = {"engine": "e", "model": "m", **labels}
    return [
        series("joulecar_build_info", "1x2000", version="1", **{k: v for k, v in labels.items() if k != "model"}),
        series("joulecar_tokens_total", tokens, type="generated", **owner),
        series("joulecar_energy_joules_total", joules, use="decode", kind="gpu", **owner),
    ]
