"""The yearly averages that come with the agent: countries, US states, Canadian provinces, cloud regions.

A yearly average is the last rung: off by 8 to 31% against the hours of the same year, more where the grid changes
fast. Each figure names its dataset and year; it is taken to hold until something better is known, so its validity
is open at both ends. A zone without a figure is Unavailable, never 0 and never the average of the world.

    countries            Ember through Our World in Data; generation in the country, lifecycle, CO2e
    US states            EPA eGRID (STC2ERTA) from CodeCarbon's data files; generation in the state, direct, CO2e
    Canadian provinces   generation mix x factors per source, both CodeCarbon's data files; lifecycle, CO2e
    Google Cloud         Google's own figures of 2024; direct (operational), CO2e
    AWS, Azure           the country, state or province that the region stands in
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

from agent.errors import Unavailable
from agent.grids.zones import Zone, resolve
from agent.model import GridIntensity, Instant

NAME = "table"
LB_PER_MWH_IN_G_PER_KWH = 0.45359237  # 453.59237 g a pound, 1,000 kWh a MWh

# The columns of the provinces' generation mix and the factor of each. Tidal is Annapolis, shut since 2019, and
# "other" is nothing we know, so neither has a factor: what has none is left out of the mix, not counted as 0.
_MIX_FACTORS = {
    "coal": "coal",
    "petroleum": "petroleum",
    "naturalGas": "natural_gas",
    "biomass": "biomass",
    "nuclear": "nuclear",
    "hydro": "hydroelectricity",
    "solar": "solar",
    "wind": "wind",
}
_MIN_COVERED_PERCENT = 95.0


@dataclass(frozen=True, slots=True)
class YearlyFigure:
    """of: the code of the place that the figure is about, which may be wider than the zone asked for."""

    of: str
    g_per_kwh: float
    year: int
    basis: str
    source: str


class YearlyTable:
    """Looks the zone up. Reads the file that the zone needs, once; touches no network."""

    @property
    def name(self) -> str:
        return NAME

    def fetch(self, zone: str, now: Instant) -> Sequence[GridIntensity]:
        """One constant. Raises Unavailable for a zone that is unknown or has no figure."""
        where = resolve(zone)
        figure = figure_for(where)
        return (
            GridIntensity(
                zone=where.code,
                g_per_kwh=figure.g_per_kwh,
                provider=NAME,
                basis=figure.basis,
                kind="yearly",
                source=f"{figure.of} {figure.year}: {figure.source}",
            ),
        )


def figure_for(zone: Zone) -> YearlyFigure:
    """The yearly figure of a zone. Raises Unavailable, naming the zone, if there is none.

    A cloud region has its provider's own figure where the provider publishes one, else that of its place.
    """
    if zone.code.startswith("gcp:") and (own := google_regions().get(zone.code)) is not None:
        return own
    country, _, subdivision = zone.place.partition("-")
    read: Callable[[], Mapping[str, YearlyFigure]] = countries
    if subdivision:
        read = {"US": us_states, "CA": canadian_provinces}[country]
    try:
        figure = read().get(zone.place)
    except (KeyError, TypeError, AttributeError) as error:
        raise Unavailable(
            f"codecarbon's data files are not in the form of 3.3 ({error!r})", "install codecarbon 3.3 again"
        ) from error
    if figure is None:
        raise Unavailable(
            f"no yearly carbon intensity is known for {zone}",
            "set grid.fixed_g_per_kwh, or grid.zone to a neighbour on the same grid",
        )
    return figure


@cache
def countries() -> Mapping[str, YearlyFigure]:
    """Ember's latest year of each country, as Our World in Data gives it."""
    return read_countries(json.loads(_packaged("countries_yearly.json")))


@cache
def google_regions() -> Mapping[str, YearlyFigure]:
    """Google's own figures of 2024. CodeCarbon's copy is of 2023 and misspells me-central1."""
    return read_google_regions(_packaged("gcp_regions_2024.csv"))


@cache
def us_states() -> Mapping[str, YearlyFigure]:
    """The states' total output emission rates."""
    return read_us_states(_codecarbon("private_infra/2023/usa_emissions.json"))


