"""The variables at the top of each dashboard.

All that are lists open with everything chosen, as `.*`: it matches series without the label, too. Most installations
have no cluster label, and what is nobody's has an empty engine and model.
"""

from __future__ import annotations

from collections.abc import Iterator

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import dashboard as model

from deploy.grafana.spec import Board, Choice

EVERYTHING = ".*"

Variable = dashboard.DatasourceVariable | dashboard.IntervalVariable | dashboard.QueryVariable

# Of dashboards on the agents' own series. Each list is cut down by the choices before it.
AGENTS = (
    Choice("cluster", "Cluster", "joulecar_build_info"),
    Choice("instance", "Agent", 'joulecar_build_info{cluster=~"$cluster"}'),
    Choice("engine", "Engine", 'joulecar_engine_info{cluster=~"$cluster", instance=~"$instance"}'),
    Choice("model", "Model", 'joulecar_tokens_total{cluster=~"$cluster", instance=~"$instance", engine=~"$engine"}'),
)
WINDOWS = ("5m", "1m", "15m", "1h", "6h", "1d")


def variables(board: Board) -> Iterator[Variable]:
    """In the order in which they stand."""
    yield dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
    for choice in board.choices:
        yield _list(choice)
    yield _window(board.windows)


def _list(choice: Choice) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(choice.name)
        .label(choice.label)
        .datasource(model.DataSourceRef(type_val="prometheus", uid="${datasource}"))
        .query({"query": f"label_values({choice.series}, {choice.name})", "refId": f"{choice.name}-values"})
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(EVERYTHING)
        .current(model.VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


def _window(windows: tuple[str, ...]) -> dashboard.IntervalVariable:
    chosen = windows[0]
    return (
        dashboard.IntervalVariable("window")
        .label("Window of ratios")
        .values(",".join(windows))
        .options([model.VariableOption(selected=w == chosen, text=w, value=w) for w in windows])
        .current(model.VariableOption(selected=True, text=chosen, value=chosen))
        .auto(False)
    )
