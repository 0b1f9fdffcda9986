"""What `joulecar check` says of the grid: one table of the zone, how it was found, and each source that is used."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from agent.app import live_provider
from agent.commands.report import Found
from agent.errors import JoulecarError, ReadFailed, Unavailable
from agent.grids.place import FIX, found_at, located, look, may_look, unknown
from agent.grids.table import PROVIDERS, LiveKind, choose, live, marginal
from agent.model import GridIntensity, Located
from agent.ports import Clock, GridProvider, Lacking
from agent.settings import Settings

PART = "grid"


def grid(settings: Settings, clock: Clock, *, ask: bool) -> Iterator[Found]:
    """ask: look for the zone and ask the live sources once; else say only what would be asked."""
    where = located(settings.grid)
    if may_look(settings.grid):
        if not ask:
            yield Found(PART, "zone", True, "not configured: the cloud that this runs in is asked")
            return
        where = look(settings.grid, clock)
        settings = found_at(settings, where) if where.zone else settings
    average, figure = live(settings.grid), choose(settings.grid)
    for kind in (average, marginal(settings.grid)):
        if kind is not None:
            yield from _live(kind, settings, where, clock, ask=ask)
    if average is None and figure is None:
        yield _nothing(where)
    if figure is not None:
        yield from _constant(figure, settings, where, clock)


def _nothing(where: Located) -> Found:
    if where.zone:
        reason = f"no carbon intensity is known for {where.zone}: joules and tokens, but no grams"
        return Found(PART, "zone", False, reason, "set grid.fixed_g_per_kwh, or grid.zone to a neighbour", fault=True)
    return Found(PART, "zone", False, unknown(where), FIX, fault=True)


def _live(kind: LiveKind, settings: Settings, where: Located, clock: Clock, *, ask: bool) -> Iterator[Found]:
    told: GridIntensity | None = None
    faults: list[Found] = []
    if ask:
        provider = live_provider(settings, kind, clock)
        told, faults = _told(provider, settings, clock)
    row = _row(where, told, clock, f"every {kind.every_s:g} s", f"licence: {kind.licence}")
    yield Found(PART, kind.name, told is not None or not ask, cells=row)
    yield from faults


def _constant(provider: GridProvider, settings: Settings, where: Located, clock: Clock) -> Iterator[Found]:
    told, faults = _told(provider, settings, clock)
    if told is not None:
        text = told.source or PROVIDERS[provider.name].licence
        yield Found(PART, provider.name, True, cells=_row(where, told, clock, "constant", text))
    yield from faults


def _row(
    where: Located, told: GridIntensity | None, clock: Clock, asked: str, licence: str
) -> tuple[tuple[str, str], ...]:
    """A value that is not known is a dash, never 0."""
    return (
        ("zone", where.zone if told is None or not told.zone else told.zone),
        ("found", (where.detail or where.found) if where.zone else "-"),
        ("gCO2e/kWh", "-" if told is None else f"{told.g_per_kwh:g}"),
        ("kind", "-" if told is None else told.kind),
        ("signal, basis", "-" if told is None else f"{told.signal}, {told.basis}"),
        ("age", "-" if told is None else _age(told, clock)),
        ("asked", asked),
        ("licence", licence),
    )


def _age(told: GridIntensity, clock: Clock) -> str:
    """Of the interval's end: what still runs is of now."""
    if told.valid_to_s == math.inf:
        return "-"
    return f"{max(0.0, clock.now().wall_s - told.valid_to_s) / 60:.0f} min"


def _told(provider: GridProvider, settings: Settings, clock: Clock) -> tuple[GridIntensity | None, list[Found]]:
    """What a provider says of now, its last word that is not of a later time; and what is wrong with it."""
    now = clock.now()
    try:
        told = [i for i in provider.fetch(settings.grid.zone or "", now) if i.valid_from_s <= now.wall_s]
    except Unavailable as e:
        return None, [Found(PART, provider.name, False, e.reason, e.fix, fault=True)]
    except ReadFailed as e:
        return None, [Found(PART, provider.name, False, e.reason, fault=True)]
    faults = list(_lacking(provider.name, provider.faults)) if isinstance(provider, Lacking) else []
    if not told:
        return None, [*faults, Found(PART, provider.name, False, "says nothing of now", fault=True)]
    return max(told, key=lambda i: i.valid_from_s), faults


def _lacking(name: str, faults: Sequence[JoulecarError]) -> Iterator[Found]:
    for fault in faults:
        fix = fault.fix if isinstance(fault, Unavailable) else ""
        yield Found(PART, name, False, f"lacks a part: {fault}", fix)
