"""Day-ahead prices of Germany and Austria, from aWATTar, by the hour and without a key.

Each row has its beginning and its end in milliseconds since 1970 and its unit, "Eur/MWh". aWATTar asks for no more
than 100 requests a day from one address; this asks 24 times.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from agent.grids.http import Asking, Http
from agent.grids.payload import Why, bad, entry, number, read_json, shown, unix_s
from agent.grids.series import objects
from agent.model import EnergyPrice, Instant
from agent.prices.market import billed, body_of, in_order, per_kwh
from agent.settings import PriceSettings

NAME = "awattar"
LICENCE = "aWATTar's free data feed, prices of EPEX Spot: no licence stated, not to be published again"
BASE_URLS: Mapping[str, str] = MappingProxyType(
    {"DE-LU": "https://api.awattar.de", "AT": "https://api.awattar.at"}  # one server for each zone
)
ZONES = tuple(BASE_URLS)
CURRENCIES = ("EUR",)

_HOUR_S = 3600.0
_HISTORY_S = 24 * _HOUR_S
_AHEAD_S = 48 * _HOUR_S
_MS_PER_S = 1000.0


def parse(body: bytes, zone: str, now_s: float) -> tuple[EnergyPrice, ...]:
    """The market's prices, oldest first. Raises ReadFailed for every fault of the answer."""
    found = []
    for i, row in enumerate(objects(read_json(body, NAME), "data", NAME)):
        field = f"data[{i}]"
        unit = entry(row, "unit", NAME)
        if not isinstance(unit, str) or unit.casefold() != "eur/mwh":
            raise bad(NAME, f"{field}.unit", f"is {shown(unit)}, not Eur/MWh", Why.OTHER_QUANTITY)
        found.append(
            EnergyPrice(
                zone=zone,
                per_kwh=per_kwh(row.get("marketprice"), "EUR", NAME, f"{field}.marketprice"),
                currency="EUR",
                provider=NAME,
                valid_from_s=_ms(row.get("start_timestamp"), f"{field}.start_timestamp"),
                valid_to_s=_ms(row.get("end_timestamp"), f"{field}.end_timestamp"),
                fetched_at_s=now_s,
                source=f"aWATTar market data {zone}",
            )
        )
    return in_order(found, NAME, "data", now_s)


def _ms(value: object, field: str) -> float:
    """Milliseconds since 1970 as seconds. Raises ReadFailed for seconds taken for milliseconds, among others."""
    found_ms = number(value, NAME, field)
    if abs(found_ms) < 1e11:
        raise bad(NAME, field, f"is {found_ms:g}, not milliseconds since 1970", Why.NOT_UTC)
    return unix_s(found_ms / _MS_PER_S, NAME, field)


class AwattarPrices:
    """Yesterday's prices and all that are known of today and tomorrow in each answer."""

    name = NAME

    def __init__(self, settings: PriceSettings, http: Http) -> None:
        self._settings = settings
        self._server = Asking(NAME, http, settings.base_url or BASE_URLS[settings.zone], settings.timeout_s)

    def fetch(self, now: Instant) -> tuple[EnergyPrice, ...]:
        s = self._settings
        hour_s = now.wall_s // _HOUR_S * _HOUR_S
        answer = self._server.get(
            "/v1/marketdata",
            {
                "start": f"{(hour_s - _HISTORY_S) * _MS_PER_S:.0f}",
                "end": f"{(hour_s + _AHEAD_S) * _MS_PER_S:.0f}",
            },
        )
        return billed(parse(body_of(answer, NAME), s.zone, now.wall_s), s)
