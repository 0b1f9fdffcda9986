"""The second dashboard: grams, money, water, and what is left of the budgets."""

from __future__ import annotations

from deploy.grafana.queries import (
    GENERATED,
    increase,
    named,
    owned,
    rate,
    ratio,
    site,
    total,
    whose_tokens_count,
    zero_where,
)
from deploy.grafana.spec import Board, Kind, Panel, Query, Row, Step
from deploy.grafana.variables import AGENTS, WINDOWS

RANGE = "$__range"

_MODEL = "engine, model"
_MONEY = "engine, model, currency"
_EMISSIONS = "joulecar_emissions_gco2e_total"
_OPERATIONAL = owned(_EMISSIONS, 'scope="operational"')
_EMBODIED = owned(_EMISSIONS, 'scope="embodied"')
_TOKENS = owned("joulecar_tokens_total", GENERATED)
_COST = owned("joulecar_energy_cost_total")
_CREDIT = owned("joulecar_energy_credit_total")
_WATER = owned("joulecar_water_liters_total")
_INTENSITY = "max by (cluster, instance, zone) (" + site("joulecar_grid_intensity_gco2e_per_kwh") + ")"
_BUDGET = "cluster, instance, budget"
_BURN_1H, _BURN_24H = (site("joulecar_budget_burn_rate", f'window="{w}"') for w in ("1h", "24h"))
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
_NO_ZONE = "no zone, no grams"


def _per_1k(grams: str, by: str = "") -> str:
    return ratio(f"1000 * {grams}", total(increase(_TOKENS), by))


def _net(spent: str, credit: str, by: str) -> str:
    """What was charged less what was credited in hours of negative price; most markets have no credit at all."""
    return f"{total(spent, by)}\n- ({zero_where(total(credit, by), spent, by)})"


_NOW = Row(
    "Over the window, and over the time shown",
    (
        Panel(
            "gCO2e per 1,000 tokens",
            "Operational grams for 1,000 generated tokens in the window: prefill, decode and idle of every device, "
            "node overhead, PUE and grid losses included; embodied carbon is not. Models whose tokens the engine "
            "counts.",
            Kind.STAT,
            "suffix:g",
            (Query(_per_1k(total(whose_tokens_count(_OPERATIONAL)))),),
            width=4,
            height=4,
            nothing="no tokens or no zone",
        ),
        Panel(
            "Carbon intensity",
            "Grid intensity in force now, by zone. Which source and what kind of value it is stands in the table "
            "below.",
            Kind.STAT,
            "suffix:g/kWh",
            (Query(f"max by (zone) ({site('joulecar_grid_intensity_gco2e_per_kwh')})", "{{zone}}"),),
            width=4,
            height=4,
            decimals=0,
            nothing=_NO_ZONE,
        ),
        Panel(
            "Emissions",
            "All grams of the time shown, operational and embodied, of the chosen engines and models; with all "
            "chosen, nobody's joules, too. Location-based.",
            Kind.STAT,
            "si:gCO2e",
            (Query(total(increase(owned(_EMISSIONS), RANGE))),),
            width=4,
            height=4,
            nothing=_NO_ZONE,
        ),
        Panel(
            "Cost of energy",
            "Joules of the time shown at the price in force then, overhead and PUE included, less credits of hours "
            "with a negative price. By currency. Nothing without a price.",
            Kind.STAT,
            "none",
            (Query(_net(increase(_COST, RANGE), increase(_CREDIT, RANGE), "currency"), "{{currency}}"),),
            width=4,
            height=4,
            decimals=2,
            nothing="no price",
        ),
        Panel(
            "Water",
            "Water of the time shown: joules times the litres per kWh that are configured for the site. Nothing "
            "without them.",
            Kind.STAT,
            "litre",
            (Query(total(increase(_WATER, RANGE))),),
            width=4,
            height=4,
            decimals=2,
            nothing="no litres per kWh",
        ),
        Panel(
            "Fullest budget",
            "The largest used share of any budget of the chosen agents. The table below has them all.",
            Kind.STAT,
            "percentunit",
            (Query(f"max({site('joulecar_budget_used_ratio')})"),),
            width=4,
            height=4,
            decimals=0,
            steps=(Step(0.8, "yellow"), Step(1.0, "red")),
            nothing="no budget",
        ),
    ),
)

