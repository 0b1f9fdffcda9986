"""A carbon intensity out of a generation mix: the sum of power x factor over the sum of power.

    I [g/kWh] = sum(P_fuel [MW] * factor_fuel [g/kWh]) / sum(P_fuel [MW])     over the fuels that have a factor

Storage is no fuel: what it gives back was generated before, so it is left out of both sums, which prices it as the
mix of the moment. A fuel without a factor ("other") is left out of both as well, but only as long as the fuels with
one make up MIN_COVERED of the generation: above that the answer would be a guess, and there is none. A negative
figure is what a plant draws for itself while it stands still: consumption, not generation. Imports are not counted.

The factors are averages of a kind of plant, so the result is as good as they are: real plants are 10 to 20% off.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from types import MappingProxyType

LB_PER_KWH_IN_G = 453.59237
MIN_COVERED = 0.85

# Lifecycle, gCO2e/kWh: medians of IPCC AR5 WG III (2014), Annex III, table A.III.2, ocean's 17 included. It has no oil
# and no lignite: those two are means over more than twenty studies, World Nuclear Association (2011), Comparison of
# Lifecycle Greenhouse Gas Emissions of Various Electricity Generation Sources. Of oil others say 650 (POST 2006, which
# Electricity Maps takes) to 840 (IPCC SRREN 2011, table A.II.4); little of any mix that it is used for is oil. Solar is
# the utility's 48; roofs are 41. UNECE (2022) is lower for nuclear (5) and sun (11 to 37), and higher for coal (1,000).
LIFECYCLE_SOURCE = "factors: IPCC AR5 WG III Annex III, medians; oil and lignite: WNA 2011"
LIFECYCLE: Mapping[str, float] = MappingProxyType(
    {
        "coal": 820.0,
        "lignite": 1054.0,
        "gas": 490.0,
        "oil": 733.0,
        "biomass": 230.0,
        "nuclear": 12.0,
        "hydro": 24.0,
        "geothermal": 38.0,
        "solar": 48.0,
        "wind_onshore": 11.0,
        "wind_offshore": 12.0,
        "ocean": 17.0,
    }
)

# Direct, gCO2/kWh, of the United States' plants of 2023: EIA, "How much carbon dioxide is produced per kilowatthour
# of U.S. electricity generation?", which counts biomass, water, sun and wind as 0.
US_DIRECT_SOURCE = "factors: EIA, U.S. plants of 2023"
US_DIRECT: Mapping[str, float] = MappingProxyType(
    {
        "coal": 2.31 * LB_PER_KWH_IN_G,
        "gas": 0.96 * LB_PER_KWH_IN_G,
        "oil": 2.46 * LB_PER_KWH_IN_G,
        "nuclear": 0.0,
        "hydro": 0.0,
        "geothermal": 0.0,
        "solar": 0.0,
        "wind": 0.0,
    }
)


def of_kinds_g_per_kwh(
    by_kind: Mapping[str, float], fuels: Mapping[str, str], factors: Mapping[str, float]
) -> float | None:
    """The intensity of a mix by a platform's own kinds of plant. fuels: kind -> fuel; another kind is a fuel without a
    factor. None: as below."""
    by_fuel: defaultdict[str, float] = defaultdict(float)
    for kind, amount in by_kind.items():
        by_fuel[fuels.get(kind, kind)] += amount
    return intensity_g_per_kwh(by_fuel, factors)


def intensity_g_per_kwh(mix_mw: Mapping[str, float], factors: Mapping[str, float]) -> float | None:
    """The mix's intensity. None: nothing was generated, or too much of it by fuels without a factor.

    mix_mw: fuel -> power or energy, in one unit; storage left out already.
    """
    generated = {fuel: max(0.0, mw) for fuel, mw in mix_mw.items()}
    total = math.fsum(generated.values())
    covered = math.fsum(mw for fuel, mw in generated.items() if fuel in factors)
    if covered <= 0.0 or covered < MIN_COVERED * total:
        return None
    return math.fsum(mw * factors[fuel] for fuel, mw in generated.items() if fuel in factors) / covered
