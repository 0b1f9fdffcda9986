"""From spec.py's values to Grafana's JSON, by Grafana's own library."""

from __future__ import annotations

import json
from collections.abc import Iterator

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import prometheus as prometheus_model

from deploy.grafana.spec import GRID_WIDTH, Board, Kind, Panel, Query
from deploy.grafana.variables import variables

TAG = "joulecar"
SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
_ROW_HEIGHT = 1

AnyPanel = timeseries.Panel | stat.Panel | bargauge.Panel | table.Panel | statetimeline.Panel


def to_json(board: Board) -> str:
    """The file that Grafana's provisioning reads, the same for the same board."""
    text = json.dumps(_dashboard(board).build(), cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False)
    return text + "\n"


def _dashboard(board: Board) -> dashboard.Dashboard:
    made = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags([TAG])
        .time(board.span, "now")
        .refresh(board.refresh)
        .timezone("browser")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .readonly()
        .link(
            dashboard.DashboardLink("Joulecar")
            .type(model.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(True)
            .include_vars(True)
            .keep_time(True)
        )
    )
    for one in variables(board):
        made = made.with_variable(one)
    number, y = 0, 0
    for row in board.rows:
        number += 1
        at = model.GridPos(h=_ROW_HEIGHT, w=GRID_WIDTH, x=0, y=y)
        made = made.with_row(dashboard.Row(row.title).id(number).grid_pos(at))
        y += _ROW_HEIGHT
        for panel, x, below in _places(row.panels):
            number += 1
            pos = model.GridPos(h=panel.height, w=panel.width, x=x, y=y + below)
            made = made.with_panel(_panel(panel).id(number).grid_pos(pos))
        y += sum(max(p.height for p in line) for line in _lines(row.panels))
    return made


def _lines(panels: tuple[Panel, ...]) -> list[list[Panel]]:
    """Panels side by side, as many as fit."""
    lines: list[list[Panel]] = [[]]
    for panel in panels:
        if sum(p.width for p in lines[-1]) + panel.width > GRID_WIDTH:
            lines.append([])
        lines[-1].append(panel)
    return lines


def _places(panels: tuple[Panel, ...]) -> Iterator[tuple[Panel, int, int]]:
    """Each panel with its x and its y within the row."""
    y = 0
    for line in _lines(panels):
        x = 0
        for panel in line:
            yield panel, x, y
            x += panel.width
        y += max(p.height for p in line)


def _panel(panel: Panel) -> AnyPanel:
    made = _shown(panel)
    made = made.title(panel.title).description(panel.description).datasource(SOURCE).unit(panel.unit)
    made = made.thresholds(_thresholds(panel))
    instant = panel.kind in (Kind.BARS, Kind.TABLE)
    for letter, query in zip("ABCDEFGHIJKLMNOP", panel.queries, strict=False):
        target = prometheus.Dataquery().ref_id(letter).expr(query.expr).datasource(SOURCE)
        target = target.legend_format(query.legend or "__auto")
        target = target.instant() if instant else target.range()
        if query.exemplars:
            target = target.exemplar(True)
        made = made.with_target(
            target.format(prometheus_model.PromQueryFormat.TABLE) if panel.kind is Kind.TABLE else target
        )
    if panel.low is not None:
        made = made.min(panel.low)
    if panel.high is not None:
        made = made.max(panel.high)
    if panel.decimals is not None:
        made = made.decimals(panel.decimals)
    if panel.nothing:
        made = made.no_value(panel.nothing)
    if panel.values:
        made = made.mappings([_mapping(panel)])
    for name, color in panel.colors.items():
        fixed = model.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": color})
        made = made.override_by_name(name, [fixed])
    return made


def _shown(panel: Panel) -> AnyPanel:
    """The plug-in and what is its own."""
    match panel.kind:
        case Kind.LINES:
            return _time_series(panel)
        case Kind.STAT:
            return _stat(panel)
        case Kind.BARS:
            return _bars(panel)
        case Kind.TABLE:
            return _table(panel)
        case Kind.STATES:
            return _states(panel)


def _thresholds(panel: Panel) -> dashboard.ThresholdsConfig:
    steps = [model.Threshold(value=None, color=panel.base_color)]
    steps += [model.Threshold(value=s.value, color=s.color) for s in panel.steps]
    return dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)


