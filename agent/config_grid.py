"""[grid] and the tables of its providers, [grid.NAME]: which may stand together, and what each provider takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent import config_model as model
from agent.config_faults import did_you_mean
from agent.config_rules import Checked, Report, check, duration_s, secret, url_fault
from agent.errors import Unavailable
from agent.grids.table import LIVE, PROVIDERS, LiveKind, choose, live
from agent.grids.yearly import figure_for
from agent.grids.zones import MAX_ZONE_CHARS, UnknownZone, resolve
from agent.settings import GridSettings, ProviderSettings

KNOWN = (*PROVIDERS, *LIVE)
_KEYS = {  # what a provider may take -> the keys of its table that give it
    "base_url": ("base_url",),
    "region": ("region",),
    "token": ("token_env", "token_file"),
    "user": ("user",),
    "password": ("password_env", "password_file"),
    "path": ("path",),
}
_ALWAYS = ("base_url", "timeout")


def grid(raw: object, env: Mapping[str, str], report: Report) -> GridSettings:
    """The settings of [grid] and of the providers' tables below it."""
    own = {k: v for k, v in raw.items() if k not in LIVE} if isinstance(raw, dict) else raw
    below = {k: v for k, v in raw.items() if k in LIVE} if isinstance(raw, dict) else {}
    table = check(model.Grid, own, "grid", report)
    value = table.value
    zone = None if value.zone in ("", "auto") else value.zone
    names: tuple[str, ...] = () if value.providers == "auto" else tuple(value.providers)
    for name in names:
        if name not in KNOWN:
            near = did_you_mean(name, KNOWN)
            report.add(table.at("providers"), "names a provider that this version does not have", near)
    _factor(table, names, report)
    _zone(table, zone, names, report)
    known = tuple(name for name in names if name in KNOWN)
    settings = GridSettings(zone, known, value.fixed_g_per_kwh, _tables(below, known, env, report))
    if (kind := live(settings)) is not None:
        _live(kind, settings, table, report)
    return settings


def _factor(table: Checked[model.Grid], names: tuple[str, ...], report: Report) -> None:
    fixed = table.value.fixed_g_per_kwh
    if fixed is not None and 0 < fixed < 1:
        report.add(
            table.at("fixed_g_per_kwh"), f"{fixed:g} g/kWh is no grid's", f"in grams, not kilograms: {fixed * 1000:g}?"
        )
    if not table.good("fixed_g_per_kwh", "providers"):
        return
    if "fixed" in names and fixed is None:
        report.add(table.at("fixed_g_per_kwh"), "is missing, but providers asks for fixed", "write it in gCO2e per kWh")
    if fixed is not None and names and "fixed" not in names:
        report.add(
            table.at("fixed_g_per_kwh"),
            "would do nothing: providers leaves fixed out",
            'add "fixed", or drop the factor',
        )


def _zone(table: Checked[model.Grid], zone: str | None, names: tuple[str, ...], report: Report) -> None:
    uses_fixed = "fixed" in names if names else table.value.fixed_g_per_kwh is not None
    uses_table = not names or "table" in names or any(name not in KNOWN for name in names)
    if zone is None and "table" in names and table.good("zone"):
        report.add(table.at("zone"), "is missing, but providers asks for the table", 'write zone = "FR", or another')
    if zone is not None and uses_table and not uses_fixed:
        _must_have_figure(table.at("zone"), zone, report)
    elif zone is not None and len(zone) > MAX_ZONE_CHARS:
        report.add(table.at("zone"), f"is longer than {MAX_ZONE_CHARS} characters")


def _must_have_figure(path: str, zone: str, report: Report) -> None:
    try:
        figure_for(resolve(zone))
    except UnknownZone as unknown:
        report.add(path, str(unknown), unknown.fix)
    except Unavailable as missing:
        report.add(path, missing.reason, missing.fix)


def _tables(
    below: Mapping[str, Any], names: tuple[str, ...], env: Mapping[str, str], report: Report
) -> dict[str, ProviderSettings]:
    found = {}
    for name, raw in below.items():
        table = check(model.Provider, raw, f"grid.{name}", report)
        value = table.value
        taken = keys_of(LIVE[name])
        for key in raw if isinstance(raw, dict) else ():
            if key in model.Provider.model_fields and key not in taken:
                report.add(table.at(key), "would do nothing", f"{name} takes {', '.join(sorted(taken))}")
        if value.base_url and (wrong := url_fault(value.base_url)) is not None:
            report.add(table.at("base_url"), *wrong)
        if name not in names:
            report.add(f"grid.{name}", "would do nothing: grid.providers does not name it", f'add "{name}" to the list')
        token = ("token_env", "token_file")
        password = ("password_env", "password_file")
        found[name] = ProviderSettings(
            base_url=value.base_url,
            timeout_s=duration_s(value.timeout),
            token=secret(table, value.token_env, value.token_file, token, env, report),
            user=value.user,
            password=secret(table, value.password_env, value.password_file, password, env, report),
            region=value.region,
            path=Path(value.path) if value.path else None,
        )
    return found


def keys_of(kind: LiveKind) -> frozenset[str]:
    """The keys of a provider's table."""
    return frozenset({*_ALWAYS, *(key for what in kind.takes for key in _KEYS[what])})


def _live(kind: LiveKind, settings: GridSettings, table: Checked[model.Grid], report: Report) -> None:
    """Can this provider be asked at all?"""
    own = settings.tables.get(kind.name, ProviderSettings())
    for what in kind.asks:
        if not getattr(own, what) and table.good("providers"):
            keys = " or ".join(_KEYS[what])
            report.add(f"grid.{kind.name}", f"lacks {keys}", f"{kind.name} cannot be asked without")
    if kind.signal == "marginal" and choose(settings) is not None:
        report.add(
            table.at("providers"),
            f"mixes {kind.name}, which is marginal, with averages",
            f'write providers = ["{kind.name}"] alone, or leave it out',
        )
    if settings.zone is None:
        report.add(table.at("zone"), f"is missing, but providers asks for {kind.name}", 'write zone = "FR", or another')
    elif not own.region and kind.covers(settings.zone) is None:
        report.add(table.at("zone"), f"{settings.zone!r} is not covered by {kind.name}", kind.about)
