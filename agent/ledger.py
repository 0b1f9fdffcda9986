"""The books: totals that only grow. Every function takes a ledger and returns a new one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

from agent.model import (
    Device,
    DeviceKind,
    Entry,
    Gap,
    IntervalEnergy,
    Ledger,
    Posting,
    Share,
    TokenType,
    Use,
    Work,
)

K = TypeVar("K")

# A total of the ledger, and the field of an entry that it is the sum of.
ENTRY_TOTALS = {
    "overhead_j": "overhead_j",
    "it_gco2e": "it_gco2e",
    "facility_gco2e": "gco2e",
    "market_gco2e": "market_gco2e",
    "marginal_gco2e": "marginal_gco2e",
    "embodied_gco2e": "embodied_gco2e",
    "water_l": "water_l",
    "cost": "cost",
    "credit": "credit",
}


def add(totals: Mapping[K, float], amounts: Iterable[tuple[K, float]]) -> dict[K, float]:
    """A copy of totals with the amounts added.

    Raises:
        ValueError: an amount is negative or not finite; nothing in the books ever shrinks.
    """
    out = dict(totals)
    for key, amount in amounts:
        if not 0.0 <= amount < float("inf"):
            raise ValueError(f"{amount} cannot be booked to {key}")
        out[key] = out.get(key, 0.0) + amount
    return out


def post_devices(ledger: Ledger, events: Iterable[IntervalEnergy | Gap]) -> Ledger:
    """What the meters found: joules per device, seconds of gap per device and reason."""
    energies: list[tuple[Device, float]] = []
    gaps: list[tuple[tuple[Device, str], float]] = []
    for e in events:
        if isinstance(e, IntervalEnergy):
            energies.append((e.device, e.energy_j))
        else:
            gaps.append(((e.device, e.reason), max(0.0, e.end.mono_s - e.start.mono_s)))
    if not energies and not gaps:
        return ledger
    return replace(ledger, device_energy_j=add(ledger.device_energy_j, energies), gap_s=add(ledger.gap_s, gaps))


def post_work(ledger: Ledger, work: Work) -> Ledger:
    """What an engine did: tokens by type, requests by outcome."""
    tokens: list[tuple[tuple[str, str, TokenType], float]] = []
    requests: list[tuple[tuple[str, str, str], float]] = []
    for model, done in work.models.items():
        for kind, count in (
            (TokenType.PROMPT_COMPUTED, done.prompt_computed),
            (TokenType.PROMPT_CACHED, done.prompt_cached),
            (TokenType.GENERATED, done.generated),
        ):
            if count is not None:
                tokens.append(((work.engine, model, kind), count))
        requests.extend(((work.engine, model, outcome), n) for outcome, n in done.requests.items())
    if not tokens and not requests:
        return ledger
    return replace(ledger, tokens=add(ledger.tokens, tokens), requests=add(ledger.requests, requests))


def post_shares(ledger: Ledger, posting: Posting) -> Ledger:
    """Joules by engine, model, use and kind."""
    return replace(
        ledger,
        energy_j=add(ledger.energy_j, (((s.engine, s.model, s.use, s.kind), s.energy_j) for s in posting.shares)),
    )


def post_entries(ledger: Ledger, entries: Iterable[Entry]) -> Ledger:
    """Everything that follows from joules: overhead, grams, litres, money, by engine, model and use."""
    amounts: dict[str, list[tuple[tuple[str, str, Use], float]]] = {name: [] for name in ENTRY_TOTALS}
    unpriced_j, uncosted_j = ledger.unpriced_j, ledger.uncosted_j
    for e in entries:
        who = (e.engine, e.model, e.use)
        for name, of in ENTRY_TOTALS.items():
            amount = getattr(e, of)
            if amount is not None and not (of == "overhead_j" and amount == 0.0):
                amounts[name].append((who, amount))
        unpriced_j += e.unpriced_j
        uncosted_j += e.uncosted_j
    return replace(
        ledger,
        **{name: add(getattr(ledger, name), some) for name, some in amounts.items() if some},
        unpriced_j=unpriced_j,
        uncosted_j=uncosted_j,
    )


def by_kind(shares: Iterable[Share]) -> dict[DeviceKind, float]:
    """Joules of the shares per device kind."""
    out: dict[DeviceKind, float] = {}
    for s in shares:
        out[s.kind] = out.get(s.kind, 0.0) + s.energy_j
    return out
