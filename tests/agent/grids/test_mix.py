"""A carbon intensity out of a generation mix."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.grids.mix import LIFECYCLE, MIN_COVERED, US_DIRECT, intensity_g_per_kwh

mixes = st.dictionaries(st.sampled_from(sorted(LIFECYCLE)), st.floats(1.0, 1e5), min_size=1)


@given(mixes)
def test_a_mix_lies_between_its_cleanest_and_its_dirtiest_fuel(mix: dict[str, float]) -> None:
    found = intensity_g_per_kwh(mix, LIFECYCLE)
    assert found is not None
    factors = [LIFECYCLE[fuel] for fuel in mix]
    assert min(factors) * (1 - 1e-9) <= found <= max(factors) * (1 + 1e-9)


@given(mixes, st.floats(0.001, 1000.0))
def test_only_the_proportions_matter(mix: dict[str, float], scale: float) -> None:
    scaled = {fuel: mw * scale for fuel, mw in mix.items()}
    assert intensity_g_per_kwh(scaled, LIFECYCLE) == pytest.approx(intensity_g_per_kwh(mix, LIFECYCLE))


def test_a_mix_that_is_mostly_unknown_has_no_intensity() -> None:
    known, unknown = 1000 * MIN_COVERED, 1000 * (1 - MIN_COVERED)
    assert intensity_g_per_kwh({"gas": known + 1, "other": unknown - 1}, LIFECYCLE) == pytest.approx(490.0)
    assert intensity_g_per_kwh({"gas": known - 1, "other": unknown + 1}, LIFECYCLE) is None


@pytest.mark.parametrize("mix", [{}, {"gas": 0.0}, {"gas": -5.0}, {"other": 5.0}])
def test_nothing_generated_has_no_intensity(mix: dict[str, float]) -> None:
    assert intensity_g_per_kwh(mix, LIFECYCLE) is None


def test_the_factors_are_those_of_their_sources() -> None:
    """Medians of IPCC AR5 WG III, table A.III.2, and EIA's pounds of CO2 per kWh of 2023."""
    published = {"coal": 820, "gas": 490, "biomass": 230, "solar": 48, "geothermal": 38, "hydro": 24, "nuclear": 12}
    assert {fuel: LIFECYCLE[fuel] for fuel in published} == published
    assert (LIFECYCLE["wind_onshore"], LIFECYCLE["wind_offshore"], LIFECYCLE["ocean"]) == (11, 12, 17)
    assert (LIFECYCLE["lignite"], LIFECYCLE["oil"]) == (1054, 733), "World Nuclear Association, 2011"
    assert [round(US_DIRECT[fuel]) for fuel in ("coal", "gas", "oil")] == [1048, 435, 1116]


def test_factors_are_per_kwh_of_electricity_and_not_of_fuel() -> None:
    """Lignite at 409, coal at 340 and gas at 200 g would be those of the heat, taken for the electricity's."""
    assert LIFECYCLE["lignite"] > LIFECYCLE["coal"] > LIFECYCLE["gas"] > 400
    assert US_DIRECT["coal"] > 900 > US_DIRECT["gas"] > 400