_EFFICIENCY = Row(
    "For 1,000 generated tokens",
    (
        Panel(
            "gCO2e per 1,000 tokens by model",
            "Operational grams over generated tokens in the window: prefill, decode, idle, overhead, PUE and grid "
            "losses. It falls when the batch grows or the grid gets cleaner. No line where no token came.",
            Kind.LINES,
            "suffix:g",
            (Query(_per_1k(total(increase(_OPERATIONAL), _MODEL), _MODEL), "{{engine}} {{model}}"),),
            low=0,
        ),
        Panel(
            "SCI per 1,000 tokens by model",
            "Software carbon intensity (ISO/IEC 21031): operational and embodied grams over generated tokens in the "
            "window. No line where embodied carbon is not configured: without it there is no SCI.",
            Kind.LINES,
            "suffix:g",
            (
                Query(
                    _per_1k(
                        f"({total(increase(_OPERATIONAL), _MODEL)}\n+ {total(increase(_EMBODIED), _MODEL)})", _MODEL
                    ),
                    "{{engine}} {{model}}",
                ),
            ),
            low=0,
        ),
        Panel(
            "Cost per 1,000 tokens by model",
            "Cost of energy over generated tokens in the window, in the currency of the price. Hardware is not in it. "
            "No line without a price or tokens.",
            Kind.LINES,
            "none",
            (
                Query(
                    ratio(
                        f"1000 * ({_net(increase(_COST), increase(_CREDIT), _MONEY)})",
                        total(increase(_TOKENS), _MODEL),
                        join="on (engine, model) group_left ()",
                    ),
                    "{{engine}} {{model}} {{currency}}",
                ),
            ),
        ),
    ),
)

_GRID = Row(
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
                    "{{zone}} {{provider}} {{kind}}, {{signal}}, {{basis}}",
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
                Query(total(increase(site("joulecar_energy_unpriced_joules_total"), RANGE)), "in no grams"),
                Query(total(increase(site("joulecar_energy_uncosted_joules_total"), RANGE)), "in no cost"),
            ),
            width=6,
            height=6,
            steps=(Step(1, "orange"),),
            nothing="no agent tells",
        ),
    ),
)

_TOTALS = Row(
    "Totals",
    (
        Panel(
            "Emissions by model",
            "Grams each hour, operational and embodied, location-based. What is nobody's (idle GPUs without engine, "
            "other processes, unattributed) is priced, too.",
            Kind.LINES,
            "suffix:gCO2e/h",
            (Query(named(total(f"3600 * {rate(owned(_EMISSIONS))}", _MODEL)), "{{engine}} {{model}}"),),
            width=12,
            stacked=True,
            low=0,
        ),
        Panel(
            "Emissions by model, time shown",
            "All grams of the time shown, operational and embodied, by engine and model.",
            Kind.BARS,
            "si:gCO2e",
            (Query(named(total(increase(owned(_EMISSIONS), RANGE), _MODEL)), "{{engine}} {{model}}"),),
            width=6,
            low=0,
        ),
        Panel(
            "Emissions by zone, time shown",
            "Operational grams of the time shown by the zone in which the agent stands now.",
            Kind.BARS,
            "si:gCO2e",
            (
                Query(
                    f"sum by (zone) (sum by (cluster, instance) ({increase(_OPERATIONAL, RANGE)})\n"
                    f"* on (cluster, instance) group_right () group by (cluster, instance, zone) "
                    f"({site('joulecar_grid_intensity_gco2e_per_kwh')}))",
                    "{{zone}}",
                ),
            ),
            width=6,
            low=0,
        ),
        Panel(
            "Accounts side by side, time shown",
            "The same joules by four accounts that are never added to each other: location-based as booked; with "
            "later corrections of the grid's operator (settlement); market-based, by the contract's factor; marginal, "
            "by the marginal source. An account that is not configured is not shown.",
            Kind.BARS,
            "si:gCO2e",
            (
                Query(total(increase(_OPERATIONAL, RANGE)), "location-based, as booked"),
                Query(
                    f"{total(increase(_OPERATIONAL, RANGE))}\n"
                    f"+ {total('delta(' + owned('joulecar_emissions_settlement_gco2e') + '[$__range])')}",
                    "location-based, settled",
                ),
                Query(total(increase(owned("joulecar_emissions_market_based_gco2e_total"), RANGE)), "market-based"),
                Query(total(increase(owned("joulecar_emissions_marginal_gco2e_total"), RANGE)), "marginal"),
            ),
            width=12,
            low=0,
        ),
        Panel(
            "Operational and embodied",
            "Grams each hour by scope. operational: from the electricity used; embodied: the share of making the "
            "hardware that falls on this time, if configured.",
            Kind.LINES,
            "suffix:gCO2e/h",
            (Query(total(f"3600 * {rate(owned(_EMISSIONS))}", "scope"), "{{scope}}"),),
            width=6,
            stacked=True,
            low=0,
        ),
        Panel(
            "Settlement by model",
            "Grams that later, final intensities add to what was booked, or take from it, since the books began. "
            "Booked grams never change; reports use the sum.",
            Kind.LINES,
            "si:gCO2e",
            (
                Query(
                    named(total(owned("joulecar_emissions_settlement_gco2e"), _MODEL)),
                    "{{engine}} {{model}}",
                ),
            ),
            width=6,
        ),
    ),
)

