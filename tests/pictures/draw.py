"""A dashboard's panels on one picture, laid out as on Grafana's grid."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.dates
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import FuncFormatter, MaxNLocator
from PIL import Image

from tests.pictures.board import DrawnBoard, DrawnPanel
from tests.pictures.units import shown

Series = Sequence[tuple[float, float]]
Labels = Mapping[str, str]

DPI = 140
_COLUMN_IN, _ROW_IN, _HEAD_IN, _MARGIN_IN = 0.48, 0.33, 0.75, 0.12
_GAP_IN = 0.05
_INK, _DIM, _GRID, _CARD, _PAGE = "#1f2430", "#6b7280", "#e6e8ec", "#ffffff", "#eef0f3"
_CLASSIC = (
    "#3a7fd5", "#e8833a", "#4aa564", "#c2484d", "#8468b8", "#c9a227", "#2aa5a0", "#d0679d", "#7a8a99", "#8c6d46",
)  # fmt: skip
_NAMED = {
    "green": "#4aa564",
    "blue": "#3a7fd5",
    "yellow": "#d9a514",
    "orange": "#e8833a",
    "red": "#cf3b42",
    "purple": "#8468b8",
}
_BARS_MAX = 8
_LEGEND_LINES = 3
_SHADES = 160


@dataclass(frozen=True, slots=True)
class Found:
    """What one query of a panel gave: for each series its labels and its values."""

    legend: str
    series: tuple[tuple[Labels, Series], ...]

    def named(self) -> list[tuple[str, Labels, Series]]:
        return [(_name(self.legend, labels), labels, values) for labels, values in self.series]


def size_in(board: DrawnBoard) -> tuple[float, float]:
    """Width and height in inches."""
    rows = max(p.y + p.height for p in board.panels)
    return 24 * _COLUMN_IN + 2 * _MARGIN_IN, rows * _ROW_IN + _HEAD_IN + 2 * _MARGIN_IN


def picture(board: DrawnBoard, found: Mapping[int, Sequence[Found]], chosen: str, path: Path) -> None:
    """found: by panel. chosen: what the variables stand at, for the head. Errors: OSError."""
    mpl.rcParams |= {"font.family": "DejaVu Sans", "font.size": 9, "svg.hashsalt": "joulecar"}
    width_in, height_in = size_in(board)
    figure = Figure(figsize=(width_in, height_in), facecolor=_PAGE)
    FigureCanvasAgg(figure)
    sheet = _Sheet(figure, width_in, height_in)
    sheet.text(_MARGIN_IN + 0.05, 0.30, board.title, size=15, weight="bold")
    sheet.text(_MARGIN_IN + 0.05, 0.60, chosen, size=8.5, color=_DIM)
    for panel in board.panels:
        x, y = _MARGIN_IN + panel.x * _COLUMN_IN, _HEAD_IN + _MARGIN_IN + panel.y * _ROW_IN
        width, height = panel.width * _COLUMN_IN, panel.height * _ROW_IN
        if panel.kind == "row":
            sheet.text(x + 0.05, y + height * 0.62, "⌄ " + panel.title, size=10.5, weight="bold", color="#374151")
            continue
        sheet.card(x + _GAP_IN, y + _GAP_IN, width - 2 * _GAP_IN, height - 2 * _GAP_IN)
        title_size = min(9.0, 9.0 * (width - 0.3) / (0.083 * len(panel.title)))
        sheet.text(x + 0.15, y + 0.24, panel.title, size=title_size, weight="bold")
        _DRAWERS[panel.kind](_Box(sheet, x, y, width, height), panel, found[panel.id])
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=DPI, facecolor=_PAGE, format="png")
    # A palette makes the file a quarter as large, and nobody sees it.
    with Image.open(drawn) as image:
        few = image.convert("RGB").quantize(_SHADES, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


@dataclass(frozen=True, slots=True)
class _Sheet:
    """The page in inches from its top left corner."""

    figure: Figure
    width: float
    height: float

    def text(self, x: float, y: float, text: str, **style: Any) -> None:
        style = {"color": _INK, "va": "center"} | style
        self.figure.text(x / self.width, 1 - y / self.height, text, **style)

    def card(self, x: float, y: float, width: float, height: float) -> None:
        radius = 0.04
        patch = FancyBboxPatch(
            (x + radius, self.height - y - height + radius),
            width - 2 * radius,
            height - 2 * radius,
            boxstyle=f"round,pad={radius}",
            transform=self.figure.dpi_scale_trans,
            facecolor=_CARD,
            edgecolor="#d9dce1",
            linewidth=0.8,
            zorder=-1,  # below the axes
        )
        self.figure.add_artist(patch)

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        place = (x / self.width, 1 - (y + height) / self.height, width / self.width, height / self.height)
        axes = self.figure.add_axes(place)
        axes.set_facecolor("none")
        return axes


@dataclass(frozen=True, slots=True)
class _Box:
    """A panel's place on the sheet, in inches."""

    sheet: _Sheet
    x: float
    y: float
    width: float
    height: float

    def text(self, x: float, y: float, text: str, **style: Any) -> None:
        self.sheet.text(self.x + x, self.y + y, text, **style)

    def axes(self, left: float, top: float, right: float, bottom: float) -> Axes:
        return self.sheet.axes(self.x + left, self.y + top, self.width - left - right, self.height - top - bottom)

    def nothing(self, panel: DrawnPanel) -> None:
        said = _defaults(panel).get("noValue", "No data")
        self.text(self.width / 2, self.height / 2 + 0.1, said, ha="center", color=_DIM, size=10)


