"""Alerts, recording rules and groups of them, as Prometheus knows them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """How soon a person has to look."""

    CRITICAL = "critical"  # now, at night too
    WARNING = "warning"  # on the next working day
    INFO = "info"  # with the next look at the dashboard


@dataclass(frozen=True, slots=True)
class Alert:
    """A condition that a person wants to hear of. Texts may use Prometheus's templates; whitespace is folded."""

    name: str
    expr: str
    severity: Severity
    summary: str
    description: str
    runbook: str  # what to do, in the alert itself
    wait: str = "0s"  # how long it must hold
    labels: dict[str, str] = field(default_factory=dict)  # besides the severity


@dataclass(frozen=True, slots=True)
class Record:
    """An expression whose result is kept under a name of its own: level:metric:operations."""

    name: str
    expr: str


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that are evaluated together, in their order: a later one sees what an earlier one recorded."""

    name: str
    rules: tuple[Alert | Record, ...]
    comment: str = ""


def quoted(text: str) -> str:
    """A text as a PromQL string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
