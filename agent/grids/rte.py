"""France, from RTE's eCO2mix through ODRE: every quarter of an hour, about 17 minutes late.

taux_co2 is RTE's own estimate of the CO2 of combustion per kWh generated in metropolitan France: direct, production
only, so neither imports nor the making of fuels and plants are in it; not comparable with a lifecycle figure. The
dataset holds rows of nulls for the rest of the day: they say "not yet" and are left out, in the
question and once more here. Limit: 50,000 requests a month from one address; this makes 2,900.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from agent.grids.http import Asking, Http
from agent.grids.payload import g_per_kwh, read_json, utc_s
from agent.grids.region import claim, region_of
from agent.grids.series import in_order, objects
from agent.model import GridIntensity, Instant
from agent.settings import ProviderSettings

NAME = "rte"
LICENCE = "Licence Ouverte 2.0: RTE, eCO2mix through Open Data Réseaux Énergies"
EVERY_S = 900.0
BASE_URL = "https://odre.opendatasoft.com"
DATASET = "eco2mix-national-tr"

REGIONS: Mapping[str, str] = MappingProxyType({"FR": "FR"})

_STEP_S = 900.0
_MAX_ROWS = 100  # the most that one answer of this API holds: 25 hours


def covers(zone: str) -> str | None:
    """The grid of a zone; None if it is not metropolitan France."""
    return region_of(zone, REGIONS)


def parse_records(body: bytes, zone: str, now_s: float) -> tuple[GridIntensity, ...]:
    """The quarters of an hour that have a value, oldest first. Raises ReadFailed for every fault of the answer."""
    found = []
    for i, row in enumerate(objects(read_json(body, NAME), "results", NAME)):
        field = f"results[{i}]"
        if "taux_co2" in row and row["taux_co2"] is None:
            continue  # not yet
        start_s = utc_s(row.get("date_heure"), NAME, f"{field}.date_heure")
        found.append(
            GridIntensity(
                zone=zone,
                g_per_kwh=g_per_kwh(row.get("taux_co2"), NAME, f"{field}.taux_co2"),
                provider=NAME,
                basis="direct",
                kind="actual",
                valid_from_s=start_s,
                valid_to_s=start_s + _STEP_S,
                fetched_at_s=now_s,
                source="eCO2mix, RTE through ODRE; production only; Licence Ouverte 2.0",
            )
        )
    return in_order(found, NAME, "results", now_s)


class RteProvider:
    """The last 25 hours in each answer."""

    name = NAME

    def __init__(self, settings: ProviderSettings, http: Http) -> None:
        self._settings = settings
        self._server = Asking(NAME, http, settings.base_url or BASE_URL, settings.timeout_s)

    def fetch(self, zone: str, now: Instant) -> Sequence[GridIntensity]:
        code, _ = claim(NAME, zone, self._settings.region or covers(zone))
        body = self._server.body(
            f"/api/explore/v2.1/catalog/datasets/{DATASET}/records",
            {
                "select": "taux_co2,date_heure",
                "where": "taux_co2 is not null",
                "order_by": "date_heure desc",
                "limit": str(_MAX_ROWS),
            },
        )
        return parse_records(body, code, now.wall_s)