def _lines(box: _Box, panel: DrawnPanel, found: Sequence[Found]) -> None:
    series = sorted((one for f in found for one in f.named()), key=lambda one: one[0])
    if not series:
        return box.nothing(panel)
    names = [name for name, _, _ in series]
    lines = _legend_lines(names, box.width - 0.4)
    bottom = 0.40 + 0.19 * len(lines)
    # Room for the longest number on the axis.
    most = max(abs(value) for _, _, values in series for _, value in values)
    left = 0.30 + 0.062 * max(4, len(shown(most * 1.07, panel.unit, _defaults(panel).get("decimals"))))
    width_in = box.width - left - 0.26
    axes = box.axes(left, 0.46, 0.26, bottom)
    colors = [_color_of(panel, name, i) for i, name in enumerate(names)]
    custom = _defaults(panel).get("custom", {})
    if custom.get("stacking", {}).get("mode") == "normal":
        _stack(axes, [s for _, _, s in series], colors)
    else:
        for (_, _, values), color in zip(series, colors, strict=True):
            times, numbers = _broken(values)
            axes.plot(times, numbers, color=color, linewidth=1.3, solid_joinstyle="round")
            if _defaults(panel).get("min") == 0:
                axes.fill_between(times, numbers, color=color, alpha=0.06, linewidth=0)
    _axis(axes, panel, width_in, most)
    for number, line in enumerate(lines):
        x = 0.22
        for i in line:
            box.text(x, box.height - 0.21 - 0.19 * (len(lines) - 1 - number), "━", color=colors[i], size=8)
            box.text(x + 0.17, box.height - 0.21 - 0.19 * (len(lines) - 1 - number), names[i], size=7.5, color=_DIM)
            x += _legend_width(names[i])
        if number == len(lines) - 1 and line[-1] + 1 < len(names):
            box.text(x, box.height - 0.21, f"and {len(names) - line[-1] - 1} more", size=7.5, color=_DIM)
    return None


