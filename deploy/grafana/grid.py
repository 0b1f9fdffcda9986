"""The carbon dashboard's row on the grid: how much carbon a kWh has, who says so, and how old the news is."""

from __future__ import annotations

from deploy.grafana.queries import increase, site, total
from deploy.grafana.spec import Kind, Panel, Query, Row, Step

_INTENSITY = "max by (cluster, instance, zone) (" + site("joulecar_grid_intensity_gco2e_per_kwh") + ")"
_KNOWN = "zone, provider, signal, basis, kind"
_ONE_ZONE = "* on (cluster, instance, zone) group_left ()"
_MARGINAL = "max by (cluster, instance, zone) (" + site("joulecar_grid_marginal_intensity_gco2e_per_kwh") + ")"
# A marginal source beside the average one has a line in the info, too; the value in force is not its.
_INFO = (
    f"({site('joulecar_grid_intensity_info')}\nunless on (cluster, instance, zone, signal) "
    f'label_replace({_MARGINAL}, "signal", "marginal", "", ""))\n{_ONE_ZONE}'
)
_MARGINAL_INFO = site("joulecar_grid_intensity_info", 'signal="marginal"') + f"\n{_ONE_ZONE}"
_IN_FORCE = f"max by ({_KNOWN}) ({_INFO} {_INTENSITY})\nor max by ({_KNOWN}) ({_MARGINAL_INFO} {_MARGINAL})"

GRID = Row(
    "Grid",
    (
        Panel(
            "Carbon intensity by zone, source and kind",
            "The value that grams are booked with. kind says how good it is: actual, estimated, forecast, last_value, "
            "... yearly. When a source fails, the line goes on under another kind. average and marginal are never "
            "mixed.",
            Kind.LINES,
            "suffix:gCO2e/kWh",
            (
                Query(
                    _IN_FORCE,
                    "{{zone}} {{kind}} ({{provider}}, {{signal}})",
                ),
            ),
            width=12,
            low=0,
        ),
        Panel(
            "Age of the intensity",
            "Time since the value in force was fetched. Absent for constants (fixed, yearly): nothing was fetched.",
            Kind.LINES,
            "s",
            (Query(f"max by (zone) ({site('joulecar_grid_intensity_age_seconds')})", "{{zone}}"),),
            width=12,
            low=0,
            steps=(Step(3 * 3600, "orange"),),
        ),
        Panel(
            "In force now",
            "One row for each zone and source: the value and the age of the oldest copy that an agent holds. No age: "
            "a constant.",
            Kind.TABLE,
            "none",
            (
                Query(
                    _IN_FORCE,
                    "Intensity",
                    "suffix:g/kWh",
                ),
                Query(
                    f"max by ({_KNOWN}) ({_INFO} "
                    f"max by (cluster, instance, zone) ({site('joulecar_grid_intensity_age_seconds')}))",
                    "Age",
                    "s",
                ),
                Query(
                    f"count by ({_KNOWN}) ({site('joulecar_grid_intensity_info')})",
                    "Agents",
                ),
            ),
            width=12,
            height=6,
            labels={"zone": "Zone", "provider": "Provider", "kind": "Kind", "signal": "Signal", "basis": "Basis"},
        ),
        Panel(
            "How zones were found",
            "Agents by zone and by how it was found: configuration, environment, label or cloud metadata. unknown: no "
            "zone, so no grams; set grid.zone.",
            Kind.TABLE,
            "none",
            (Query(f"count by (zone, found) ({site('joulecar_grid_zone_info')})", "Agents"),),
            width=6,
            height=6,
            labels={"zone": "Zone", "found": "Found by"},
        ),
        Panel(
            "Joules without a factor",
            "Joules of the time shown whose carbon intensity nobody told, and whose price: they are in the energy and "
            "in no grams, in no cost. 0 is what it should be.",
            Kind.STAT,
            "joule",
            (
                Query(total(increase(site("joulecar_energy_unpriced_joules_total"), "$__range")), "in no grams"),
                Query(total(increase(site("joulecar_energy_uncosted_joules_total"), "$__range")), "in no cost"),
            ),
            width=6,
            height=6,
            steps=(Step(1, "orange"),),
            nothing="no agent tells",
        ),
    ),
)
