"""The third dashboard: sums over many agents, from what the recording rules of `joulecar rules` keep.

A thousand agents write some hundred thousand series; the rules' sums are a few for each model and zone. Only the row on
the agents themselves asks for the agents' own series, one or a few of each.
"""

from __future__ import annotations

from deploy.grafana.queries import GENERATED, SERVING, named, ratio, total, zero_where
from deploy.grafana.spec import USE_COLORS, Board, Choice, Kind, Panel, Query, Row, Step

_PLACE = 'cluster=~"$cluster", zone=~"$zone"'
_CLUSTER = 'cluster=~"$cluster"'
_MODEL = 'model=~"$model"'
_SOMEBODYS = 'model!=""'
_NO_WORK = 'use=~"idle|unassigned"'
_J_PER_KWH = "3.6e6"
_STEP = "1m"  # rates are recorded at least this often: their sum over the time shown is what flowed
_STEP_S = 60
_BY = "cluster, zone, model"
_BUILD = f"joulecar_build_info{{{_CLUSTER}}}"
_PARTS = f"joulecar_part_up{{{_CLUSTER}}}"

CHOICES = (
    Choice("cluster", "Cluster", "zone:joulecar_energy_joules:rate5m"),
    Choice("zone", "Grid zone", 'zone:joulecar_energy_joules:rate5m{cluster=~"$cluster"}'),
    Choice("model", "Model", 'model:joulecar_energy_joules:rate5m{cluster=~"$cluster", zone=~"$zone"}'),
)


def _zones(what: str, *matchers: str) -> str:
    """The rate that is recorded for each cluster and zone, all models in one."""
    return f"zone:joulecar_{what}:rate${{window}}{{{', '.join((_PLACE, *matchers))}}}"


def _models(what: str, *matchers: str) -> str:
    """The rate that is recorded for each cluster, zone and model."""
    return f"model:joulecar_{what}:rate${{window}}{{{', '.join((_PLACE, _MODEL, *matchers))}}}"


def _flowed(series: str) -> str:
    """What a recorded rate comes to over the time shown; times without it add nothing."""
    short = series.replace("${window}", "5m")
    return f"{_STEP_S} * sum_over_time({short}[$__range:{_STEP}])"


def _tokens_per_joule(by: str = "") -> str:
    made = f"({total(_models('tokens', GENERATED), by)} > 0)"
    return ratio(made, total(_models("energy_joules", SERVING), by))


def _grams_per_1k(by: str = "") -> str:
    grams = total(_models("emissions_gco2e", 'scope="operational"', _SOMEBODYS), by)
    return ratio(f"1000 * {grams}", total(_models("tokens", GENERATED), by))


_SILENT = (
    f"count by (cluster) (group by (cluster, instance) (last_over_time({_BUILD}[1h]))\n"
    f"unless group by (cluster, instance) ({_BUILD}))"
)

_NOW = Row(
    "Now",
    (
        Panel(
            "Agents",
            "Agents that Prometheus could scrape at last, in the chosen clusters.",
            Kind.STAT,
            "none",
            (Query(f"count(group by (cluster, instance) ({_BUILD}))"),),
            width=4,
            height=4,
            nothing="no agent",
        ),
        Panel(
            "Power",
            "All metered devices of all agents, as the rate of their energy counters. Fans and power supplies are not "
            "in it.",
            Kind.STAT,
            "watt",
            (Query(total(_zones("device_energy_joules"))),),
            width=4,
            height=4,
            nothing="no agent",
        ),
        Panel(
            "Tokens per joule",
            "Generated tokens of all agents over all their joules of serving (prefill, decode, idle): a ratio of "
            "sums, not a mean of agents.",
            Kind.STAT,
            "suffix:tok/J",
            (Query(_tokens_per_joule()),),
            width=4,
            height=4,
            nothing="no tokens",
        ),
        Panel(
            "gCO2e per 1,000 tokens",
            "Operational grams of all models over their generated tokens: a ratio of sums. Idle, overhead, PUE and "
            "grid losses are in it, embodied carbon is not.",
            Kind.STAT,
            "suffix:g",
            (Query(_grams_per_1k()),),
            width=4,
            height=4,
            nothing="no tokens or no zone",
        ),
        Panel(
            "Emissions",
            "Grams each hour of all agents, operational and embodied, nobody's joules included. Agents without a zone "
            "have none.",
            Kind.STAT,
            "suffix:gCO2e/h",
            (Query(total(f"3600 * {_zones('emissions_gco2e')}")),),
            width=4,
            height=4,
            nothing="no zone, no grams",
        ),
        Panel(
            "Joules without work",
            "Joules of loaded, idle engines and of GPUs without engine, over all joules.",
            Kind.STAT,
            "percentunit",
            (
                Query(
                    ratio(
                        f"({zero_where(total(_zones('energy_joules', _NO_WORK)), _zones('energy_joules'))})",
                        total(_zones("energy_joules")),
                    )
                ),
            ),
            width=4,
            height=4,
            steps=(Step(0.3, "yellow"), Step(0.6, "orange")),
            nothing="no joules",
        ),
    ),
)

