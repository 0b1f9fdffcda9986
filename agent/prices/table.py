"""The one table of price sources. A new source is a file and a line here; config, check and docs read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from agent.grids.http import Http
from agent.model import EnergyPrice
from agent.prices import awattar, energinet, energy_charts
from agent.prices.feed import PriceProvider
from agent.settings import PriceSettings

FIXED = "fixed"


@dataclass(frozen=True, slots=True)
class PriceKind:
    """A source of day-ahead prices. It is asked only if site.price.provider names it."""

    name: str
    build: Callable[[PriceSettings, Http], PriceProvider]
    zones: tuple[str, ...]
    currencies: tuple[str, ...]  # the first is the default
    about: str
    licence: str


DAY_AHEAD: Mapping[str, PriceKind] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            PriceKind(
                energinet.NAME,
                energinet.EnerginetPrices,
                energinet.ZONES,
                energinet.CURRENCIES,
                "Denmark and its neighbours, in EUR or DKK",
                energinet.LICENCE,
            ),
            PriceKind(
                energy_charts.NAME,
                energy_charts.EnergyChartsPrices,
                energy_charts.ZONES,
                energy_charts.CURRENCIES,
                "most of Europe, in EUR",
                energy_charts.LICENCE,
            ),
            PriceKind(
                awattar.NAME,
                awattar.AwattarPrices,
                awattar.ZONES,
                awattar.CURRENCIES,
                "Germany and Austria by the hour, in EUR",
                awattar.LICENCE,
            ),
        )
    }
)
PROVIDERS = (FIXED, *DAY_AHEAD)


def day_ahead(settings: PriceSettings | None) -> PriceKind | None:
    """The configured source of day-ahead prices; None: no price, or a fixed one, so that nothing outside is asked."""
    return None if settings is None else DAY_AHEAD.get(settings.provider)


def constant(settings: PriceSettings | None) -> EnergyPrice | None:
    """The price that the operator wrote down; None: none is."""
    if settings is None or settings.per_kwh is None or settings.provider != FIXED:
        return None
    source = "the configuration, site.price.per_kwh"
    return EnergyPrice(settings.zone, settings.per_kwh, settings.currency, FIXED, FIXED, source=source)
