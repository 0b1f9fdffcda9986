"""Denmark, from Energinet's Energi Data Service: every five minutes, and the prognosis of the hours to come.

CO2Emis is the CO2 of the electricity consumed in a price area, in g/kWh: emissions of combustion (heat of cogeneration
taken out by the 125% method), exchange with the neighbours counted. CO2EmisProg is the same looking ahead 9 hours and
more. A row's time is the start of its five minutes, in UTC without an offset; the Danish time beside it is there to
check that. Limits: 40 requests in 10 s, then a ban of 5 minutes; this asks twice in 5 minutes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from agent.errors import JoulecarError
from agent.grids.http import Asking, Http
from agent.grids.payload import Why, bad, g_per_kwh, read_json
from agent.grids.region import claim, region_of
from agent.grids.series import in_order, naive_utc_s, objects, same, utc_text
from agent.model import GridIntensity, Instant
from agent.settings import ProviderSettings

NAME = "energinet"
LICENCE = "CC BY 4.0, commercial use included: Energinet, Energi Data Service"
EVERY_S = 300.0
BASE_URL = "https://api.energidataservice.dk"

# Denmark as a whole has two intensities, so "DK" alone is not ours; the one Azure region stands in Copenhagen.
REGIONS: Mapping[str, str] = MappingProxyType({"DK-DK1": "DK1", "DK-DK2": "DK2", "azure:denmarkeast": "DK2"})

ACTUAL, PROGNOSIS = "CO2Emis", "CO2EmisProg"
_STEP_S = 300.0
_HISTORY_S = 26 * 3600.0  # yesterday's same hour, and a little
_MAX_ROWS = 1000  # two days and a half


def covers(zone: str) -> str | None:
    """The price area of a zone; None if it is not one of Denmark's."""
    return region_of(zone, REGIONS)


def parse_records(body: bytes, zone: str, area: str, dataset: str, now_s: float) -> tuple[GridIntensity, ...]:
    """The records of one of the two datasets, oldest first. Raises ReadFailed for every fault of the answer."""
    found = []
    for i, row in enumerate(objects(read_json(body, NAME), "records", NAME)):
        field = f"{dataset}.records[{i}]"
        same(row.get("PriceArea"), area, NAME, f"{field}.PriceArea")
        start_s = naive_utc_s(row.get("Minutes5UTC"), NAME, f"{field}.Minutes5UTC")
        if row.get("Minutes5DK") is not None:
            ahead_s = naive_utc_s(row["Minutes5DK"], NAME, f"{field}.Minutes5DK") - start_s
            if ahead_s not in (3600.0, 7200.0):
                raise bad(
                    NAME, f"{field}.Minutes5UTC", f"is {ahead_s / 3600:+g} h from Danish time: not UTC", Why.NOT_UTC
                )
        found.append(
            GridIntensity(
                zone=zone,
                g_per_kwh=g_per_kwh(row.get("CO2Emission"), NAME, f"{field}.CO2Emission"),
                provider=NAME,
                basis="direct",
                kind="actual" if dataset == ACTUAL else "forecast",
                valid_from_s=start_s,
                valid_to_s=start_s + _STEP_S,
                fetched_at_s=now_s,
                source=f"{dataset} {area}, Energinet; CC BY 4.0",
            )
        )
    return in_order(found, NAME, f"{dataset}.records", now_s)


class EnerginetProvider:
    """A day of values and the prognosis in each answer. faults says what the last answer lacks."""

    name = NAME

    def __init__(self, settings: ProviderSettings, http: Http) -> None:
        self._settings = settings
        self._server = Asking(NAME, http, settings.base_url or BASE_URL, settings.timeout_s)
        self.faults: tuple[JoulecarError, ...] = ()  # what the last answer lacks

    def fetch(self, zone: str, now: Instant) -> Sequence[GridIntensity]:
        """Values first, then the prognosis. The values stand alone if the prognosis fails: they are what is booked."""
        code, area = claim(NAME, zone, self._settings.region or covers(zone))
        actual = self._ask(code, area, ACTUAL, now.wall_s - _HISTORY_S, now)
        self.faults = ()
        try:
            # From the last value on: a prognosis of a time that has a value says nothing new.
            return *actual, *self._ask(code, area, PROGNOSIS, actual[-1].valid_to_s, now)
        except JoulecarError as error:
            self.faults = (error,)
            return actual

    def _ask(self, zone: str, area: str, dataset: str, start_s: float, now: Instant) -> tuple[GridIntensity, ...]:
        body = self._server.body(
            f"/dataset/{dataset}",
            {
                "start": utc_text(start_s, "%Y-%m-%dT%H:%M"),
                "timezone": "UTC",  # without it, start is Danish time
                "filter": json.dumps({"PriceArea": [area]}, separators=(",", ":")),
                "sort": "Minutes5UTC desc",
                "limit": str(_MAX_ROWS),
            },
        )
        return parse_records(body, zone, area, dataset, now.wall_s)
