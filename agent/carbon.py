"""Grams from joules: each piece of an interval at the intensity in force then, never E x mean(I).

    grams = sum over the pieces of  E_piece [J] * I_piece [g/kWh] / 3.6e6 [J/kWh]

SCI (ISO/IEC 21031:2024) takes the same product per period, at the finest resolution there is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from agent.model import GridIntensity
from agent.units import kwh


@dataclass(frozen=True, slots=True)
class Priced:
    """Grams of the energy that an intensity was known for, and the joules for which none was."""

    gco2e: float
    unpriced_j: float = 0.0


def grams(energy_j: float, g_per_kwh: float) -> float:
    """gCO2e of an energy at one intensity."""
    return kwh(energy_j) * g_per_kwh


def price(energy_j: float, start_s: float, end_s: float, timeline: Sequence[GridIntensity]) -> Priced:
    """gCO2e of an energy spent evenly over [start_s, end_s), Unix seconds, split where the intensity changes.

    The order of the timeline does not matter. Where entries overlap, the one that began last holds (a later
    statement about a shorter time), and of two that began together the one fetched last. A time that no entry
    covers leaves its joules unpriced: they are never priced at a neighbour's intensity. An interval without
    length is a moment: all of its energy takes the intensity in force there.
    """
    if not start_s < end_s:
        held = in_force(timeline, start_s)
        return Priced(0.0, energy_j) if held is None else Priced(grams(energy_j, held.g_per_kwh))
    if len(timeline) == 1 and timeline[0].valid_from_s <= start_s and end_s <= timeline[0].valid_to_s:
        return Priced(grams(energy_j, timeline[0].g_per_kwh))  # a constant, or a tick within one hour
    bounds = {t for entry in timeline for t in (entry.valid_from_s, entry.valid_to_s) if start_s < t < end_s}
    cuts = [start_s, *sorted(bounds), end_s]
    weighed: list[float] = []
    unknown: list[float] = []
    for begin, end in pairwise(cuts):
        piece_j = energy_j * ((end - begin) / (end_s - start_s))
        held = in_force(timeline, begin)
        if held is None:
            unknown.append(piece_j)
        else:
            weighed.append(grams(piece_j, held.g_per_kwh))
    if not weighed:
        return Priced(0.0, energy_j)
    return Priced(math.fsum(weighed), math.fsum(unknown))


def in_force(timeline: Sequence[GridIntensity], at_s: float) -> GridIntensity | None:
    """The intensity that holds at a moment; None if no entry covers it."""
    covering = [entry for entry in timeline if entry.valid_from_s <= at_s < entry.valid_to_s]
    return max(covering, key=_precedence, default=None)


def _precedence(entry: GridIntensity) -> tuple[float, float, float, float, str]:
    """Total, so that the timeline's order never decides: begun last, fetched last, ending first, then the value."""
    fetched_s = -math.inf if entry.fetched_at_s is None else entry.fetched_at_s
    return entry.valid_from_s, fetched_s, -entry.valid_to_s, entry.g_per_kwh, entry.provider
