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


def unrecorded(expr: str) -> str:
    """The query with each recorded series replaced by what its rule reckons, from the agents' own series."""
    return _RECORDED.sub(lambda found: f"({_reckoned(found[1], found[2] or '')})", expr)


def _reckoned(name: str, matchers: str) -> str:
    """What a rule reckons. The matchers go to the counters, which have these labels; one for everything is left out."""
    text = unrecorded_with(_rules()[name], matchers)
    kept = ", ".join(m for m in re.findall(r'\w+(?:=~|!=|=)"[^"]*"', matchers) if not _ALL.fullmatch(m))
    return _COUNTER.sub(rf"\1{{{kept}}}", text) if kept else text


def unrecorded_with(expr: str, matchers: str) -> str:
    """A rule's own expression, likewise: rules on rules hand the matchers down."""
    inner = f"{{{matchers}}}" if matchers else ""
    return _RECORDED.sub(
        lambda found: f"({_reckoned(found[1], '' if found[1].startswith('instance:') else inner[1:-1])})", expr
    )


@cache
def _rules() -> Mapping[str, str]:
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
