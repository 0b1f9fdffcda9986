"""What every answer about prices is checked for, and what makes a bill of a market's price.

A day-ahead price may be below 0. Beyond what the market itself allows it is a fault: a unit that changed, a number
that means something else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import pairwise
from types import MappingProxyType

from agent.errors import Unavailable
from agent.grids import http
from agent.grids.payload import Why, bad, number
from agent.grids.series import utc_text
from agent.model import EnergyPrice
from agent.settings import PriceSettings

KWH_PER_MWH = 1000.0
# The European day-ahead auction clears between -500 and +4,000 EUR/MWh, and raises its upper limit after peaks.
LOWEST_EUR_PER_MWH, HIGHEST_EUR_PER_MWH = -1000.0, 10_000.0
DKK_PER_EUR = 7.46038  # ERM II central rate; the krone keeps within 2.25% of it
PER_EUR: Mapping[str, float] = MappingProxyType({"EUR": 1.0, "DKK": DKK_PER_EUR})
# The auction of a day is held at noon of the day before: what begins later than that has no price yet.
_AHEAD_S = 72 * 3600.0
_LONGEST_S = 3600.0


def body_of(answer: http.Answer, provider: str) -> bytes:
    """The body of a 200. Raises ReadFailed, or Unavailable where asking again is useless."""
    try:
        return http.body_of(answer, provider)
    except Unavailable as error:  # its fix is about [grid]
        raise Unavailable(error.reason, "check zone and base_url in [site.price], or take another provider") from None


def per_kwh(value: object, currency: str, provider: str, field: str) -> float:
    """A market's price per MWh as a price per kWh. Raises ReadFailed for no number and beyond any market's limits."""
    per_mwh = number(value, provider, field)
    factor = PER_EUR[currency]
    if not LOWEST_EUR_PER_MWH * factor <= per_mwh <= HIGHEST_EUR_PER_MWH * factor:
        raise bad(provider, field, f"is {per_mwh:g} {currency}/MWh, which no market allows", Why.OUT_OF_RANGE)
    return per_mwh / KWH_PER_MWH


def in_order(entries: Iterable[EnergyPrice], provider: str, field: str, now_s: float) -> tuple[EnergyPrice, ...]:
    """The entries, oldest first.

    Raises ReadFailed for none at all, for two prices of one time (a repeated hour at the end of summer time makes
    them), for one longer than an hour, and for a day that no auction was held for yet.
    """
    ordered = sorted(entries, key=lambda entry: entry.valid_from_s)
    if not ordered:
        raise bad(provider, field, "holds no price", Why.EMPTY)
    for earlier, later in pairwise(ordered):
        if later.valid_from_s < earlier.valid_to_s:
            twice = f"holds two prices for {utc_text(later.valid_from_s)}: a repeated hour?"
            raise bad(provider, field, twice, Why.REPEATED_TIME)
    for entry in ordered:
        length_s = entry.valid_to_s - entry.valid_from_s
        if not 0 < length_s <= _LONGEST_S:
            raise bad(provider, field, f"holds a price for {length_s:g} s, not for an hour or less", Why.OTHER_QUANTITY)
        if entry.valid_from_s > now_s + _AHEAD_S:
            early = f"holds a price of {utc_text(entry.valid_from_s)}, for which no auction was held yet"
            raise bad(provider, field, early, Why.OTHER_TIME)
    return tuple(ordered)


def step_s(starts_s: Iterable[float], provider: str, field: str) -> float:
    """The length of a price where the answer has beginnings alone: the shortest distance of two. A time left out
    makes none longer. Raises ReadFailed for fewer than two."""
    steps = [later - earlier for earlier, later in pairwise(sorted(starts_s))]
    if not steps:
        raise bad(provider, field, "has one time alone, so that its length is not known")
    return min(steps)


def billed(market: Iterable[EnergyPrice], settings: PriceSettings) -> tuple[EnergyPrice, ...]:
    """What is paid for a kWh: (market + fees) * (1 + VAT), in the market's currency."""
    fees = f" + {settings.add_per_kwh:g} {settings.currency}/kWh" if settings.add_per_kwh else ""
    words = fees + (f", x {1.0 + settings.vat:g}" if settings.vat else "")
    return tuple(
        replace(e, per_kwh=(e.per_kwh + settings.add_per_kwh) * (1.0 + settings.vat), source=e.source + words)
        for e in market
    )
