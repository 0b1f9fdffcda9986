"""Budgets: what is used and what is left."""

from __future__ import annotations

from collections.abc import Iterator

from agent.model import Snapshot
from exporters.family import Family, Row, Theme


def budget_limit(s: Snapshot) -> Iterator[Row]:
    for b in s.budgets:
        yield (b.name, b.unit), b.limit


def budget_used(s: Snapshot) -> Iterator[Row]:
    for b in s.budgets:
        yield (b.name, b.unit), b.used


def budget_ratio(s: Snapshot) -> Iterator[Row]:
    for b in s.budgets:
        yield (b.name,), b.used_ratio


def budget_burn(s: Snapshot) -> Iterator[Row]:
    for b in s.budgets:
        for window, rate in b.burn_rates.items():
            yield (b.name, window), rate


def budget_exhausted(s: Snapshot) -> Iterator[Row]:
    for b in s.budgets:
        yield (b.name,), b.exhausted_at_s


def budget_resets(s: Snapshot) -> Iterator[Row]:
    for b in s.budgets:
        yield (b.name,), b.resets_at_s


BUDGETS = Theme(
    "Budgets",
    (
        Family(
            "joulecar_budget_limit",
            "gauge",
            "the budget's unit",
            ("budget", "unit"),
            "What may be used in a period.",
            budget_limit,
        ),
        Family(
            "joulecar_budget_used",
            "gauge",
            "the budget's unit",
            ("budget", "unit"),
            "What was used in this period so far.",
            budget_used,
            "Falls when a new period begins.",
        ),
        Family(
            "joulecar_budget_used_ratio",
            "gauge",
            "ratio",
            ("budget",),
            "Used, over the limit.",
            budget_ratio,
        ),
        Family(
            "joulecar_budget_burn_rate",
            "gauge",
            "ratio",
            ("budget", "window"),
            "How fast it is used: 1 is on course to use exactly the limit in a period.",
            budget_burn,
            "Over the last 1, 6 and 24 hours, or since anything is known. Absent in the first five minutes.",
        ),
        Family(
            "joulecar_budget_exhausted_timestamp_seconds",
            "gauge",
            "seconds since 1970",
            ("budget",),
            "When the limit was reached, or will be at the rate of the last six hours, in Unix time.",
            budget_exhausted,
            "Absent if that is not within a year.",
        ),
        Family(
            "joulecar_budget_resets_timestamp_seconds",
            "gauge",
            "seconds since 1970",
            ("budget",),
            "When the next period begins, in Unix time.",
            budget_resets,
            "Absent for a rolling period.",
        ),
    ),
)
