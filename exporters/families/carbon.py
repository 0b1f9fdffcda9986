"""Grams, and where the intensity comes from."""

from __future__ import annotations

from collections.abc import Iterator

from agent.model import Snapshot
from exporters.families.by_model import by_model, over_uses
from exporters.family import ENGINE_MODEL, Family, Row, Theme


def emissions(s: Snapshot) -> Iterator[Row]:
    for scope, amounts in (("operational", s.ledger.facility_gco2e), ("embodied", s.ledger.embodied_gco2e)):
        for (engine, model), gco2e in over_uses(amounts).items():
            yield (engine, model, scope), gco2e


def settlement(s: Snapshot) -> Iterator[Row]:
    yield from s.settlement_gco2e.items()


def unpriced(s: Snapshot) -> Iterator[Row]:
    yield (), s.ledger.unpriced_j


def marginal_intensity(s: Snapshot) -> Iterator[Row]:
    if s.marginal is not None:
        yield (s.marginal.zone,), s.marginal.g_per_kwh


def grid_loss(s: Snapshot) -> Iterator[Row]:
    yield (), s.grid_loss


def market_factor(s: Snapshot) -> Iterator[Row]:
    yield (), s.market_g_per_kwh


def zone_info(s: Snapshot) -> Iterator[Row]:
    if s.located is not None:
        yield (s.located.zone, s.located.found), 1.0


def grid_intensity(s: Snapshot) -> Iterator[Row]:
    if s.grid is not None:
        yield (s.grid.zone,), s.grid.g_per_kwh


def grid_info(s: Snapshot) -> Iterator[Row]:
    for g in (s.grid, s.marginal):
        if g is not None:
            yield (g.zone, g.provider, g.signal, g.basis, g.kind), 1.0


def grid_age(s: Snapshot) -> Iterator[Row]:
    if s.grid is not None and s.grid.fetched_at_s is not None:
        yield (s.grid.zone,), max(0.0, s.at.wall_s - s.grid.fetched_at_s)


def pue(s: Snapshot) -> Iterator[Row]:
    yield (), s.pue


def node_overhead(s: Snapshot) -> Iterator[Row]:
    yield (), s.node_overhead_w


CARBON = Theme(
    "Carbon",
    (
        Family(
            "joulecar_emissions_gco2e_total",
            "counter",
            "gCO2e",
            (*ENGINE_MODEL, "scope"),
            "Grams of CO2 equivalent: energy times the grid's intensity at that time, times PUE, overhead included.",
            emissions,
            "Nobody's joules are priced too (engine and model empty): the sum over all labels is the whole site's. "
            "Absent where no grid intensity is known.",
        ),
        Family(
            "joulecar_emissions_settlement_gco2e",
            "gauge",
            "gCO2e",
            ENGINE_MODEL,
            "What the grid's final figures add to the operational grams that were counted before they came.",
            settlement,
            "A report adds it to `joulecar_emissions_gco2e_total`, which never goes back: below 0 means that less was "
            "emitted than counted. Hours of the last 9 days are settled; the sum is kept for ever.",
        ),
        Family(
            "joulecar_emissions_market_based_gco2e_total",
            "counter",
            "gCO2e",
            ENGINE_MODEL,
            "The market-based account: the same energy at the factor of the contract or the residual mix.",
            by_model("market_gco2e"),
            "Beside the location-based account, never a part of it. Absent unless `site.market_g_per_kwh` is set.",
        ),
        Family(
            "joulecar_emissions_marginal_gco2e_total",
            "counter",
            "gCO2e",
            ENGINE_MODEL,
            "The same energy at the marginal intensity: what one kWh more or less causes, which is no footprint.",
            by_model("marginal_gco2e"),
            "Absent unless a source of marginal intensities is named.",
        ),
        Family(
            "joulecar_energy_unpriced_joules_total",
            "counter",
            "joules",
            (),
            "Energy, node overhead included, of times for which no grid intensity was known: it is in no grams.",
            unpriced,
            "Without a zone that is all of it.",
        ),
        Family(
            "joulecar_grid_intensity_gco2e_per_kwh",
            "gauge",
            "gCO2e per kWh",
            ("zone",),
            "Carbon intensity in force now.",
            grid_intensity,
        ),
        Family(
            "joulecar_grid_intensity_info",
            "gauge",
            "always 1",
            ("zone", "provider", "signal", "basis", "kind"),
            "Where the carbon intensity in force comes from and what kind of value it is.",
            grid_info,
        ),
        Family(
            "joulecar_grid_intensity_age_seconds",
            "gauge",
            "seconds",
            ("zone",),
            "Time since the carbon intensity in force was fetched.",
            grid_age,
            "Absent for constants (fixed, yearly): nothing was fetched.",
        ),
        Family(
            "joulecar_grid_marginal_intensity_gco2e_per_kwh",
            "gauge",
            "gCO2e per kWh",
            ("zone",),
            "Marginal carbon intensity in force now.",
            marginal_intensity,
        ),
        Family(
            "joulecar_grid_zone_info",
            "gauge",
            "always 1",
            ("zone", "found"),
            "The grid's zone and how it was found.",
            zone_info,
            '`found="unknown"`: no zone, so no grams; set `grid.zone`.',
        ),
        Family(
            "joulecar_market_based_intensity_gco2e_per_kwh",
            "gauge",
            "gCO2e per kWh",
            (),
            "The factor of the market-based account.",
            market_factor,
            "A setting.",
        ),
        Family(
            "joulecar_grid_loss_ratio",
            "gauge",
            "ratio",
            (),
            "Energy fed into the grid for each that is delivered: grams are multiplied with it.",
            grid_loss,
            "A setting. It is in no energy counter.",
        ),
        Family(
            "joulecar_pue",
            "gauge",
            "ratio",
            (),
            "Power usage effectiveness that grams and the facility boundary are multiplied with.",
            pue,
            "A setting. It is in no energy counter.",
        ),
        Family(
            "joulecar_node_overhead_watts",
            "gauge",
            "watts",
            (),
            "Power of fans, supplies and whatever no counter sees, as configured.",
            node_overhead,
            "A setting. It is in the facility boundary and in the grams, and in no energy counter.",
        ),
    ),
)