_POWER = Row(
    "Power",
    (
        Panel(
            "Watts by cluster",
            "Energy counters of all devices of each cluster, as a rate. No name: a Prometheus without cluster label.",
            Kind.LINES,
            "watt",
            (Query(total(_zones("device_energy_joules"), "cluster"), "cluster {{cluster}}"),),
            stacked=True,
            low=0,
        ),
        Panel(
            "Watts by model",
            "Joules booked to each model, as a rate: prefill, decode and idle. nobody's: GPUs without engine, other "
            "processes, engines that could not be read.",
            Kind.LINES,
            "watt",
            (Query(total(named(_models("energy_joules")), "model"), "{{model}}"),),
            stacked=True,
            low=0,
        ),
        Panel(
            "Watts by use",
            "What the joules of all agents were used for, as a rate.",
            Kind.LINES,
            "watt",
            (Query(total(_models("energy_joules"), "use"), "{{use}}"),),
            stacked=True,
            low=0,
            colors=USE_COLORS,
        ),
    ),
)

_EFFICIENCY = Row(
    "Efficiency",
    (
        Panel(
            "Tokens per joule by model",
            "Generated tokens over joules of serving, summed over all agents that serve the model. No line where no "
            "token came.",
            Kind.LINES,
            "suffix:tok/J",
            (Query(_tokens_per_joule("model"), "{{model}}"),),
            low=0,
        ),
        Panel(
            "gCO2e per 1,000 tokens by zone",
            "Operational grams over generated tokens by grid zone: the same work where and when the grid is cleaner.",
            Kind.LINES,
            "suffix:g",
            (Query(_grams_per_1k("zone"), "{{zone}}"),),
            low=0,
        ),
        Panel(
            "Generated tokens by model",
            "Tokens each second that the engines of all agents generated.",
            Kind.LINES,
            "suffix:tok/s",
            (Query(total(_models("tokens", GENERATED), "model"), "{{model}}"),),
            stacked=True,
            low=0,
        ),
    ),
)

_TOTALS = Row(
    "Totals of the time shown",
    (
        Panel(
            "Energy by model",
            "Energy of the time shown, all uses, by model. Times in which no rule ran are not in it.",
            Kind.BARS,
            "kwatth",
            (Query(total(named(f"{_flowed(_models('energy_joules'))} / {_J_PER_KWH}"), "model"), "{{model}}"),),
            width=6,
            low=0,
        ),
        Panel(
            "Emissions by model",
            "Grams of the time shown, operational and embodied, by model.",
            Kind.BARS,
            "si:gCO2e",
            (Query(total(named(_flowed(_models("emissions_gco2e"))), "model"), "{{model}}"),),
            width=6,
            low=0,
        ),
        Panel(
            "Emissions by zone",
            "Grams of the time shown, operational and embodied, by grid zone.",
            Kind.BARS,
            "si:gCO2e",
            (Query(total(_flowed(_zones("emissions_gco2e")), "zone"), "{{zone}}"),),
            width=6,
            low=0,
        ),
        Panel(
            "Energy by use",
            "Energy of the time shown by what it was used for.",
            Kind.BARS,
            "kwatth",
            (Query(total(f"{_flowed(_models('energy_joules'))} / {_J_PER_KWH}", "use"), "{{use}}"),),
            width=6,
            low=0,
            colors=USE_COLORS,
        ),
        Panel(
            "Models by cluster and zone",
            "One row for each model in each cluster and grid zone: sums of the time shown, ratios over the window.",
            Kind.TABLE,
            "none",
            (
                Query(
                    total(f"{_flowed(_models('energy_joules', _SOMEBODYS))} / {_J_PER_KWH}", _BY), "Energy", "kwatth"
                ),
                Query(total(_flowed(_models("emissions_gco2e", _SOMEBODYS)), _BY), "Emissions", "si:gCO2e"),
                Query(total(_flowed(_models("tokens", GENERATED)), _BY), "Generated", "short"),
                Query(_tokens_per_joule(_BY), "Tokens/J now", "suffix:tok/J"),
                Query(_grams_per_1k(_BY), "g/1k tokens now", "suffix:g"),
            ),
            width=24,
            labels={"cluster": "Cluster", "zone": "Zone", "model": "Model"},
        ),
    ),
)

_AGENTS = Row(
    "The agents themselves",
    (
        Panel(
            "Silent agents",
            "Agents that answered within the last hour and do not now, by cluster. What their devices use is in no "
            "series meanwhile.",
            Kind.LINES,
            "none",
            (Query(zero_where(_SILENT, _BUILD, "cluster"), "cluster {{cluster}}"),),
            low=0,
            steps=(Step(1, "red"),),
        ),
        Panel(
            "Parts down",
            "Sources, engines, grids and ledgers that do not work, over all agents of a cluster.",
            Kind.LINES,
            "none",
            (Query(zero_where(f"count by (cluster) ({_PARTS} == 0)", _PARTS, "cluster"), "cluster {{cluster}}"),),
            low=0,
            steps=(Step(1, "orange"),),
        ),
        Panel(
            "Versions",
            "Agents by version and cluster.",
            Kind.TABLE,
            "none",
            (Query(f"count by (cluster, version) ({_BUILD})", "Agents"),),
            labels={"cluster": "Cluster", "version": "Version"},
        ),
    ),
)

FLEET = Board(
    "joulecar-fleet",
    "Joulecar / Fleet",
    "Sums over many agents by cluster, grid zone and model, from the recording rules.",
    (_NOW, _POWER, _EFFICIENCY, _TOTALS, _AGENTS),
    CHOICES,
    ("5m", "1h"),
    span="now-24h",
    refresh="1m",
)