@cache
def canadian_provinces() -> Mapping[str, YearlyFigure]:
    """The generation mix of each province times the factor of each source."""
    return read_canadian_provinces(
        _codecarbon("private_infra/2023/canada_energy_mix.json"),
        _codecarbon("private_infra/carbon_intensity_per_source.json"),
    )


def read_countries(data: Any) -> Mapping[str, YearlyFigure]:
    source = f"{data['attribution']}; {data['license'].partition(' http')[0]}"
    return _frozen(
        YearlyFigure(code, g_per_kwh, year, "lifecycle", source)
        for code, (g_per_kwh, year) in data["countries"].items()
        if _is_figure(g_per_kwh)
    )


def read_google_regions(text: str) -> Mapping[str, YearlyFigure]:
    found = {
        f"gcp:{row['Google Cloud Region']}": float(row["Grid carbon intensity (gCO2eq / kWh)"] or "nan")
        for row in csv.DictReader(text.splitlines())
    }
    source = "Google Cloud region carbon data; Apache-2.0"
    return _frozen(YearlyFigure(code, g, 2024, "direct", source) for code, g in found.items() if _is_figure(g))


def read_us_states(data: Any) -> Mapping[str, YearlyFigure]:
    """From lb/MWh. Raises Unavailable for a file in other units, which must not be read as this one."""
    unit, year = data["_unit"]["emissions"], int(data["_source"]["year"])
    if unit != "lbs/MWh":
        raise Unavailable(f"codecarbon's table of US states is in {unit!r}, not in lbs/MWh", "install codecarbon 3.3")
    source = f"EPA eGRID {data['_source']['field']} through CodeCarbon; public domain"
    return _frozen(
        YearlyFigure(f"US-{row['regionCode']}", row["emissions"] * LB_PER_MWH_IN_G_PER_KWH, year, "direct", source)
        for name, row in data.items()
        if not name.startswith("_") and name != "usa" and _is_figure(row["emissions"])
    )


def read_canadian_provinces(mixes: Any, factors: Any) -> Mapping[str, YearlyFigure]:
    """Percent of generation by source, times g/kWh of each source, over the percent that has a factor.

    CodeCarbon itself counts hydro, nuclear and biomass as 0 here, which gives Québec 3.9 g/kWh; its factors for
    them exist, and the countries' figures count them, so they count here as well. (Its factors of coal, oil and gas
    are of the combustion alone, yet above the median of the lifecycle literature: the sum errs upwards.)
    """
    source = "generation mix x factors per source, both from CodeCarbon; imports not counted; MIT"

    def figures() -> Iterator[YearlyFigure]:
        for name, mix in mixes.items():
            covered = math.fsum(mix[column] for column in _MIX_FACTORS)
            weighed = math.fsum(mix[column] * factors[factor] for column, factor in _MIX_FACTORS.items())
            if covered >= _MIN_COVERED_PERCENT and _is_figure(weighed):
                yield YearlyFigure(resolve(name).code, weighed / covered, 2023, "lifecycle", source)

    return _frozen(figures())


def _is_figure(value: float | None) -> bool:
    """0 is what tables write where they know nothing: no grid on Earth has it over a year."""
    return value is not None and math.isfinite(value) and value > 0


def _frozen(figures: Iterable[YearlyFigure]) -> Mapping[str, YearlyFigure]:
    return MappingProxyType({figure.of: figure for figure in figures})


def _packaged(name: str) -> str:
    return files("agent").joinpath("data/grid", name).read_text("utf-8")


def _codecarbon(name: str) -> Any:
    """A data file of the installed codecarbon. Importing the package would bring pandas and 73 MiB."""
    spec = find_spec("codecarbon")
    if spec is None or not spec.submodule_search_locations:
        raise Unavailable("codecarbon's data files are not installed", "pip install codecarbon")
    path = Path(spec.submodule_search_locations[0], "data", name)
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise Unavailable(f"codecarbon's {name} cannot be read: {error}", "install codecarbon 3.3 again") from error
