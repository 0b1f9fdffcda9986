"""Denmark's day-ahead prices and its neighbours', from Energinet's Energi Data Service, in quarters of an hour.

DayAheadPrices has a row for each 15 minutes since 1 October 2025 (Elspotprices, by the hour, ended then), in EUR and
DKK per MWh. A row's time is the start, in UTC without an offset; the Danish time beside it and the two currencies are
there to check that: the krone is fixed to the euro. Limits: 40 requests in 10 s; this asks once an hour.
"""

from __future__ import annotations

import json

from agent.grids.http import Asking, Http
from agent.grids.payload import Why, bad, number, read_json
from agent.grids.series import naive_utc_s, objects, same, utc_text
from agent.model import EnergyPrice, Instant
from agent.prices.market import DKK_PER_EUR, billed, body_of, in_order, per_kwh, step_s
from agent.settings import PriceSettings

NAME = "energinet"
LICENCE = "CC BY 4.0, commercial use included: Energinet, Energi Data Service"
BASE_URL = "https://api.energidataservice.dk"
ZONES = ("DK1", "DK2", "DE", "NO2", "SE3", "SE4")
CURRENCIES = ("EUR", "DKK")
DATASET = "DayAheadPrices"

_HISTORY_S = 24 * 3600.0
_MAX_ROWS = 1000  # ten days
_RATES = (DKK_PER_EUR * 0.97, DKK_PER_EUR * 1.03)
_RATE_FROM_EUR = 1.0  # below it rounding to cents tells no rate


def parse(body: bytes, zone: str, currency: str, now_s: float) -> tuple[EnergyPrice, ...]:
    """The market's prices, oldest first. Raises ReadFailed for every fault of the answer."""
    found: list[tuple[float, float]] = []
    for i, row in enumerate(objects(read_json(body, NAME), "records", NAME)):
        field = f"{DATASET}.records[{i}]"
        same(row.get("PriceArea"), zone, NAME, f"{field}.PriceArea")
        start_s = naive_utc_s(row.get("TimeUTC"), NAME, f"{field}.TimeUTC")
        if row.get("TimeDK") is not None:
            ahead_s = naive_utc_s(row["TimeDK"], NAME, f"{field}.TimeDK") - start_s
            if ahead_s not in (3600.0, 7200.0):
                off = f"is {ahead_s / 3600:+g} h from Danish time: not UTC"
                raise bad(NAME, f"{field}.TimeUTC", off, Why.NOT_UTC)
        _same_price(row.get("DayAheadPriceEUR"), row.get("DayAheadPriceDKK"), field)
        key = f"DayAheadPrice{currency}"
        found.append((start_s, per_kwh(row.get(key), currency, NAME, f"{field}.{key}")))
    length_s = step_s({start_s for start_s, _ in found}, NAME, f"{DATASET}.records")
    source = f"{DATASET} {zone}, Energinet; CC BY 4.0"
    entries = [
        EnergyPrice(zone, price, currency, NAME, "day_ahead", start_s, start_s + length_s, now_s, source)
        for start_s, price in found
    ]
    return in_order(entries, NAME, f"{DATASET}.records", now_s)


def _same_price(eur: object, dkk: object, field: str) -> None:
    """The two currencies tell one price: they do not where one of them has another unit or another meaning."""
    if eur is None or dkk is None:
        return  # the one that is asked for is checked where it is read
    eur_per_mwh, dkk_per_mwh = (
        number(eur, NAME, f"{field}.DayAheadPriceEUR"),
        number(dkk, NAME, f"{field}.DayAheadPriceDKK"),
    )
    if abs(eur_per_mwh) < _RATE_FROM_EUR:
        return
    rate = dkk_per_mwh / eur_per_mwh
    if not _RATES[0] <= rate <= _RATES[1]:
        off = f"is {rate:.3g} times the price in EUR, not {DKK_PER_EUR:.2f}"
        raise bad(NAME, f"{field}.DayAheadPriceDKK", off, Why.OTHER_QUANTITY)


class EnerginetPrices:
    """Yesterday's prices and all that are known of today and tomorrow in each answer."""

    name = NAME

    def __init__(self, settings: PriceSettings, http: Http) -> None:
        self._settings = settings
        self._server = Asking(NAME, http, settings.base_url or BASE_URL, settings.timeout_s)

    def fetch(self, now: Instant) -> tuple[EnergyPrice, ...]:
        s = self._settings
        answer = self._server.get(
            f"/dataset/{DATASET}",
            {
                "start": utc_text(now.wall_s - _HISTORY_S, "%Y-%m-%dT%H:%M"),
                "timezone": "UTC",  # without it, start is Danish time
                "filter": json.dumps({"PriceArea": [s.zone]}, separators=(",", ":")),
                "sort": "TimeUTC asc",
                "limit": str(_MAX_ROWS),
            },
        )
        return billed(parse(body_of(answer, NAME), s.zone, s.currency, now.wall_s), s)
