"""The second dashboard: grams, money, water, and what is left of the budgets."""

from __future__ import annotations

from deploy.grafana.grid import GRID
from deploy.grafana.money import BUDGETS, COST_AND_WATER, cost
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
)
from deploy.grafana.spec import Board, Kind, Panel, Query, Row, Step
from deploy.grafana.variables import AGENTS, WINDOWS

RANGE = "$__range"

_MODEL = "engine, model"
_EMISSIONS = "joulecar_emissions_gco2e_total"
_OPERATIONAL = owned(_EMISSIONS, 'scope="operational"')
_EMBODIED = owned(_EMISSIONS, 'scope="embodied"')
_TOKENS = owned("joulecar_tokens_total", GENERATED)
_NO_ZONE = "no zone, no grams"


def _per_1k(grams: str, by: str = "") -> str:
    return ratio(f"1000 * {grams}", total(increase(_TOKENS), by))


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
            (Query(cost("currency", RANGE), "{{currency}}"),),
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
            (Query(total(increase(owned("joulecar_water_liters_total"), RANGE))),),
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
                        f"1000 * ({cost('engine, model, currency', '$window')})",
                        total(increase(_TOKENS), _MODEL),
                        join="on (engine, model) group_left ()",
                    ),
                    "{{engine}} {{model}} {{currency}}",
                ),
            ),
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
            width=10,
            stacked=True,
            low=0,
        ),
        Panel(
            "Emissions by model, time shown",
            "All grams of the time shown, operational and embodied, by engine and model.",
            Kind.BARS,
            "si:gCO2e",
            (Query(named(total(increase(owned(_EMISSIONS), RANGE), _MODEL)), "{{engine}} {{model}}"),),
            width=8,
            low=0,
        ),
        Panel(
            "Emissions by zone, time shown",
            "All grams of the time shown, operational and embodied, by the zone in which the agent stands now.",
            Kind.BARS,
            "si:gCO2e",
            (
                Query(
                    f"sum by (zone) (sum by (cluster, instance) ({increase(owned(_EMISSIONS), RANGE)})\n"
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

CARBON = Board(
    "joulecar-carbon",
    "Joulecar / Carbon and cost",
    "Grams for 1,000 tokens and in total, with the source, kind and age of the intensity; cost, water and budgets.",
    (_NOW, _EFFICIENCY, GRID, _TOTALS, COST_AND_WATER, BUDGETS),
    AGENTS,
    WINDOWS,
    span="now-24h",
    refresh="1m",
)
