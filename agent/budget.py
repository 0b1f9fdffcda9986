"""What a budget has used, how fast, and when it will be gone. Pure: entries and the time in, values out.

A budget remembers its use in pieces of 15 minutes, the roll-ups' own, so that what the ledger on disk tells after a
restart is what was known before it. The period follows the wall clock: one that steps back reopens the period that it
steps into, with all that was used in it, and nothing that was booked is forgotten.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from agent.model import BudgetView, Entry
from agent.settings import BudgetSettings

BUCKET_S = 900
HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
WINDOWS: Mapping[str, float] = {"1h": HOUR_S, "6h": 6 * HOUR_S, "24h": DAY_S}
FORECAST_WINDOW = "6h"  # long enough to see beyond a burst of requests, short enough to see a new load today
MIN_KNOWN_S = 300.0  # a rate over less is noise
HORIZON_S = 366 * DAY_S  # an end that is further away is not told
SLACK_S = 2 * DAY_S  # kept besides the longest period, for a clock that steps back


@dataclass(frozen=True, slots=True)
class BudgetState:
    """What a budget remembers. Bounded: the pieces of its longest period and of two days more."""

    budget: BudgetSettings
    known_from_s: float  # Unix seconds: since when anything is known, of whichever engine
    starts_s: tuple[float, ...] = ()  # of the pieces of 15 minutes in which something was used, ascending
    amounts: tuple[float, ...] = ()  # used in each, in the budget's unit


@dataclass(frozen=True, slots=True)
class Period:
    """A budget's period, [start_s, end_s), Unix seconds. A rolling one ends now and begins again nowhere."""

    start_s: float
    end_s: float
    rolling: bool = False

    @property
    def length_s(self) -> float:
        return self.end_s - self.start_s


def begin(budget: BudgetSettings, rows: Iterable[Entry], now_s: float) -> BudgetState:
    """A budget at the agent's start. rows: what the ledger remembers since history_from_s(); now_s: Unix time."""
    rows = tuple(rows)
    known_from_s = min((row.bucket_s for row in rows), default=now_s)
    return advance(BudgetState(budget, known_from_s), rows, now_s)


def advance(state: BudgetState, entries: Iterable[Entry], now_s: float) -> BudgetState:
    """The state after what was booked since the last time; every entry is given once.

    Amounts below 0 and unknown ones (None) are left out: within a period the use never falls, and a credit for
    hours of negative price gives no budget back.
    """
    pieces: dict[float, float] = {}
    for entry in entries:
        used = amount(state.budget, entry)
        if used > 0 and selects(state.budget, entry):
            start_s = entry.bucket_s // BUCKET_S * BUCKET_S
            pieces[start_s] = pieces.get(start_s, 0.0) + used
    if not pieces:
        # A clock that stepped back before the agent's start must not leave a window that began in the future.
        return state if state.known_from_s <= now_s else replace(state, known_from_s=now_s)
    first = bisect_left(state.starts_s, min(pieces))  # all before stays as it is: mostly all but the last piece
    for start_s, used in zip(state.starts_s[first:], state.amounts[first:], strict=True):
        pieces[start_s] = pieces.get(start_s, 0.0) + used
    tail = sorted(pieces)
    # Kept by count, not by age: a clock that is wrong for a while must not make the budget forget.
    most = _most_pieces(state.budget)
    return replace(
        state,
        known_from_s=min(state.known_from_s, now_s),
        starts_s=(*state.starts_s[:first], *tail)[-most:],
        amounts=(*state.amounts[:first], *(pieces[start_s] for start_s in tail))[-most:],
    )


def view(state: BudgetState, now_s: float) -> BudgetView:
    """What is published of a budget at now_s (Unix time)."""
    budget, period = state.budget, period_at(state.budget, now_s)
    used = _used(state, period)
    rates = {window: _rate(state, length_s, now_s) for window, length_s in WINDOWS.items()}
    even = budget.limit / period.length_s
    return BudgetView(
        name=budget.name,
        unit=budget.unit,
        limit=budget.limit,
        used=used,
        used_ratio=used / budget.limit,
        burn_rates={window: None if rate is None else rate / even for window, rate in rates.items()},
        exhausted_at_s=_exhausted_at_s(state, period, used, rates[FORECAST_WINDOW], now_s),
        resets_at_s=None if period.rolling else period.end_s,
    )


def history_from_s(budget: BudgetSettings, now_s: float) -> float:
    """From when begin() wants the ledger's rows: the period's beginning or the longest window's."""
    start_s = min(period_at(budget, now_s).start_s, now_s - max(WINDOWS.values()))
    return start_s // BUCKET_S * BUCKET_S


