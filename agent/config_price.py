"""[site.price]: which of its keys each source takes, and which may stand together."""

from __future__ import annotations

import re

from agent import config_model as model
from agent import config_types as types
from agent.config_faults import did_you_mean
from agent.config_rules import Checked, Report, check, duration_s, url_fault
from agent.prices.table import DAY_AHEAD, FIXED, PROVIDERS, PriceKind
from agent.settings import PriceSettings

_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)
# Beyond these a kWh is nowhere; who writes such a price means a MWh, or cents.
_HIGHEST_PER_KWH = {"EUR": 5.0, "USD": 5.0, "GBP": 5.0, "CHF": 5.0, "DKK": 40.0}
_FIXED_TAKES = ("provider", "per_kwh", "currency", "zone")


def price(raw: object, report: Report) -> PriceSettings | None:
    """The settings of [site.price]; None: no source of prices is named."""
    table = check(model.Price, raw, "site.price", report)
    value = table.value
    if not table.good("provider"):
        return None
    if not value.provider:
        if _written(value):
            report.add(table.at("provider"), "is missing", "one of " + ", ".join(PROVIDERS))
        return None
    if value.provider not in PROVIDERS:
        report.add(table.at("provider"), "names no source of prices", did_you_mean(value.provider, PROVIDERS))
        return None
    written = _written(value)
    kind = DAY_AHEAD.get(value.provider)
    return _fixed(table, written, report) if kind is None else _day_ahead(table, kind, written, report)


def _fixed(table: Checked[model.Price], written: frozenset[str], report: Report) -> PriceSettings:
    value = table.value
    for key in sorted(written.difference(_FIXED_TAKES)):
        report.add(table.at(key), "would do nothing", "per_kwh is all that a fixed kWh costs")
    if value.per_kwh is None and table.good("per_kwh"):
        report.add(table.at("per_kwh"), "is missing, but provider is fixed", "write per_kwh = 0.25, or another")
    currency = value.currency.upper()
    if table.good("currency") and not _CURRENCY.fullmatch(currency):
        fault = "is no currency" if currency else "is missing"
        report.add(table.at("currency"), fault, 'write its three letters, currency = "EUR"')
    _plausible(table, "per_kwh", value.per_kwh, currency, report)
    return PriceSettings(FIXED, currency, value.per_kwh, value.zone[: types.MAX_NAME])


def _day_ahead(table: Checked[model.Price], kind: PriceKind, written: frozenset[str], report: Report) -> PriceSettings:
    value = table.value
    if "per_kwh" in written:
        report.add(table.at("per_kwh"), f"would do nothing: {kind.name} tells it", "add_per_kwh is what you pay on top")
    zone = {known.upper(): known for known in kind.zones}.get(value.zone.upper(), "")
    if table.good("zone") and not zone:
        fault = f"is no price zone of {kind.name}" if value.zone else f"is missing, but {kind.name} needs it"
        report.add(table.at("zone"), fault, _near(value.zone, kind))
    currency = value.currency.upper() or kind.currencies[0]
    if table.good("currency") and currency not in kind.currencies:
        report.add(table.at("currency"), f"is not what {kind.name} tells", "one of " + ", ".join(kind.currencies))
    if value.base_url and (wrong := url_fault(value.base_url)) is not None:
        report.add(table.at("base_url"), *wrong)
    if not 0 < duration_s(value.timeout) <= 60:
        report.add(table.at("timeout"), "must be more than 0 and at most 60s")
    _plausible(table, "add_per_kwh", value.add_per_kwh, currency, report)
    return PriceSettings(
        kind.name,
        currency,
        zone=zone,
        add_per_kwh=value.add_per_kwh,
        vat=value.vat,
        base_url=value.base_url,
        timeout_s=duration_s(value.timeout),
    )


def _written(value: model.Price) -> frozenset[str]:
    """The keys that say something: those with another value than their default."""
    return frozenset(key for key, info in model.Price.model_fields.items() if getattr(value, key) != info.default)


def _near(zone: str, kind: PriceKind) -> str:
    """The zones that begin alike, such as DE-LU for DE; all of them where none does."""
    alike = [known for known in kind.zones if zone and known.startswith(zone.upper()[:2])]
    return "one of " + ", ".join(alike or kind.zones)


def _plausible(table: Checked[model.Price], key: str, per_kwh: float | None, currency: str, report: Report) -> None:
    highest = _HIGHEST_PER_KWH.get(currency)
    if per_kwh is not None and highest is not None and abs(per_kwh) > highest:
        said = f"{per_kwh:g} {currency} is no price of a kWh"
        report.add(table.at(key), said, "per kWh, not per MWh, and not in cents")