def _axis(axes: Axes, panel: DrawnPanel, width_in: float, most: float) -> None:
    defaults = _defaults(panel)
    low, high = axes.get_ylim()
    low, high = defaults.get("min", low), defaults.get("max", high * 1.04 if high > 0 else high)
    for step in defaults["thresholds"]["steps"]:
        if step["value"] is not None and low <= step["value"]:
            if step["value"] <= high * 4 and "max" not in defaults and panel.unit != "sci":
                high = max(high, step["value"] * 1.1)
            axes.axhline(step["value"], color=_hex(step["color"]), linewidth=1, linestyle=(0, (5, 3)))
    if low == 0 and not most:
        high = max(1.0, high)  # nothing but zeros
    axes.set_ylim(low, high if high > low else low + 1)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    decimals = defaults.get("decimals")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: shown(v, panel.unit, decimals)))
    _time_axis(axes, width_in)
    axes.margins(x=0)
    axes.tick_params(labelsize=7.5, colors=_DIM, length=0)
    axes.tick_params(axis="x", pad=5)
    axes.grid(color=_GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set_visible(False)


def _time_axis(axes: Axes, width_in: float) -> None:
    dates: Any = matplotlib.dates  # it has no types
    axes.xaxis.set_major_locator(dates.AutoDateLocator(minticks=2, maxticks=max(3, int(width_in / 0.5)), tz=UTC))
    axes.xaxis.set_major_formatter(dates.DateFormatter("%H:%M", tz=UTC))


def _stack(axes: Axes, series: Sequence[Series], colors: Sequence[str]) -> None:
    times = sorted({at for values in series for at, _ in values})
    below = [0.0] * len(times)
    dates = [_date(at) for at in times]
    for values, color in zip(series, colors, strict=True):
        known = dict(values)
        top = [b + known.get(at, 0.0) for b, at in zip(below, times, strict=True)]
        axes.fill_between(dates, below, top, color=color, alpha=0.42, linewidth=0)  # type: ignore[arg-type]  # dates
        axes.plot(dates, top, color=color, linewidth=1.1)  # type: ignore[arg-type]  # its stubs know numbers alone
        below = top


def _stat(box: _Box, panel: DrawnPanel, found: Sequence[Found]) -> None:
    series = [one for f in found for one in f.named()]
    if not series:
        return box.nothing(panel)
    decimals = _defaults(panel).get("decimals")
    part = (box.width - 0.2) / len(series)
    for i, (name, labels, values) in enumerate(series):
        value = values[-1][1]
        color = _by_steps(panel, value)
        middle = 0.1 + part * (i + 0.5)
        text = shown(value, panel.unit, decimals)
        size = min(20.0, 105 * part / len(text))
        box.text(middle, box.height * 0.47, text, ha="center", size=size, weight="bold", color=color)
        if len(series) > 1 or (labels and name):
            box.text(middle, box.height * 0.70, name, ha="center", size=8, color=_DIM)
    if len(series) == 1 and len(series[0][2]) > 1:
        axes = box.axes(0.12, box.height * 0.68, 0.12, 0.1)
        times, numbers = _broken(series[0][2])
        color = _by_steps(panel, series[0][2][-1][1])
        axes.plot(times, numbers, color=color, linewidth=1)
        base = min(0.0, *(v for v in numbers if not math.isnan(v)))
        axes.fill_between(times, base, numbers, color=color, alpha=0.15, linewidth=0)
        axes.margins(x=0)
        axes.axis("off")
    return None


def _bars(box: _Box, panel: DrawnPanel, found: Sequence[Found]) -> None:
    rows = [(name, values[-1][1]) for f in found for name, _, values in f.named()]
    if not rows:
        return box.nothing(panel)
    rows = sorted(rows, key=lambda row: -row[1]) if len(found) == 1 else rows
    rows = rows[:_BARS_MAX]
    most = max(value for _, value in rows) or 1.0
    top, step = 0.5, min(0.42, (box.height - 0.65) / len(rows))
    labels_in = min(box.width * 0.5, 0.3 + max(len(name) for name, _ in rows) * 0.072)
    values_in = 0.25 + 0.085 * max(len(shown(value, panel.unit)) for _, value in rows)
    room = box.width - labels_in - values_in - 0.1
    for i, (name, value) in enumerate(rows):
        y = top + step * (i + 0.5)
        color = _color_of(panel, name, i)
        box.text(labels_in, y, name, ha="right", size=8, color=_INK)
        for length, shade in ((room, "#f0f1f4"), (max(0.01, room * max(0.0, value) / most), color)):
            axes = box.sheet.axes(box.x + labels_in + 0.1, box.y + y - step * 0.34, length, step * 0.68)
            axes.set_facecolor(shade)
            axes.set_xticks([])
            axes.set_yticks([])
            for side in axes.spines.values():
                side.set_visible(False)
        box.text(box.width - 0.15, y, shown(value, panel.unit), ha="right", size=8.5, weight="bold")
    return None


def _table(box: _Box, panel: DrawnPanel, found: Sequence[Found]) -> None:
    names = dict(panel.columns())
    columns = list(names)
    label_columns = panel.label_columns()
    value_columns = [c for c in columns if c.startswith("Value")]
    units = panel.column_units()
    rows = _merged(found, label_columns, value_columns)
    if not rows:
        return box.nothing(panel)
    cells = [
        [*(row.get(c, "") for c in label_columns),
         *(shown(float(row[c]), units.get(names[c], panel.unit)) if c in row else "" for c in value_columns)]
        for row in rows
    ]  # fmt: skip
    used = [i for i, c in enumerate(columns) if any(line[i] for line in cells) or c not in ("cluster",)]
    heads = [names[columns[i]] for i in used]
    cells = [[line[i] for i in used] for line in cells]
    weights = [max(len(heads[i]), *(len(line[i]) for line in cells)) + 2.5 for i in range(len(used))]
    starts = [sum(weights[:i]) / sum(weights) for i in range(len(used) + 1)]
    width = box.width - 0.3
    step = min(0.31, (box.height - 0.75) / max(1, len(cells)))
    for i, head in enumerate(heads):
        left = columns[used[i]] in label_columns
        x = 0.18 + width * (starts[i] if left else starts[i + 1]) - (0 if left else 0.1)
        box.text(x, 0.55, head, size=8, color="#3a7fd5", weight="bold", ha="left" if left else "right")
        for n, line in enumerate(cells):
            box.text(x, 0.84 + step * n, line[i], size=8.3, ha="left" if left else "right")
    return None


def _merged(found: Sequence[Found], labels: Sequence[str], values: Sequence[str]) -> list[dict[str, str]]:
    """Rows of the queries put together where their common labels agree, as Grafana's merge does."""
    rows: list[dict[str, str]] = []
    for column, f in zip(values, found, strict=True):
        for own, points in f.series:
            mine = {k: v for k, v in own.items() if k in labels}
            fits = [r for r in rows if column not in r and all(r.get(k, v) == v for k, v in mine.items())]
            row = fits[0] if fits else {}
            if not fits:
                rows.append(row)
            row |= mine | {column: repr(points[-1][1])}
    return sorted(rows, key=lambda r: [r.get(name, "") for name in labels])


def _states(box: _Box, panel: DrawnPanel, found: Sequence[Found]) -> None:
    series = sorted((one for f in found for one in f.named()), key=lambda one: one[0])
    if not series:
        return box.nothing(panel)
    (mapping,) = (m["options"] for m in _defaults(panel)["mappings"])
    left = 0.35 + max(len(name) for name, _, _ in series) * 0.066
    axes = box.axes(left, 0.46, 0.26, 0.58)
    width_in = box.width - left - 0.26
    for i, (_, _, values) in enumerate(series):
        step_s = min(b[0] - a[0] for a, b in pairwise(values)) if len(values) > 1 else 60.0
        for at, value in values:
            color = _hex(mapping[f"{value:g}"]["color"])
            axes.barh(i, step_s / 86400.0, left=_date(at), height=0.72, color=color, linewidth=0)  # type: ignore[arg-type]  # dates
    axes.set_yticks(range(len(series)), [name for name, _, _ in series])
    axes.set_ylim(len(series) - 0.4, -0.6)
    _time_axis(axes, width_in)
    axes.margins(x=0)
    axes.tick_params(labelsize=7.5, colors=_DIM, length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    x = 0.22
    for state in mapping.values():
        box.text(x, box.height - 0.21, "■", color=_hex(state["color"]), size=9)
        box.text(x + 0.17, box.height - 0.21, state["text"], size=7.5, color=_DIM)
        x += _legend_width(state["text"])
    return None


_DRAWERS = {"timeseries": _lines, "stat": _stat, "bargauge": _bars, "table": _table, "state-timeline": _states}


def _defaults(panel: DrawnPanel) -> Mapping[str, Any]:
    defaults: Mapping[str, Any] = panel.raw["fieldConfig"]["defaults"]
    return defaults


def _name(legend: str, labels: Labels) -> str:
    if legend == "__auto":
        return " ".join(labels.values())
    return " ".join(re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), legend).split())


