"""[[budget]]: what each of them watches, and what cannot be watched with this configuration."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from zoneinfo import ZoneInfo, available_timezones

from agent import config_model as model
from agent import config_types as types
from agent.config_rules import Checked, Report, duration_s
from agent.settings import BudgetSettings, SiteSettings

MIN_OVER_S = 3600.0
MAX_OVER_S = 92 * 86400.0  # a quarter of a year: what a budget remembers is bounded


def budgets(
    tables: Sequence[Checked[model.Budget]], site: SiteSettings | None, report: Report
) -> tuple[BudgetSettings, ...]:
    """Budgets in the order of the file. site None: not known here, so nothing is held against it."""
    built: list[BudgetSettings] = []
    seen: dict[str, str] = {}
    for table in tables:
        name = table.value.name
        if not name and table.good("name"):
            report.add(table.at("name"), "is missing", "it is the label of the budget's metrics and alerts")
        if name and name in seen:
            report.add(table.at("name"), f"is the name of {seen[name]} too", "give every budget its own name")
        seen.setdefault(name, table.path)
        budget = _budget(table, report)
        if budget is not None:
            built.append(budget)
            if site is not None:
                _must_be_measured(budget, site, table, report)
    return tuple(built)


def _budget(table: Checked[model.Budget], report: Report) -> BudgetSettings | None:
    value = table.value
    over_s = _over_s(table, report)
    if table.good("timezone") and not _is_timezone(value.timezone):
        near = difflib.get_close_matches(value.timezone[:80], available_timezones(), n=1, cutoff=0.6)
        fix = f'did you mean "{near[0]}"?' if near else 'write an IANA name: "UTC", "Europe/Paris"'
        report.add(table.at("timezone"), "is no time zone that Joulecar knows", fix)
    if not value.limit:
        if table.good("limit"):
            report.add(table.at("limit"), "is missing", 'write limit = "50 kWh"')
        return None
    limit = types.amount(value.limit)
    if value.boundary != "it" and limit.quantity != "energy":
        report.add(table.at("boundary"), f"would do nothing: a budget of {limit.quantity} has one boundary")
    if value.scope != "operational" and limit.quantity != "carbon":
        report.add(table.at("scope"), f"would do nothing: a budget of {limit.quantity} has no scopes")
    return BudgetSettings(
        name=value.name,
        quantity=limit.quantity,
        limit=limit.value,
        unit=limit.unit,
        period=value.period,
        over_s=over_s,
        engines=_names(value.engine),
        models=_names(value.model),
        timezone=value.timezone,
        boundary=value.boundary,
        scope=value.scope,
    )


def _over_s(table: Checked[model.Budget], report: Report) -> float:
    value = table.value
    if not table.good("period", "over"):
        return 0.0
    if value.period != "rolling":
        if value.over:
            report.add(table.at("over"), f'would do nothing: the period is "{value.period}"', 'period = "rolling"?')
        return 0.0
    if not value.over:
        report.add(table.at("over"), "is missing: how long is the rolling period?", 'write over = "30d"')
        return MIN_OVER_S
    over_s = duration_s(value.over)
    if not MIN_OVER_S <= over_s <= MAX_OVER_S:
        report.add(table.at("over"), "must be between 1h and 92d")
    return over_s


def _must_be_measured(budget: BudgetSettings, site: SiteSettings, table: Checked[model.Budget], report: Report) -> None:
    """A budget of what nobody counts would stand at 0 and look like one that is kept."""
    if budget.quantity == "water" and site.wue_l_per_kwh is None:
        report.add(table.at("limit"), "is in litres, and no litre is counted", "set wue_l_per_kwh under [site]")
    if budget.quantity == "cost" and site.price is None:
        report.add(table.at("limit"), f"is in {budget.unit}, and energy has no price", "set [site.price]")
    elif budget.quantity == "cost" and site.price is not None and site.price.currency != budget.unit:
        known = site.price.currency
        report.add(table.at("limit"), f"is in {budget.unit}, and energy is priced in {known}", "they must be the same")
    if budget.scope == "total" and site.embodied is None:
        report.add(table.at("scope"), "would do nothing: no embodied grams are counted", "set [site.embodied]")


def _is_timezone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # not there, a path, a folder of zones
        return False
    return True


def _names(selector: str | Iterable[str]) -> tuple[str, ...]:
    if isinstance(selector, str):
        return (selector,) if selector else ()
    return tuple(selector)
