"""The one table of grid providers. A new provider is a file and a line here; config, check and docs read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from agent.errors import Unavailable
from agent.grids import (
    caiso,
    eia,
    electricity_maps,
    energinet,
    energy_charts,
    entsoe,
    file,
    fixed,
    joulecar,
    neso,
    rte,
    watttime,
    yearly,
)
from agent.grids.http import Http
from agent.grids.zones import resolve
from agent.ports import GridProvider
from agent.settings import GridSettings, ProviderSettings


@dataclass(frozen=True, slots=True)
class ProviderKind:
    """How to build a provider of constants, and what people must know of it. build answers None if the settings
    lack what it needs."""

    name: str
    build: Callable[[GridSettings], GridProvider | None]
    needs: str  # which settings it takes
    about: str
    licence: str


@dataclass(frozen=True, slots=True)
class LiveKind:
    """A provider that is asked over and over: by its name in grid.providers, or by "auto"."""

    name: str
    build: Callable[[ProviderSettings, Http], GridProvider]
    covers: Callable[[str], str | None]  # our zone -> the provider's name of it
    every_s: float
    takes: tuple[str, ...]  # keys of [grid.NAME] beside base_url and timeout
    asks: tuple[str, ...]  # those of them that must be set
    about: str
    licence: str
    signal: str = "average"

    @property
    def needs(self) -> str:
        return "grid.zone" + "".join(f", grid.{self.name}.{key}" for key in self.asks)


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


LIVE: Mapping[str, LiveKind] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            LiveKind(
                electricity_maps.NAME,
                electricity_maps.ElectricityMapsProvider,
                electricity_maps.covers,
                electricity_maps.EVERY_S,
                ("region", "token"),
                ("token",),
                "the world, by key: estimates, history and forecast; consumption-based, lifecycle",
                electricity_maps.LICENCE,
            ),
            LiveKind(
                energy_charts.NAME,
                energy_charts.EnergyChartsProvider,
                energy_charts.covers,
                energy_charts.EVERY_S,
                ("region",),
                (),
                "most of Europe, every 15 minutes, with a forecast",
                energy_charts.LICENCE,
            ),
            LiveKind(
                neso.NAME,
                neso.NesoProvider,
                neso.covers,
                neso.EVERY_S,
                ("region",),
                (),
                "Great Britain and its 17 regions, every 30 minutes, with a forecast; direct",
                neso.LICENCE,
            ),
            LiveKind(
                watttime.NAME,
                watttime.WattTimeProvider,
                watttime.covers,
                watttime.EVERY_S,
                ("region", "user", "password"),
                ("user", "password"),
                "marginal emissions, by account: what one more kWh causes, which is no footprint",
                watttime.LICENCE,
                signal="marginal",
            ),
            LiveKind(
                energinet.NAME,
                energinet.EnerginetProvider,
                energinet.covers,
                energinet.EVERY_S,
                ("region",),
                (),
                "Denmark (DK-DK1, DK-DK2), every 5 minutes, with a forecast",
                energinet.LICENCE,
            ),
            LiveKind(
                rte.NAME,
                rte.RteProvider,
                rte.covers,
                rte.EVERY_S,
                ("region",),
                (),
                "France, every 15 minutes; production only, direct",
                rte.LICENCE,
            ),
            LiveKind(
                caiso.NAME,
                caiso.CaisoProvider,
                caiso.covers,
                caiso.EVERY_S,
                ("region",),
                (),
                "California, every 5 minutes; direct",
                caiso.LICENCE,
            ),
            LiveKind(
                entsoe.NAME,
                entsoe.EntsoeProvider,
                entsoe.covers,
                entsoe.EVERY_S,
                ("region", "token"),
                ("token",),
                "Europe: the generation mix times factors per fuel",
                entsoe.LICENCE,
            ),
            LiveKind(
                eia.NAME,
                eia.EiaProvider,
                eia.covers,
                eia.EVERY_S,
                ("region", "token"),
                ("token",),
                "the United States, a day late: the fuel mix times factors per fuel",
                eia.LICENCE,
            ),
            LiveKind(
                file.NAME,
                lambda settings, _: file.FileProvider(settings),
                file.covers,
                file.EVERY_S,
                ("path",),
                ("path",),
                "a CSV or JSON that an operator drops in",
                file.LICENCE,
            ),
            LiveKind(
                joulecar.NAME,
                joulecar.JoulecarProvider,
                joulecar.covers,
                joulecar.EVERY_S,
                ("base_url", "token", "user", "password"),
                ("base_url",),
                "another agent, so that a cluster asks a public source once",
                joulecar.LICENCE,
            ),
        )
    }
)


def choose(settings: GridSettings) -> GridProvider | None:
    """The first provider of constants in the list that has what it needs; "auto" is the order of the table.

    None: nothing of the kind is configured.
    """
    for name in settings.providers or tuple(PROVIDERS):
        kind = PROVIDERS.get(name)
        if kind is not None and (provider := kind.build(settings)) is not None:
            return provider
    return None


# What "auto" asks, the first that is configured and covers the zone: what the operator set up himself, then live
# sources by key, then free ones, each country's own before the one of all Europe (two requests a minute and address),
# and last what is a day late. What is marginal is no footprint and not among them: marginal() has it.
AUTO = (
    joulecar.NAME,
    file.NAME,
    electricity_maps.NAME,
    entsoe.NAME,
    neso.NAME,
    energinet.NAME,
    caiso.NAME,
    rte.NAME,
    energy_charts.NAME,
    eia.NAME,
)


MARGINAL = "marginal"


def live(settings: GridSettings) -> LiveKind | None:
    """The live provider that prices the footprint: the first in the list, or of AUTO, that tells averages. None:
    nobody is asked.

    "auto" asks nobody without a zone, and nobody if a fixed factor is written down.
    """
    if settings.providers:
        named = (LIVE[name] for name in settings.providers if name in LIVE)
        return next((kind for kind in named if kind.signal != MARGINAL), None)
    if settings.zone is None or settings.fixed_g_per_kwh is not None:
        return None
    return next((LIVE[name] for name in AUTO if _can_tell(LIVE[name], settings.zone, settings)), None)


def marginal(settings: GridSettings) -> LiveKind | None:
    """The provider of the marginal account, beside the footprint: the first in the list, or with "auto" the first
    that is configured."""
    names = settings.providers or tuple(settings.tables)
    return next((LIVE[name] for name in names if name in LIVE and LIVE[name].signal == MARGINAL), None)


def _can_tell(kind: LiveKind, zone: str, settings: GridSettings) -> bool:
    own = settings.tables.get(kind.name, ProviderSettings())
    covered = bool(own.region) or kind.covers(zone) is not None
    return covered and all(getattr(own, what) for what in kind.asks)