def _color_of(panel: DrawnPanel, name: str, index: int) -> str:
    for override in panel.raw["fieldConfig"]["overrides"]:
        if override["matcher"]["options"] == name:
            for p in override["properties"]:
                if p["id"] == "color":
                    return _hex(p["value"]["fixedColor"])
    return _CLASSIC[index % len(_CLASSIC)]


def _by_steps(panel: DrawnPanel, value: float) -> str:
    steps = _defaults(panel)["thresholds"]["steps"]
    passed = [s for s in steps if s["value"] is None or value >= s["value"]]
    return _hex(passed[-1]["color"])


def _hex(name: str) -> str:
    return _NAMED.get(name, name)


def _date(at_s: float) -> datetime:
    return datetime.fromtimestamp(at_s, UTC)


def _broken(values: Series) -> tuple[list[Any], list[float]]:
    """Times and values with a break wherever some are missing: what is not known is not drawn."""
    step_s = min((b[0] - a[0] for a, b in pairwise(values)), default=0.0)
    times: list[Any] = []
    numbers: list[float] = []
    for at, value in values:
        if times and at - times[-1].timestamp() > 1.5 * step_s:
            times.append(_date(at - step_s / 2))
            numbers.append(math.nan)
        times.append(_date(at))
        numbers.append(value)
    return times, numbers


def _legend_width(name: str) -> float:
    return 0.36 + 0.059 * len(name)


def _legend_lines(names: Sequence[str], width: float) -> list[list[int]]:
    lines: list[list[int]] = [[]]
    used = 0.0
    for i, name in enumerate(names):
        own = _legend_width(name)
        if lines[-1] and used + own > width:
            lines.append([])
            used = 0.0
        lines[-1].append(i)
        used += own
    if len(lines) > _LEGEND_LINES:
        lines = lines[:_LEGEND_LINES]
        while len(lines[-1]) > 1 and sum(_legend_width(names[i]) for i in lines[-1]) + 0.7 > width:
            lines[-1].pop()  # room to say how many more there are
    return lines