def _mapping(panel: Panel) -> model.ValueMap:
    options = {
        value: model.ValueMappingResult(text=text, color=color, index=i)
        for i, (value, (text, color)) in enumerate(panel.values.items())
    }
    return model.ValueMap(options=options)


def _color(panel: Panel) -> dashboard.FieldColor:
    by_steps = bool(panel.steps) or bool(panel.values)
    mode = model.FieldColorModeId.THRESHOLDS if by_steps else model.FieldColorModeId.FIXED
    color = dashboard.FieldColor().mode(mode)
    return color if by_steps else color.fixed_color(panel.base_color)


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields("")


def _legend(panel: Panel) -> common.VizLegendOptions:
    legend = common.VizLegendOptions().display_mode(common_model.LegendDisplayMode.LIST).show_legend(True)
    return legend.placement(common_model.LegendPlacement.BOTTOM)


def _time_series(panel: Panel) -> timeseries.Panel:
    style = common_model.GraphTresholdsStyleMode.DASHED if panel.steps else common_model.GraphTresholdsStyleMode.OFF
    made = (
        timeseries.Panel()
        .draw_style(common_model.GraphDrawStyle.LINE)
        .line_width(1.5)
        .fill_opacity(40 if panel.stacked else 6)
        .show_points(common_model.VisibilityMode.NEVER)
        # A gap in the data stays a gap in the line: what is not known is not drawn.
        .span_nulls(False)
        .color_scheme(dashboard.FieldColor().mode(model.FieldColorModeId.PALETTE_CLASSIC))
        .thresholds_style(common.GraphThresholdsStyleConfig().mode(style))
        .legend(_legend(panel))
        .tooltip(
            common.VizTooltipOptions()
            .mode(common_model.TooltipDisplayMode.MULTI)
            .sort(common_model.SortOrder.DESCENDING)
        )
    )
    if panel.stacked:
        made = made.stacking(common.StackingConfig().mode(common_model.StackingMode.NORMAL).group("A"))
    return made


def _stat(panel: Panel) -> stat.Panel:
    return (
        stat.Panel()
        .reduce_options(_last())
        .graph_mode(common_model.BigValueGraphMode.AREA)
        .color_mode(common_model.BigValueColorMode.VALUE)
        .text_mode(common_model.BigValueTextMode.AUTO)
        .color_scheme(_color(panel))
    )


def _bars(panel: Panel) -> bargauge.Panel:
    return (
        bargauge.Panel()
        .reduce_options(_last())
        .display_mode(common_model.BarGaugeDisplayMode.BASIC)
        .orientation(common_model.VizOrientation.HORIZONTAL)
        .value_mode(common_model.BarGaugeValueMode.TEXT)
        .show_unfilled(True)
        .color_scheme(_color(panel))
    )


def _table(panel: Panel) -> table.Panel:
    """Rows by labels, one column for each query."""
    letters = [f"Value #{letter}" for letter, _ in zip("ABCDEFGHIJKLMNOP", panel.queries, strict=False)]
    # Grafana calls the only query's column Value.
    columns = ["Value"] if len(letters) == 1 else letters
    titles = dict(panel.labels) | {c: q.legend for c, q in zip(columns, panel.queries, strict=True)}
    order = {name: i for i, name in enumerate(titles)}
    made = (
        table.Panel()
        .with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(
            model.DataTransformerConfig(
                id_val="organize",
                options={"excludeByName": {"Time": True}, "indexByName": order, "renameByName": titles},
            )
        )
    )
    for query in panel.queries:
        made = made.override_by_name(query.legend, _column(query, panel))
    return made


def _column(query: Query, panel: Panel) -> list[model.DynamicConfigValue]:
    return [model.DynamicConfigValue(id_val="unit", value=query.unit or panel.unit)]


def _states(panel: Panel) -> statetimeline.Panel:
    return (
        statetimeline.Panel()
        .show_value(common_model.VisibilityMode.NEVER)
        .merge_values(True)
        .row_height(0.8)
        .legend(_legend(panel))
        .color_scheme(_color(panel))
    )
