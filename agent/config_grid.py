"""[grid] and the tables of its providers, [grid.NAME]: which may stand together, and what each provider takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent import config_model as model
from agent.config_faults import did_you_mean
from agent.config_rules import Checked, Report, check, duration_s, secret, url_fault
from agent.errors import Unavailable
from agent.grids.locate import ZONE, nearby
from agent.grids.table import AUTO, LIVE, PROVIDERS, LiveKind, live, marginal
from agent.grids.yearly import figure_for
from agent.grids.zones import MAX_ZONE_CHARS, UnknownZone, resolve
from agent.model import Located
from agent.settings import METADATA_ADDRESS, GridSettings, ProviderSettings

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
METADATA = "JOULECAR_METADATA"  # "off", or another address to ask in place of the clouds'


def grid(raw: object, env: Mapping[str, str], report: Report) -> GridSettings:
    """The settings of [grid] and of the providers' tables below it."""
    own = {k: v for k, v in raw.items() if k not in LIVE} if isinstance(raw, dict) else raw
    below = {k: v for k, v in raw.items() if k in LIVE} if isinstance(raw, dict) else {}
    table = check(model.Grid, own, "grid", report)
    value = table.value
    written = (table.at("zone"), value.zone)
    if value.zone in ("", "auto"):
        written = (ZONE, env.get(ZONE, "").strip())
    where, zone = written
    names: tuple[str, ...] = () if value.providers == "auto" else tuple(value.providers)
    for name in names:
        if name not in KNOWN:
            near = did_you_mean(name, KNOWN)
            report.add(table.at("providers"), "names a provider that this version does not have", near)
    _factor(table, names, report)
    known = tuple(name for name in names if name in KNOWN)
    located = Located(zone, "env" if where == ZONE else "config", where)
    if not zone:
        located = nearby(env, Path(value.pod_labels) if value.pod_labels else None)
    settings = GridSettings(
        located.zone or None,
        known,
        value.fixed_g_per_kwh,
        _tables(below, known, table, env, report),
        found=located.found,
        found_detail=located.detail,
        metadata_url=_metadata_url(value, env, report),
        geoip_url=_geoip_url(table, report),
    )
    if zone:
        _zone(where, settings, names, report)
    _live(settings, table, where if zone else "", report)
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


def _metadata_url(value: model.Grid, env: Mapping[str, str], report: Report) -> str:
    """Where the clouds' metadata is asked for; "": nowhere."""
    told = env.get(METADATA, "").strip()
    if value.metadata == "off" or told.lower() == "off":
        return ""
    if told and url_fault(told) is not None:
        report.add(METADATA, "is neither off nor an address", "unset it")
    return told or METADATA_ADDRESS


def _geoip_url(table: Checked[model.Grid], report: Report) -> str:
    value = table.value
    if not table.good("geoip", "geoip_url"):
        return ""
    if value.geoip and not value.geoip_url:
        report.add(table.at("geoip_url"), "is missing, but geoip is on", "name who shall be asked, or drop geoip")
    elif value.geoip_url and not value.geoip:
        report.add(table.at("geoip_url"), "would do nothing: geoip is off", "write geoip = true, or drop it")
    elif value.geoip_url and (wrong := url_fault(value.geoip_url)) is not None:
        report.add(table.at("geoip_url"), *wrong)
    return value.geoip_url if value.geoip else ""


def _zone(where: str, settings: GridSettings, names: tuple[str, ...], report: Report) -> None:
    """Is the zone that somebody wrote down one that can be used?"""
    zone = settings.zone or ""
    uses_fixed = "fixed" in names if names else settings.fixed_g_per_kwh is not None
    uses_table = not names or "table" in names or any(name not in KNOWN for name in names)
    if uses_table and not uses_fixed:
        _must_have_figure(where, zone, report, or_live=not names and live(settings) is not None)
    elif len(zone) > MAX_ZONE_CHARS:
        report.add(where, f"is longer than {MAX_ZONE_CHARS} characters")


def _must_have_figure(path: str, zone: str, report: Report, *, or_live: bool) -> None:
    try:
        found = resolve(zone)
        if not or_live:
            figure_for(found)
    except UnknownZone as unknown:
        report.add(path, str(unknown), unknown.fix)
    except Unavailable as missing:
        report.add(path, missing.reason, missing.fix)


def _tables(
    below: Mapping[str, Any],
    names: tuple[str, ...],
    grid_table: Checked[model.Grid],
    env: Mapping[str, str],
    report: Report,
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
        if name not in names and grid_table.good("providers"):
            _unnamed(LIVE[name], grid_table, report)
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


def _unnamed(kind: LiveKind, table: Checked[model.Grid], report: Report) -> None:
    """A provider's table that providers does not ask for: of use with "auto" alone."""
    if table.value.providers != "auto":
        report.add(
            f"grid.{kind.name}", "would do nothing: grid.providers does not name it", f'add "{kind.name}" to the list'
        )
    elif kind.name in AUTO and table.value.fixed_g_per_kwh is not None:
        report.add(
            f"grid.{kind.name}",
            "would do nothing: with fixed_g_per_kwh, auto asks nobody",
            f'drop the factor, or write providers = ["{kind.name}", "fixed"]',
        )


def _live(settings: GridSettings, table: Checked[model.Grid], where: str, report: Report) -> None:
    """Can the providers be asked at all? where: who wrote the zone down; "" if nobody did."""
    asked = [kind for kind in (live(settings), marginal(settings)) if kind is not None]
    for kind in asked if settings.providers else map(LIVE.__getitem__, settings.tables):
        own = settings.tables.get(kind.name, ProviderSettings())
        for what in kind.asks:
            if not getattr(own, what) and table.good("providers"):
                keys = " or ".join(_KEYS[what])
                report.add(f"grid.{kind.name}", f"lacks {keys}", f"{kind.name} cannot be asked without")
    for kind in asked:
        own = settings.tables.get(kind.name, ProviderSettings())
        if where and not own.region and kind.covers(settings.zone or "") is None:
            report.add(where, f"{settings.zone!r} is not covered by {kind.name}", kind.about)
    asks = [kind.name for kind in asked] + ["the table"] * ("table" in settings.providers)
    if settings.zone is None and not settings.metadata_url and not settings.geoip_url and table.good("zone") and asks:
        report.add(table.at("zone"), f"is missing, but providers asks for {asks[0]}", 'write zone = "FR", or another')
