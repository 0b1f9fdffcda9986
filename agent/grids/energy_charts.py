"""Most of Europe, from Energy-Charts (Fraunhofer ISE): measured about two hours late, and a forecast from there on.

The answer is three lists of one length: times, measured values, forecast values. Where both have a value the measured
one holds; where neither has one nothing is known, which is how most answers end. The two series do not meet: a step of
17% has been seen at the seam, so every value says which one it is from.

Values count CO2 equivalents of the sources over their life. The API states no factors, but its figures leave no other
reading: Switzerland, which burns hardly anything, is never below 9 g/kWh in what was recorded. Which countries it has
is written in no answer either: one that it lacks is refused with 400, and that is final.

Limit: 2 requests a minute from one address, for everybody behind it. Many agents behind one address: let one of them
ask, and the others ask that one (provider "joulecar").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType

from agent.errors import Unavailable
from agent.grids.http import Asking, Http, body_of
from agent.grids.payload import Why, bad, each_once, entry, g_per_kwh, read_json, rows, unix_s
from agent.grids.region import claim, region_of
from agent.grids.series import in_order
from agent.model import GridIntensity, Instant
from agent.settings import ProviderSettings

NAME = "energy_charts"
LICENCE = (
    "CC BY 4.0 as the API says, but the publishing notes that it links to forbid commercial use: "
    "ask Fraunhofer ISE before you rely on it"
)
EVERY_S = 900.0
BASE_URL = "https://api.energy-charts.info"

_LONGEST_STEP_S = 3600.0

# Its own codes are ISO's in lower case, but for the United Kingdom.
_COUNTRIES = (
    "AT BE BG CH CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV ME MK NL NO PL PT RO RS SE SI SK AL BA GE MD UA XK"
)
REGIONS: Mapping[str, str] = MappingProxyType({code: code.lower() for code in _COUNTRIES.split()} | {"GB": "uk"})


def covers(zone: str) -> str | None:
    """The country's code; None outside Europe."""
    return region_of(zone, REGIONS)


def parse_co2eq(body: bytes, zone: str, country: str, now_s: float) -> tuple[GridIntensity, ...]:
    """Every time that has a value, oldest first. Raises ReadFailed for every fault of the answer."""
    data = read_json(body, NAME)
    times_s = [unix_s(at, NAME, "unix_seconds") for at in rows(entry(data, "unix_seconds", NAME), NAME, "unix_seconds")]
    each_once(times_s, NAME, "unix_seconds")
    series = {kind: entry(data, field, NAME) for kind, field in _FIELDS.items()}
    for kind, values in series.items():
        if not isinstance(values, list) or len(values) != len(times_s):
            raise bad(NAME, _FIELDS[kind], "is not as long as unix_seconds")
    step_s = _step_s(times_s)
    found: list[GridIntensity] = []
    for i, start_s in enumerate(times_s):
        known = [(kind, values[i]) for kind, values in series.items() if values[i] is not None]
        if not known:
            continue
        kind, value = known[0]
        found.append(
            GridIntensity(
                zone=zone,
                g_per_kwh=g_per_kwh(value, NAME, f"{_FIELDS[kind]}[{i}]"),
                provider=NAME,
                kind=kind,
                valid_from_s=start_s,
                valid_to_s=start_s + step_s,
                fetched_at_s=now_s,
                source=f"Energy-Charts co2eq {country}, Fraunhofer ISE; CC BY 4.0, commercial use unclear",
            )
        )
    return in_order(found, NAME, "co2eq and co2eq_forecast", now_s)


# The measured series first: it holds where both have a value.
_FIELDS: Mapping[str, str] = MappingProxyType({"actual": "co2eq", "forecast": "co2eq_forecast"})


def _step_s(times_s: Sequence[float]) -> float:
    """The length of an entry: a quarter of an hour or an hour, by country. A time left out makes none longer."""
    if len(times_s) < 2:
        raise bad(NAME, "unix_seconds", "has one time alone, so that its length is not known")
    step_s = min(later - earlier for earlier, later in pairwise(sorted(times_s)))
    if step_s > _LONGEST_STEP_S:
        raise bad(NAME, "unix_seconds", f"has steps of {step_s:g} s, not an hour or less", Why.OTHER_QUANTITY)
    return step_s


class EnergyChartsProvider:
    """A day or two of values and forecasts in each answer."""

    name = NAME

    def __init__(self, settings: ProviderSettings, http: Http) -> None:
        self._settings = settings
        self._server = Asking(NAME, http, settings.base_url or BASE_URL, settings.timeout_s)

    def fetch(self, zone: str, now: Instant) -> Sequence[GridIntensity]:
        code, country = claim(NAME, zone, self._settings.region or covers(zone))
        answer = self._server.get("/co2eq", {"country": country})
        if answer.status == 400 and b"not the code for an available country" in answer.body:
            raise Unavailable(f"{NAME}: country {country!r} is not known there", f"check grid.{NAME}.region")
        return parse_co2eq(body_of(answer, NAME), code, country, now.wall_s)
