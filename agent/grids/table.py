"""The one table of grid providers. A new provider is a file and a line here; config, check and docs read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from agent.errors import Unavailable
from agent.grids import fixed, yearly
from agent.grids.zones import resolve
from agent.ports import GridProvider
from agent.settings import GridSettings


@dataclass(frozen=True, slots=True)
class ProviderKind:
    """How to build a provider, and what people must know of it. build answers None if the settings lack what it
    needs."""

    name: str
    build: Callable[[GridSettings], GridProvider | None]
    needs: str  # which settings it takes
    about: str
    licence: str


def _fixed(settings: GridSettings) -> GridProvider | None:
    return None if settings.fixed_g_per_kwh is None else fixed.FixedProvider(settings.fixed_g_per_kwh)


def _table(settings: GridSettings) -> GridProvider | None:
    """None as well for a zone without a figure, so that the next provider gets its turn."""
    if settings.zone is None:
        return None
    try:
        yearly.figure_for(resolve(settings.zone))
    except Unavailable:
        return None
    return yearly.YearlyTable()


PROVIDERS: Mapping[str, ProviderKind] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            ProviderKind(
                fixed.NAME,
                _fixed,
                "grid.fixed_g_per_kwh",
                "the factor that you write down, at every moment",
                "yours",
            ),
            ProviderKind(
                yearly.NAME,
                _table,
                "grid.zone",
                "yearly averages of 213 countries (Ember), US states (eGRID), Canadian provinces and cloud regions",
                "CC BY 4.0: Ember (2026), Energy Institute, Our World in Data; Apache-2.0: Google; "
                "public domain: EPA; MIT: CodeCarbon",
            ),
        )
    }
)


def choose(settings: GridSettings) -> GridProvider | None:
    """The first provider of the list that has what it needs; "auto" is the order of the table.

    None: nothing is configured, so there are no grams at all.
    """
    for name in settings.providers or tuple(PROVIDERS):
        if (provider := PROVIDERS[name].build(settings)) is not None:
            return provider
    return None
