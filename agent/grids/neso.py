"""Great Britain, from NESO's Carbon Intensity API: every half hour, nationally or in one of 17 regions.

Factors are direct: wind, sun, water and nuclear count 0, biomass 120 g/kWh; imports and losses of the transmission are
in it. So a figure of 0 is possible, and not comparable with a lifecycle figure. "actual" is null until a half hour is
over, and null is not 0: the forecast stands there instead, and says so. Regions have a forecast alone, never an actual.
Northern Ireland is another grid. The limit is not published; this asks twice in half an hour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from agent.errors import JoulecarError, Unavailable
from agent.grids.http import Asking, Http
from agent.grids.payload import Why, bad, entry, g_per_kwh, read_json, rows, shown, utc_s
from agent.grids.region import claim, region_of
from agent.grids.series import in_order, objects, utc_text
from agent.model import GridIntensity, Instant
from agent.settings import ProviderSettings

NAME = "neso"
LICENCE = "CC BY 4.0: National Energy System Operator, Carbon Intensity API; its terms forbid to sell access to it"
EVERY_S = 1800.0
BASE_URL = "https://api.carbonintensity.org.uk"

NATIONAL = "national"
REGIONS: Mapping[str, str] = MappingProxyType({"GB": NATIONAL})
_REGION_IDS = frozenset(str(i) for i in range(1, 18))  # 13 is London; 15 to 17 are England, Scotland and Wales

_SLOT_S = 1800.0


def covers(zone: str) -> str | None:
    """ "national" for Great Britain; None elsewhere. A region's number is set as grid.neso.region."""
    return region_of(zone, REGIONS)


def parse_national(body: bytes, zone: str, now_s: float) -> tuple[GridIntensity, ...]:
    """Half hours, oldest first: the actual value where there is one, else the forecast. Raises ReadFailed for every
    fault of the answer."""
    return _parse(objects(_data_of(body), "data", NAME), zone, NATIONAL, now_s)


def parse_regional(body: bytes, zone: str, region: str, now_s: float) -> tuple[GridIntensity, ...]:
    """Half hours of one region, oldest first, forecasts all. Raises ReadFailed for every fault of the answer, the
    figures of another region included."""
    outer = entry(_data_of(body), "data", NAME)
    if isinstance(outer, list):  # some paths wrap the region in a list of one
        outer = rows(outer, NAME, "data")
        if len(outer) > 1:
            raise bad(NAME, "data", f"has {len(outer)} regions", Why.OTHER_ZONE)
        outer = outer[0]
    said = entry(outer, "regionid", NAME)
    if str(said) != region:
        raise bad(NAME, "regionid", f"is {shown(said)}, not {region}", Why.OTHER_ZONE)
    return _parse(objects(outer, "data", NAME), zone, region, now_s)


def _data_of(body: bytes) -> Any:
    data = read_json(body, NAME)
    if isinstance(data, dict) and "error" in data:
        raise bad(NAME, "answer", "is an error in spite of its status", Why.ERROR_BODY)
    return data


def _parse(slots: Sequence[Mapping[str, Any]], zone: str, region: str, now_s: float) -> tuple[GridIntensity, ...]:
    found: list[GridIntensity] = []
    for i, slot in enumerate(slots):
        start_s = utc_s(entry(slot, "from", NAME), NAME, f"data[{i}].from")
        end_s = utc_s(entry(slot, "to", NAME), NAME, f"data[{i}].to")
        if end_s - start_s != _SLOT_S:
            raise bad(
                NAME, f"data[{i}].to", f"is {end_s - start_s:g} s after from, not half an hour", Why.OTHER_QUANTITY
            )
        intensity = entry(slot, "intensity", NAME)
        forecast = entry(intensity, "forecast", NAME)
        kind, value = "forecast", forecast
        if region == NATIONAL and (actual := entry(intensity, "actual", NAME)) is not None:
            kind, value = "actual", actual
        if value is None:
            continue
        found.append(
            GridIntensity(
                zone=zone,
                g_per_kwh=g_per_kwh(value, NAME, f"data[{i}].intensity.{kind}"),
                provider=NAME,
                basis="direct",
                kind=kind,
                valid_from_s=start_s,
                valid_to_s=end_s,
                fetched_at_s=now_s,
                source=f"Carbon Intensity API {region}, NESO; CC BY 4.0",
            )
        )
    return in_order(found, NAME, "data", now_s)


class NesoProvider:
    """The last day and two days ahead. faults says what the last answer lacks."""

    name = NAME

    def __init__(self, settings: ProviderSettings, http: Http) -> None:
        self._settings = settings
        self._server = Asking(NAME, http, settings.base_url or BASE_URL, settings.timeout_s)
        self.faults: tuple[JoulecarError, ...] = ()  # what the last answer lacks

    def fetch(self, zone: str, now: Instant) -> Sequence[GridIntensity]:
        """The half hours to come come first, as they hold now; the day behind may be missing."""
        code, region = claim(NAME, zone, self._settings.region or covers(zone))
        since = utc_text(now.wall_s - now.wall_s % _SLOT_S)
        if region != NATIONAL:
            if region not in _REGION_IDS:
                raise Unavailable(f"{NAME}: region {region[:20]!r} is none of its own", "write 1 to 17, or national")
            body = self._server.body(f"/regional/intensity/{since}/fw48h/regionid/{region}")
            self.faults = ()
            return parse_regional(body, code, region, now.wall_s)
        ahead = parse_national(self._server.body(f"/intensity/{since}/fw48h"), code, now.wall_s)
        self.faults = ()
        try:
            behind = parse_national(self._server.body(f"/intensity/{since}/pt24h"), code, now.wall_s)
        except JoulecarError as error:
            self.faults = (error,)
            return ahead
        # Both may have the half hour in which they meet: the one with an actual value knows more.
        by_start = {slot.valid_from_s: slot for slot in behind}
        for slot in ahead:
            if slot.kind == "actual" or slot.valid_from_s not in by_start:
                by_start[slot.valid_from_s] = slot
        return in_order(by_start.values(), NAME, "data", now.wall_s)
