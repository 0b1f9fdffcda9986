"""The queries of the fleet dashboard: as it asks them, and what they would be if no rule had recorded anything."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from deploy.grafana.generate import FOLDER
from tests.pictures.board import everything, filled, read

RULES = FOLDER.parents[1] / "prometheus" / "rules.yaml"
_ALL = re.compile(r'\w+=~"\.\*"')
_RECORDED = re.compile(r"((?:instance|model|zone|cluster):\w+:\w+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'\w+(?:=~|!=|=)"[^"]*"')
_COUNTER = re.compile(r"\b(joulecar_\w+_total)(?=\[)")


@dataclass(frozen=True, slots=True)
class Asked:
    """One query of a panel. instant: for one moment, else for a line."""

    title: str
    expr: str
    instant: bool

    @property
    def is_recorded(self) -> bool:
        return _RECORDED.search(self.expr) is not None


def asked(window: str = "5m", span: str = "24h", step: str = "1m") -> tuple[Asked, ...]:
    """All queries of the dashboard with everything chosen. step: what the sums over the time shown step by."""
    values = everything(window=window, rate="5m", span=span)
    return tuple(
        Asked(panel.title, filled(target.expr, values).replace(f"[{span}:1m]", f"[{span}:{step}]"), target.instant)
        for panel in read(FOLDER / "joulecar-fleet.json").asking()
        for target in panel.targets
    )


def unrecorded(expr: str, matchers: str = "") -> str:
    """The expression with each recorded series replaced by what its rule reckons, from the agents' own series.

    matchers: what a rule's user asks of it, which rules on rules hand down to the counters. A zone is of the grid's
    series, not of a counter's, so that none but all zones can be asked.
    """

    def reckoned(found: re.Match[str]) -> str:
        name = found[1]
        if name.startswith("instance:"):
            return f"({unrecorded(recorded()[name])})"
        asks = ", ".join(m for m in _MATCHER.findall(f"{found[2] or ''}, {matchers}") if not _ALL.fullmatch(m))
        text = unrecorded(recorded()[name], asks)
        if asks:
            text = _COUNTER.sub(rf"\1{{{asks}}}", text)
        return f"({text})"

    return _RECORDED.sub(reckoned, expr)


@cache
def recorded() -> Mapping[str, str]:
    """The expression of each recorded series."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return {rule["record"]: rule["expr"] for group in groups for rule in group["rules"] if "record" in rule}


def brisk(folder: Path) -> Path:
    """The rules, for a Prometheus that evaluates them as often as it is told to."""
    rules = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    for group in rules["groups"]:
        group.pop("interval", None)
    written = folder / "rules.yaml"
    written.write_text(yaml.safe_dump(rules), encoding="utf-8")
    return written
