"""The whole rule file for a configuration."""

from __future__ import annotations

from agent.rules import budgets as of_budgets
from agent.rules import fleet
from agent.rules.health import HEALTH
from agent.rules.requests import REQUESTS
from agent.rules.rule import Group
from agent.rules.yaml import document
from agent.settings import BudgetSettings

_HEAD = """
Rules for Prometheus, written by `joulecar rules`. Do not edit: change the configuration and write them again.
Prometheus loads them with rule_files; `promtool check rules` checks them.
"""
_BUDGETS = """

A budget's burn rate is 1.0 where it is on course to use exactly its limit. What is left lasts, at a window's rate,
joulecar:budget_lasts_seconds. JoulecarBudgetGoesFast: at the rates of 1 h and of 6 h the rest is gone within 2 hours
of a day's budget, 12 of a week's, 24 of a month's, and before the period is over. JoulecarBudgetWillNotLast: at the
rates of 6 h and of 24 h it is gone before the period is over. Both windows must say so: the long one sees no burst,
the short one ends the alert soon after the load ends.
"""


def groups(budgets: tuple[BudgetSettings, ...]) -> tuple[Group, ...]:
    """Every group, in the order of the file."""
    return (HEALTH, REQUESTS, *of_budgets.groups(budgets), *fleet.groups())


def rules_yaml(budgets: tuple[BudgetSettings, ...]) -> str:
    """The rule file as YAML text."""
    return document(groups(budgets), _HEAD + (_BUDGETS if budgets else ""))
