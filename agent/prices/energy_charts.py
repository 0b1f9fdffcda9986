"""Day-ahead prices of Europe's price zones, from Energy-Charts (Fraunhofer ISE), without a key.

The answer is two lists of one length, beginnings in Unix seconds and EUR/MWh, and the unit, which is checked: it has
been "No Unit" for a time. A null is a time that has no price (yet); the list may have holes. Steps are a quarter of an
hour or an hour, by zone.

Limit: 2 requests a minute from one address, for everybody behind it; this asks once an hour.
"""

from __future__ import annotations

from agent.grids.http import Asking, Http
from agent.grids.payload import Why, bad, each_once, entry, read_json, rows, shown, unix_s
from agent.grids.series import utc_text
from agent.model import EnergyPrice, Instant
from agent.prices.market import billed, body_of, in_order, per_kwh, step_s
from agent.settings import PriceSettings

NAME = "energy_charts"
LICENCE = (
    "CC BY 4.0 (Bundesnetzagentur, SMARD.de) for AT, BE, CH, CZ, DE-LU, DK1, DK2, FR, HU, IT-North, NL, NO2, PL, SE4, "
    "SI; other zones for private and internal use only"
)
BASE_URL = "https://api.energy-charts.info"
CURRENCIES = ("EUR",)
OPEN_ZONES = ("AT", "BE", "CH", "CZ", "DE-LU", "DK1", "DK2", "FR", "HU", "IT-North", "NL", "NO2", "PL", "SE4", "SI")
_OTHERS = (
    "BG EE ES FI GR HR IT-Calabria IT-Centre-North IT-Centre-South IT-SACOAC IT-SACODC IT-Sardinia IT-Sicily IT-South "
    "LT LV ME NO1 NO3 NO4 NO5 PT RO RS SE1 SE2 SE3 SK"
)
ZONES = (*OPEN_ZONES, *_OTHERS.split())

_UNIT = "EUR/MWh"
_HISTORY_S = 24 * 3600.0
_AHEAD_S = 48 * 3600.0


def parse(body: bytes, zone: str, now_s: float) -> tuple[EnergyPrice, ...]:
    """The market's prices, oldest first. Raises ReadFailed for every fault of the answer."""
    data = read_json(body, NAME)
    times_s = [unix_s(at, NAME, "unix_seconds") for at in rows(entry(data, "unix_seconds", NAME), NAME, "unix_seconds")]
    each_once(times_s, NAME, "unix_seconds")
    unit = entry(data, "unit", NAME)
    if not isinstance(unit, str) or unit.replace(" ", "") != _UNIT:
        raise bad(NAME, "unit", f"is {shown(unit)}, not {_UNIT}", Why.OTHER_QUANTITY)
    values = entry(data, "price", NAME)
    if not isinstance(values, list) or len(values) != len(times_s):
        raise bad(NAME, "price", "is not as long as unix_seconds")
    length_s = step_s(times_s, NAME, "unix_seconds")
    source = f"Energy-Charts price {zone}, Fraunhofer ISE; " + (
        "CC BY 4.0 (SMARD.de)" if zone in OPEN_ZONES else "private and internal use only"
    )
    entries = [
        EnergyPrice(
            zone,
            per_kwh(value, "EUR", NAME, f"price[{i}]"),
            "EUR",
            NAME,
            "day_ahead",
            start_s,
            start_s + length_s,
            now_s,
            source,
        )
        for i, (start_s, value) in enumerate(zip(times_s, values, strict=True))
        if value is not None
    ]
    return in_order(entries, NAME, "price", now_s)


class EnergyChartsPrices:
    """Yesterday's prices and all that are known of today and tomorrow in each answer."""

    name = NAME

    def __init__(self, settings: PriceSettings, http: Http) -> None:
        self._settings = settings
        self._server = Asking(NAME, http, settings.base_url or BASE_URL, settings.timeout_s)

    def fetch(self, now: Instant) -> tuple[EnergyPrice, ...]:
        s = self._settings
        answer = self._server.get(
            "/price",
            {
                "bzn": s.zone,
                "start": utc_text(now.wall_s - _HISTORY_S),
                "end": utc_text(now.wall_s + _AHEAD_S),
            },
        )
        return billed(parse(body_of(answer, NAME), s.zone, now.wall_s), s)
