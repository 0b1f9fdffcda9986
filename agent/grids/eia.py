"""The United States, from EIA's Hourly Electric Grid Monitor (form EIA-930): a balancing authority's generation mix.

Nothing here is live: yesterday's generation is whole by 11:00 Eastern time. It is a source to settle with: its values
are actual, of hours that are over, and say so by when they were valid. They are net generation x the direct factors of
U.S. plants, as in agent/grids/mix.py; imports are not counted. Direct, because eGRID's yearly figures of the states and
CAISO's live ones are.

A period is named by its END, in UTC: "2022-10-31T12" is 11:00 to 12:00. An hour in which one of the fuels is null or
has no row is left out: what is missing is not 0. Storage is no generation. Needs a free key, sent in the query, as EIA
wants it. Limits: 5,000 rows an answer, about 9,000 requests an hour.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from agent.errors import Unavailable
from agent.grids.http import Asking, Http
from agent.grids.mix import US_DIRECT, US_DIRECT_SOURCE, of_kinds_g_per_kwh
from agent.grids.payload import Why, bad, entry, g_per_kwh, number, read_json, shown
from agent.grids.region import claim, region_of
from agent.grids.series import in_order, naive_utc_s, objects, same, utc_text
from agent.model import GridIntensity, Instant
from agent.settings import ProviderSettings

NAME = "eia"
LICENCE = "public domain: U.S. Energy Information Administration, form EIA-930; needs a free key"
EVERY_S = 3600.0
BASE_URL = "https://api.eia.gov"
PATH = "/v2/electricity/rto/fuel-type-data/data/"

_HOUR_S = 3600.0
_HISTORY_S = 72 * 3600.0  # a day late, and weekends are later
_MAX_ROWS = 5000

# The authority that serves most of a state, or EIA's region where several share it. A data centre in another
# authority's territory (Los Angeles: LDWP) sets grid.eia.region.
_AUTHORITIES: Mapping[str, Sequence[str]] = {
    "US48": ["US"],
    "CISO": ["US-CA"],
    "ERCO": ["US-TX"],
    "NYIS": ["US-NY"],
    "ISNE": ["US-CT", "US-MA", "US-ME", "US-NH", "US-RI", "US-VT"],
    "PJM": ["US-DC", "US-DE", "US-MD", "US-NJ", "US-OH", "US-PA", "US-VA", "US-WV"],
    "MISO": ["US-AR", "US-IA", "US-LA", "US-MI", "US-MN", "US-WI"],
    "SWPP": ["US-KS", "US-NE", "US-OK"],
    "SOCO": ["US-AL", "US-GA"],
    "CAR": ["US-NC", "US-SC"],
    "FLA": ["US-FL"],
    "TVA": ["US-TN"],
    "NW": ["US-ID", "US-OR", "US-WA", "US-WY"],
    "PACE": ["US-UT"],
    "PSCO": ["US-CO"],
    "NEVP": ["US-NV"],
    "SW": ["US-AZ"],
}
REGIONS: Mapping[str, str] = MappingProxyType(
    {state: authority for authority, states in _AUTHORITIES.items() for state in states}
)

# EIA-930's codes of energy sources. OTH, UNK and whatever comes new have no factor.
_FUELS: Mapping[str, str] = MappingProxyType(
    {
        "COL": "coal",
        "NG": "gas",
        "OIL": "oil",
        "NUC": "nuclear",
        "WAT": "hydro",
        "GEO": "geothermal",
        "SUN": "solar",
        "SNB": "solar",  # with batteries beside it
        "WND": "wind",
        "WNB": "wind",
    }
)
_STORAGE = frozenset(("BAT", "PS", "UES", "OES"))


def covers(zone: str) -> str | None:
    """The balancing authority, or EIA's region, of a zone; None outside the lower 48 states."""
    return region_of(zone, REGIONS)


