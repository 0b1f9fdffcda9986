"""What a dashboard is, apart from Grafana: rows of panels, each with its queries, its unit and what it includes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

GRID_WIDTH = 24
# The same use has the same colour everywhere.
USE_COLORS = {
    "prefill": "blue",
    "decode": "green",
    "idle": "yellow",
    "foreign": "purple",
    "unassigned": "#8e8e8e",
    "unattributed": "red",
}


class Kind(StrEnum):
    """How a panel shows its numbers. The values are Grafana's names of its plug-ins."""

    LINES = "timeseries"
    STAT = "stat"
    BARS = "bargauge"
    TABLE = "table"
    STATES = "state-timeline"


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression. legend uses Grafana's {{label}}; in a table it is the column's title."""

    expr: str
    legend: str = ""
    unit: str = ""  # of a table's column, where it is not the panel's
    exemplars: bool = False  # show the traces that stand for a histogram's buckets


@dataclass(frozen=True, slots=True)
class Step:
    """From this value on, this colour."""

    value: float
    color: str


@dataclass(frozen=True, slots=True)
class Panel:
    """description says what is included and when there is nothing to see. width of 24, height in Grafana's rows."""

    title: str
    description: str
    kind: Kind
    unit: str
    queries: tuple[Query, ...]
    width: int = 8
    height: int = 8
    stacked: bool = False
    base_color: str = "green"
    steps: tuple[Step, ...] = ()  # thresholds: lines in a time series, colours elsewhere
    colors: Mapping[str, str] = field(default_factory=dict)  # by series name
    low: float | None = None
    high: float | None = None
    decimals: int | None = None
    nothing: str = ""  # what a stat says where there is no value
    labels: Mapping[str, str] = field(default_factory=dict)  # a table's label columns and their titles, in order
    values: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # value -> (text, colour)


@dataclass(frozen=True, slots=True)
class Row:
    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """A variable: the values of one label, and the series that they are taken from."""

    name: str
    label: str
    series: str


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard. windows: what ratios may be taken over, the first is chosen; span: the time that it opens with."""

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]
    choices: tuple[Choice, ...]
    windows: tuple[str, ...]
    span: str = "now-1h"
    refresh: str = "30s"
