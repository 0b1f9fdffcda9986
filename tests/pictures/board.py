"""A dashboard as its file says, and its queries as Grafana would send them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EVERYTHING = ".*"  # what Grafana puts in for All, since it is the allValue of these variables
VARIABLE = re.compile(r"\$\{?(\w+)\}?")


@dataclass(frozen=True, slots=True)
class Target:
    """One query of a panel."""

    ref: str
    expr: str
    legend: str
    instant: bool


@dataclass(frozen=True, slots=True)
class DrawnPanel:
    """A panel with its place on Grafana's grid. raw is all that the file says of it."""

    id: int
    title: str
    kind: str
    x: int
    y: int
    width: int
    height: int
    unit: str
    description: str
    targets: tuple[Target, ...]
    raw: Mapping[str, Any]

    def columns(self) -> list[tuple[str, str]]:
        """Of a table, the fields with their titles, in order; queries are called Value, or Value #A, Value #B ..."""
        for change in self.raw.get("transformations", ()):
            if change["id"] == "organize":
                titles, order = change["options"]["renameByName"], change["options"]["indexByName"]
                return [(name, titles[name]) for name in sorted(titles, key=lambda n: order[n])]
        return []

    def column_units(self) -> dict[str, str]:
        """Of a table's columns, by title."""
        return {
            override["matcher"]["options"]: change["value"]
            for override in self.raw["fieldConfig"]["overrides"]
            for change in override["properties"]
            if change["id"] == "unit"
        }

    def label_columns(self) -> list[str]:
        """The labels that tell a table's rows apart."""
        return [name for name, _ in self.columns() if not name.startswith("Value")]


@dataclass(frozen=True, slots=True)
class DrawnBoard:
    uid: str
    title: str
    variables: Mapping[str, Mapping[str, Any]]
    panels: tuple[DrawnPanel, ...]  # rows, too
    raw: Mapping[str, Any]

    def asking(self) -> tuple[DrawnPanel, ...]:
        """The panels that have queries."""
        return tuple(p for p in self.panels if p.kind != "row")


def read(path: Path) -> DrawnBoard:
    raw = json.loads(path.read_text(encoding="utf-8"))
    variables = {v["name"]: v for v in raw["templating"]["list"]}
    return DrawnBoard(raw["uid"], raw["title"], variables, tuple(map(_panel, raw["panels"])), raw)


def _panel(raw: Mapping[str, Any]) -> DrawnPanel:
    at = raw["gridPos"]
    unit = raw.get("fieldConfig", {}).get("defaults", {}).get("unit", "")
    targets = tuple(
        Target(t["refId"], t["expr"], t["legendFormat"], bool(t.get("instant"))) for t in raw.get("targets", ())
    )
    return DrawnPanel(
        raw["id"], raw["title"], raw["type"], at["x"], at["y"], at["w"], at["h"], unit,
        raw.get("description", ""), targets, raw,
    )  # fmt: skip


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with its variables. Errors: KeyError for one that has no value."""
    return VARIABLE.sub(lambda found: values[found[1]], text)


def everything(window: str, rate: str, span: str) -> dict[str, str]:
    """All chosen, as a dashboard opens."""
    lists = dict.fromkeys(("cluster", "instance", "engine", "model", "zone"), EVERYTHING)
    return lists | {"window": window, "__rate_interval": rate, "__range": span}
