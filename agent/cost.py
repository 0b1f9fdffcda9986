"""Money from joules: each piece of an interval at the price in force then, never E x mean(price).

    cost = sum over the pieces of  E_piece [J] * price_piece [currency/kWh] / 3.6e6 [J/kWh]

What is paid (price above 0) and what is earned (price below 0) are kept apart, so that both only ever grow. A time
without a price of its own has no cost: never a neighbour's price, never the last one known. PUE is not applied here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from agent.model import EnergyPrice, Spent
from agent.units import J_PER_KWH


@dataclass(frozen=True, slots=True)
class CostRate:
    """Of one joule of energy that flowed at certain times. All three are 0 or more."""

    charge_per_j: float = 0.0  # currency per joule, from the pieces at a price above 0
    credit_per_j: float = 0.0  # currency per joule, earned in the pieces at a price below 0
    uncosted: float = 0.0  # the share of the joules, 0..1, at times whose price is not known


def price_per_joule(spent: Sequence[Spent], timeline: Sequence[EnergyPrice]) -> CostRate:
    """What a joule costs of energy that flowed as told, each piece at its own price.

    Shares of the same energy all take this, so that together they cost what the energy itself did. Where entries
    of the timeline overlap, the one that began last holds, and of two that began together the one fetched last. A
    piece without length is a moment, at the price in force there. Nothing spent: nothing costs, nothing is uncosted.
    """
    total_j = math.fsum(j for _, _, j in spent)
    if not total_j > 0:
        return CostRate()
    first_s, last_s = min(s for s, _, _ in spent), max(e for _, e, _ in spent)
    if not any(first_s < t < last_s for entry in timeline for t in (entry.valid_from_s, entry.valid_to_s)):
        return _at_one_price(in_force(timeline, first_s))  # nearly always: a tick within one hour, or a constant
    charges: list[float] = []
    credits_: list[float] = []
    unknown: list[float] = []
    for start_s, end_s, energy_j in spent:
        for at_s, share in _pieces(start_s, end_s, timeline):
            piece_j = energy_j * share
            held = in_force(timeline, at_s)
            if held is None:
                unknown.append(piece_j)
            elif held.per_kwh >= 0:
                charges.append(piece_j * held.per_kwh)
            else:
                credits_.append(piece_j * -held.per_kwh)
    per_kwh_of_j = total_j * J_PER_KWH
    uncosted = min(1.0, math.fsum(unknown) / total_j)
    return CostRate(math.fsum(charges) / per_kwh_of_j, math.fsum(credits_) / per_kwh_of_j, uncosted)


def in_force(timeline: Sequence[EnergyPrice], at_s: float) -> EnergyPrice | None:
    """The price that holds at a moment; None if no entry covers it."""
    return max((e for e in timeline if e.valid_from_s <= at_s < e.valid_to_s), key=_precedence, default=None)


def _at_one_price(held: EnergyPrice | None) -> CostRate:
    if held is None:
        return CostRate(uncosted=1.0)
    per_j = held.per_kwh / J_PER_KWH
    return CostRate(max(0.0, per_j), max(0.0, -per_j))


def _pieces(start_s: float, end_s: float, timeline: Sequence[EnergyPrice]) -> list[tuple[float, float]]:
    """An interval cut where a price begins or ends: the beginning of each piece, and its share of the time."""
    if not start_s < end_s:
        return [(start_s, 1.0)]
    bounds = {t for entry in timeline for t in (entry.valid_from_s, entry.valid_to_s) if start_s < t < end_s}
    length_s = end_s - start_s
    return [(begin, (end - begin) / length_s) for begin, end in pairwise([start_s, *sorted(bounds), end_s])]


def _precedence(entry: EnergyPrice) -> tuple[float, float, float, float, str]:
    """Total, so that the timeline's order never decides: begun last, fetched last, ending first, then the value."""
    fetched_s = -math.inf if entry.fetched_at_s is None else entry.fetched_at_s
    return entry.valid_from_s, fetched_s, -entry.valid_to_s, entry.per_kwh, entry.provider
