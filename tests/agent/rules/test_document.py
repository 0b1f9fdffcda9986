"""The rule file as a whole, and the command that writes it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.cli import main
from agent.rules.document import groups, rules_yaml
from agent.rules.rule import Alert, Group, Record, Severity, quoted
from agent.rules.yaml import document
from exporters.families import FAMILIES
from tests.agent.rules import test_budgets, test_fleet, test_health, test_requests
from tests.agent.rules.unit import DAY, ROLLING, RULES
from tests.fakes.program import program

DEPLOY = Path(__file__).parents[3] / "deploy" / "prometheus"
ALERTS = [rule for group in groups((DAY, ROLLING)) for rule in group.rules if isinstance(rule, Alert)]
CASES = [*test_health.CASES, *test_requests.CASES, *test_budgets.CASES, *test_fleet.HALVED]


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_must_not() -> None:
    names = {alert.name for alert in ALERTS}
    assert {case.alert for case in CASES} == names
    assert {case.alert for case in CASES if any(case.fires.values())} == names
    assert {case.alert for case in CASES if case.quiet} == names


def test_every_alert_says_what_is_wrong_and_what_to_do() -> None:
    for alert in ALERTS:
        assert len(alert.summary) < 100, alert.name
        assert len(alert.description.split()) > 7, alert.name
        assert len(alert.runbook.split()) > 8, alert.name
        assert alert.summary.endswith("."), alert.name


# -- what is recorded


def test_the_rules_name_no_metric_that_is_not_served() -> None:
    recorded = {rule.name for group in groups((DAY,)) for rule in group.rules if isinstance(rule, Record)}
    served = {family.name for family in FAMILIES}
    served |= {f"{f.name}_{part}" for f in FAMILIES if f.type == "histogram" for part in ("bucket", "count", "sum")}
    for group in groups((DAY,)):
        for rule in group.rules:
            expr = re.sub(r"#.*", "", rule.expr)
            for name in re.findall(r"\b(?:\w+:)?joulecar[_:][a-z0-9_:]*", re.sub(r'"[^"]*"', "", expr)):
                assert name in served | recorded, f"{rule.name}: {name}"


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
    assert "joulecar_budget" not in rules_yaml(())


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
