"""The carbon dashboard's last rows: cost, water and budgets."""

from __future__ import annotations

from deploy.grafana.queries import increase, named, owned, rate, site, total, zero_where
from deploy.grafana.spec import Kind, Panel, Query, Row, Step

_MODEL = "engine, model"
_MONEY = "engine, model, currency"
_COST = owned("joulecar_energy_cost_total")
_CREDIT = owned("joulecar_energy_credit_total")
_WATER = owned("joulecar_water_liters_total")
_BUDGET = "cluster, instance, budget"
_BURN_1H, _BURN_6H, _BURN_24H = (
    f"max by ({_BUDGET}) (" + site("joulecar_budget_burn_rate", f'window="{w}"') + ")" for w in ("1h", "6h", "24h")
)


def cost(by: str, over: str = "") -> str:
    """What was charged less what was credited in hours of negative price; most markets have no credit at all. A rate,
    or an increase over some time."""
    spent, credit = ((increase(s, over) if over else rate(s)) for s in (_COST, _CREDIT))
    return f"{total(spent, by)}\n- ({zero_where(total(credit, by), spent, by)})"


COST_AND_WATER = Row(
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
                    named(f"3600 * ({cost(_MONEY)})"),
                    "{{engine}} {{model}} {{currency}}/h",
                ),
            ),
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

BUDGETS = Row(
    "Budgets",
    (
        Panel(
            "Budgets",
            "Each agent's budgets in their present period, in joules, grams, litres or money: limit, used, burn rates "
            "(1 is on course to use exactly the limit), when the limit is reached at the rate of the last six hours, "
            "and when a new period begins. A limit that is reached later than that holds. Empty: too early to tell, "
            "or not within a year.",
            Kind.TABLE,
            "none",
            (
                Query(f"max by ({_BUDGET}, unit) ({site('joulecar_budget_limit')})", "Limit", "short"),
                Query(f"max by ({_BUDGET}, unit) ({site('joulecar_budget_used')})", "Used", "short"),
                Query(f"max by ({_BUDGET}) ({site('joulecar_budget_used_ratio')})", "Used share", "percentunit"),
                Query(_BURN_1H, "Burn 1h", "short"),
                Query(_BURN_6H, "Burn 6h", "short"),
                Query(_BURN_24H, "Burn 24h", "short"),
                Query(
                    f"1000 * max by ({_BUDGET}) ({site('joulecar_budget_exhausted_timestamp_seconds')})",
                    "Reached",
                    "dateTimeAsIso",
                ),
                Query(
                    f"1000 * max by ({_BUDGET}) ({site('joulecar_budget_resets_timestamp_seconds')})",
                    "Begins anew",
                    "dateTimeAsIso",
                ),
            ),
            width=24,
            height=9,
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
            "How fast the budget is used, over the last 6 hours: 1 is on course to use exactly the limit by the end "
            "of the period. The table has 1 hour and 24 hours, too.",
            Kind.LINES,
            "none",
            (Query(_BURN_6H, "{{instance}} {{budget}}"),),
            width=12,
            low=0,
            steps=(Step(1.0, "red"),),
        ),
    ),
)