def period_at(budget: BudgetSettings, now_s: float) -> Period:
    """The period that now_s is in. Days, weeks (from Monday) and months begin at midnight in the budget's time zone,
    so that one may have 23 or 25 hours."""
    if budget.period == "rolling":
        return Period(now_s - budget.over_s, now_s, rolling=True)
    zone = ZoneInfo(budget.timezone)
    moment = datetime.fromtimestamp(math.floor(now_s), zone)  # of a fraction it would round up to the next day
    today = moment.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None, fold=0)
    match budget.period:
        case "day":
            start, end = today, today + timedelta(days=1)
        case "week":
            start = today - timedelta(days=today.weekday())
            end = start + timedelta(days=7)
        case _:
            start = today.replace(day=1)
            end = (start + timedelta(days=31)).replace(day=1)
    # A midnight that the clocks skip is the moment at which they skip it: what fold=0 means. Both are to be on the
    # local clock before they become moments, since the days between may not have 24 hours.
    return Period(start.replace(tzinfo=zone).timestamp(), end.replace(tzinfo=zone).timestamp())


def selects(budget: BudgetSettings, entry: Entry) -> bool:
    """Whether an entry's owner is one of the budget's. Without selectors everybody is, and nobody's use too."""
    return (not budget.engines or entry.engine in budget.engines) and (
        not budget.models or entry.model in budget.models
    )


def amount(budget: BudgetSettings, entry: Entry) -> float:
    """What an entry takes from the budget, in its unit; 0.0 where that is not known."""
    match budget.quantity:
        case "energy":
            return entry.facility_j if budget.boundary == "facility" else entry.energy_j
        case "carbon":
            embodied = entry.embodied_gco2e if budget.scope == "total" else None
            return (entry.gco2e or 0.0) + (embodied or 0.0)
        case "water":
            return entry.water_l or 0.0
        case _:
            return entry.cost or 0.0


def _most_pieces(budget: BudgetSettings) -> int:
    longest_s = {"day": 2 * DAY_S, "week": 8 * DAY_S, "month": 32 * DAY_S}.get(budget.period, budget.over_s + DAY_S)
    return math.ceil((longest_s + SLACK_S) / BUCKET_S)


def _used(state: BudgetState, period: Period) -> float:
    # What stands in the future, since the clock stepped back, was used all the same: a rolling period has it, too.
    return _between(state, period.start_s, math.inf if period.rolling else period.end_s)


def _between(state: BudgetState, from_s: float, to_s: float) -> float:
    """Used in [from_s, to_s). Of the piece that from_s cuts, the part that an even flow leaves after it."""
    first = bisect_left(state.starts_s, from_s)
    last = bisect_left(state.starts_s, to_s)
    used = math.fsum(state.amounts[first:last])
    if first > 0 and (rest_s := state.starts_s[first - 1] + BUCKET_S - from_s) > 0:
        used += state.amounts[first - 1] * rest_s / BUCKET_S
    return used


def _rate(state: BudgetState, window_s: float, now_s: float) -> float | None:
    """Use per second over the window, or over what is known of it: unknown time is not time without use."""
    known_s = min(window_s, now_s - state.known_from_s)
    if known_s < MIN_KNOWN_S:
        return None
    return _between(state, now_s - window_s, now_s) / known_s


def _exhausted_at_s(state: BudgetState, period: Period, used: float, rate: float | None, now_s: float) -> float | None:
    """When the limit was passed (the beginning of that quarter of an hour), or will be at this rate."""
    limit = state.budget.limit
    if used >= limit:
        return _passed_at_s(state, period)
    if not rate:
        return None
    if period.rolling:
        return _rolls_over_at_s(state, limit - used, rate, now_s)
    at_s = now_s + (limit - used) / rate
    return at_s if at_s <= now_s + HORIZON_S else None


def _passed_at_s(state: BudgetState, period: Period) -> float:
    limit, total = state.budget.limit, 0.0
    for start_s, used in zip(state.starts_s, state.amounts, strict=True):
        piece_end_s = start_s + BUCKET_S
        if piece_end_s > period.start_s and (period.rolling or start_s < period.end_s):
            total += used * min(1.0, (piece_end_s - period.start_s) / BUCKET_S)
            if total >= limit:
                return start_s
    return state.starts_s[-1]  # the sum's rounding alone was below the limit


def _rolls_over_at_s(state: BudgetState, rest: float, rate: float, now_s: float) -> float | None:
    """When a rolling budget will be gone: what flows in takes from the rest, what grows old gives back."""
    over_s = state.budget.over_s
    at_s, last_s = now_s, now_s + over_s
    for start_s, used in zip(state.starts_s, state.amounts, strict=True):
        leaves_from_s, leaves_to_s = start_s + over_s, start_s + BUCKET_S + over_s
        if leaves_to_s <= at_s:
            continue
        if leaves_from_s >= last_s:  # from the future, before the clock stepped back
            break
        if leaves_from_s > at_s:
            if rest <= rate * (leaves_from_s - at_s):
                return at_s + rest / rate
            rest -= rate * (leaves_from_s - at_s)
            at_s = leaves_from_s
        net = rate - used / BUCKET_S
        if rest <= net * (leaves_to_s - at_s):  # what is left stays above 0, so net is, too
            return at_s + rest / net
        rest -= net * (leaves_to_s - at_s)
        at_s = leaves_to_s
    # From here on nothing that is known today is left: the period holds what the rate fills it with.
    return at_s + rest / rate if rest <= rate * (last_s - at_s) else None