_COST_AND_WATER = Row(
    "Cost and water",
    (
        Panel(
            "Price of energy",
            "Price of a kWh in force, fees and taxes as configured. fixed: a tariff; day_ahead: the market's.",
            Kind.LINES,
            "none",
            (
                Query(
                    f"max by (currency, zone, provider, kind) ({site('joulecar_energy_price_per_kwh')})",
                    "{{currency}}/kWh {{zone}} {{provider}} {{kind}}",
                ),
            ),
        ),
        Panel(
            "Cost by model",
            "Cost of energy each hour, by engine and model: joules with overhead and PUE at the price in force, less "
            "credits.",
            Kind.LINES,
            "none",
            (
                Query(
                    named(f"3600 * ({_net(rate(_COST), rate(_CREDIT), _MONEY)})"),
                    "{{engine}} {{model}} {{currency}}/h",
                ),
            ),
            stacked=True,
        ),
        Panel(
            "Water by model",
            "Litres each hour: joules times the site's litres per kWh.",
            Kind.LINES,
            "litreh",
            (Query(named(total(f"3600 * {rate(_WATER)}", _MODEL)), "{{engine}} {{model}}"),),
            stacked=True,
            low=0,
        ),
    ),
)

_BUDGETS = Row(
    "Budgets",
    (
        Panel(
            "Budgets",
            "Each agent's budgets in their present period: limit, used, burn rates (1 is on course to use exactly the "
            "limit), when it will be exhausted at the present rate, and when the period ends. Empty: unknown, or "
            "never at this rate.",
            Kind.TABLE,
            "none",
            (
                Query(f"max by ({_BUDGET}, unit) ({site('joulecar_budget_limit')})", "Limit", "short"),
                Query(f"max by ({_BUDGET}, unit) ({site('joulecar_budget_used')})", "Used", "short"),
                Query(f"max by ({_BUDGET}) ({site('joulecar_budget_used_ratio')})", "Used share", "percentunit"),
                Query(f"max by ({_BUDGET}) ({_BURN_1H})", "Burn 1h", "short"),
                Query(f"max by ({_BUDGET}) ({_BURN_24H})", "Burn 24h", "short"),
                Query(
                    f"1000 * max by ({_BUDGET}) ({site('joulecar_budget_exhausted_timestamp_seconds')})",
                    "Exhausted",
                    "dateTimeAsIso",
                ),
                Query(
                    f"1000 * max by ({_BUDGET}) ({site('joulecar_budget_resets_timestamp_seconds')})",
                    "Begins anew",
                    "dateTimeAsIso",
                ),
            ),
            width=24,
            height=6,
            labels={"cluster": "Cluster", "instance": "Agent", "budget": "Budget", "unit": "Unit"},
        ),
        Panel(
            "Used share of budgets",
            "Used over limit in the present period. It falls to 0 when a period begins.",
            Kind.LINES,
            "percentunit",
            (Query(f"max by ({_BUDGET}) ({site('joulecar_budget_used_ratio')})", "{{instance}} {{budget}}"),),
            width=12,
            low=0,
            steps=(Step(0.8, "yellow"), Step(1.0, "red")),
        ),
        Panel(
            "Burn rate of budgets",
            "How fast the budget is used, over 1, 6 and 24 hours: 1 is on course to use exactly the limit by the end "
            "of the period.",
            Kind.LINES,
            "none",
            (
                Query(
                    f"max by ({_BUDGET}, window) ({site('joulecar_budget_burn_rate')})",
                    "{{instance}} {{budget}} {{window}}",
                ),
            ),
            width=12,
            low=0,
            steps=(Step(1.0, "red"),),
        ),
    ),
)

CARBON = Board(
    "joulecar-carbon",
    "Joulecar / Carbon and cost",
    "Grams for 1,000 tokens and in total, with the source, kind and age of the intensity; cost, water and budgets.",
    (_NOW, _EFFICIENCY, _GRID, _TOTALS, _COST_AND_WATER, _BUDGETS),
    AGENTS,
    WINDOWS,
    span="now-24h",
    refresh="1m",
)
