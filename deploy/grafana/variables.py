"""The variables at the top of each dashboard.

All that are lists open with everything chosen, as `.*`: it matches series without the label, too. Most installations
have no cluster label, and what is nobody's has an empty engine and model.
"""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import dashboard as model

WINDOWS = ("1m", "5m", "15m", "1h", "6h", "1d")
DEFAULT_WINDOW = "5m"
EVERYTHING = ".*"

# name -> (label, the series whose label values are offered, with the variables before it as filter)
_LISTS = {
    "cluster": ("Cluster", "joulecar_build_info"),
    "instance": ("Agent", 'joulecar_build_info{cluster=~"$cluster"}'),
    "engine": ("Engine", 'joulecar_engine_info{cluster=~"$cluster", instance=~"$instance"}'),
    "model": ("Model", 'joulecar_tokens_total{cluster=~"$cluster", instance=~"$instance", engine=~"$engine"}'),
}

Variable = dashboard.DatasourceVariable | dashboard.IntervalVariable | dashboard.QueryVariable


def variable(name: str) -> Variable:
    if name == "datasource":
        return dashboard.DatasourceVariable(name).label("Data source").type("prometheus")
    if name == "window":
        return _window()
    label, series = _LISTS[name]
    everything = model.VariableOption(selected=True, text=["All"], value=["$__all"])
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(model.DataSourceRef(type_val="prometheus", uid="${datasource}"))
        .query({"query": f"label_values({series}, {name})", "refId": f"{name}-values"})
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(EVERYTHING)
        .current(everything)
    )


def _window() -> dashboard.IntervalVariable:
    return (
        dashboard.IntervalVariable("window")
        .label("Window of ratios")
        .values(",".join(WINDOWS))
        .options([model.VariableOption(selected=w == DEFAULT_WINDOW, text=w, value=w) for w in WINDOWS])
        .current(model.VariableOption(selected=True, text=DEFAULT_WINDOW, value=DEFAULT_WINDOW))
        .auto(False)
    )