def parse_fuel_mix(body: bytes, zone: str, authority: str, now_s: float) -> tuple[GridIntensity, ...]:
    """The hours whose mix is whole, oldest first. Raises ReadFailed for every fault of the answer."""
    data = read_json(body, NAME)
    if isinstance(data, dict) and "error" in data:
        raise bad(NAME, "error", "stands where the data should be", Why.ERROR_BODY)
    response = entry(data, "response", NAME)
    same(entry(response, "frequency", NAME), "hourly", NAME, "frequency", Why.OTHER_QUANTITY)
    if _count(entry(response, "total", NAME)) > _MAX_ROWS:
        raise bad(NAME, "total", f"is above {_MAX_ROWS}: the answer is cut off", Why.TOO_LARGE)
    hours: defaultdict[float, dict[str, float | None]] = defaultdict(dict)
    for i, row in enumerate(objects(response, "data", NAME)):
        field = f"data[{i}]"
        same(row.get("respondent"), authority, NAME, f"{field}.respondent")
        same(row.get("value-units"), "megawatthours", NAME, f"{field}.value-units", Why.OTHER_QUANTITY)
        end_s = naive_utc_s(row.get("period"), NAME, f"{field}.period")
        code = row.get("fueltype")
        if not isinstance(code, str) or not code:
            raise bad(NAME, f"{field}.fueltype", f"is {shown(code)}, not a text")
        if code in hours[end_s]:
            raise bad(NAME, f"{field}.period", f"comes twice for {shown(code)}", Why.REPEATED_TIME)
        value = _number(entry(row, "value", NAME), f"{field}.value")
        if code not in _STORAGE:
            hours[end_s][code] = value
    return _intensities(hours, zone, authority, now_s)


def _intensities(
    hours: Mapping[float, Mapping[str, float | None]], zone: str, authority: str, now_s: float
) -> tuple[GridIntensity, ...]:
    reported = {code for mix in hours.values() for code in mix}
    found = []
    for end_s, mix in hours.items():
        known = {code: mwh for code, mwh in mix.items() if mwh is not None}
        if known.keys() != reported:
            continue
        intensity = of_kinds_g_per_kwh(known, _FUELS, US_DIRECT)
        if intensity is None:
            continue
        found.append(
            GridIntensity(
                zone=zone,
                g_per_kwh=g_per_kwh(intensity, NAME, "the mix"),
                provider=NAME,
                basis="direct",
                kind="actual",
                valid_from_s=end_s - _HOUR_S,
                valid_to_s=end_s,
                fetched_at_s=now_s,
                source=f"EIA-930 net generation of {authority}, public domain; {US_DIRECT_SOURCE}",
            )
        )
    if not found:
        raise bad(NAME, "data", "holds no hour that is whole and of fuels with a factor", Why.EMPTY)
    return in_order(found, NAME, "data", now_s)


def _number(value: Any, field: str) -> float | None:
    """Numbers come as numbers or, since 2024, as texts; null is what was not reported."""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError as error:
            raise bad(NAME, field, f"is {shown(value)}, not a number", Why.NOT_A_NUMBER) from error
    return number(value, NAME, field)


def _count(value: Any) -> float:
    found = _number(value, "total")
    return 0.0 if found is None else found


class EiaProvider:
    """The last three days, as far as they are there."""

    name = NAME

    def __init__(self, settings: ProviderSettings, http: Http) -> None:
        self._settings = settings
        self._server = Asking(NAME, http, settings.base_url or BASE_URL, settings.timeout_s)

    def fetch(self, zone: str, now: Instant) -> Sequence[GridIntensity]:
        """The hours that are there: none of them covers now. Raises Unavailable without a key."""
        code, authority = claim(NAME, zone, self._settings.region or covers(zone))
        if self._settings.token is None:
            raise Unavailable("eia needs a key", "register at eia.gov/opendata and set grid.eia.token_env")
        body = self._server.body(
            PATH,
            {
                "api_key": self._settings.token.value,
                "frequency": "hourly",
                "data[]": "value",
                "facets[respondent][]": authority,
                "start": utc_text(now.wall_s - _HISTORY_S, "%Y-%m-%dT%H"),
                "sort[0][column]": "period",
                "sort[0][direction]": "desc",
                "length": str(_MAX_ROWS),
            },
        )
        return parse_fuel_mix(body, code, authority, now.wall_s)
