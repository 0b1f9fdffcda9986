"""What a provider said of each hour of one zone: the memory that the ladder stands on. Pure values, no I/O."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise

from agent.grids.payload import MAX_G_PER_KWH
from agent.model import GridIntensity

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S

STORED_DAYS = 8
KEEP_S = (STORED_DAYS + 1) * DAY_S  # a day more, so that the hours before the last value have 8 days behind them, too
AHEAD_S = 7 * DAY_S  # what is said of a later time is not kept
MAX_TOLD = 4096  # 9 days by 5 minutes and 5 days of forecast
LATEST_S = 2.0**33  # the year 2242: milliseconds taken for seconds lie beyond it


class Rung(StrEnum):
    """The values of GridIntensity.kind between the provider's best word and the yearly figure, best first."""

    ACTUAL = "actual"
    ESTIMATED = "estimated"
    FORECAST = "forecast"
    LAST_VALUE = "last_value"
    LAST_VALUE_SHAPED = "last_value_shaped"
    SAME_HOUR_YESTERDAY = "same_hour_yesterday"
    HOUR_PROFILE = "hour_profile"
    YEARLY = "yearly"


_RANK = {rung.value: rank for rank, rung in enumerate(Rung)}
_MEASURED = (Rung.ACTUAL, Rung.ESTIMATED)


@dataclass(frozen=True, slots=True)
class Series:
    """What must not be mixed: whose figure of what."""

    zone: str
    provider: str
    signal: str
    basis: str


def series_of(entry: GridIntensity) -> Series:
    return Series(entry.zone, entry.provider, entry.signal, entry.basis)


@dataclass(frozen=True, slots=True)
class History:
    """What one series said, one statement for each interval, by time.

    Bounded: 9 days before the last fetch, 7 days ahead of it, 4,096 statements. series None: nothing was told yet;
    the first statement decides it.
    """

    series: Series | None = None
    told: tuple[GridIntensity, ...] = ()


def remember(history: History, intensities: Iterable[GridIntensity]) -> History:
    """The history with these statements in it.

    A later fetch replaces an earlier one about the same interval, except that what looks ahead (a forecast, or a
    fallback that another agent tells) never replaces what was measured. Statements of another series are left out,
    and so are those that are not usable().
    """
    series = history.series
    best = {_interval(entry): entry for entry in history.told}
    for entry in intensities:
        if not usable(entry):
            continue
        series = series or series_of(entry)
        if not _is_of(entry, series):
            continue
        before = best.get(_interval(entry))
        if before is None or _weight(entry) >= _weight(before):
            best[_interval(entry)] = entry
    fetched_s = max((e.fetched_at_s for e in best.values() if e.fetched_at_s is not None), default=None)
    if fetched_s is not None:
        best = {interval: e for interval, e in best.items() if e.valid_to_s > fetched_s - KEEP_S}
    return History(series, tuple(best[interval] for interval in sorted(best)[-MAX_TOLD:]))


def usable(entry: GridIntensity) -> bool:
    """Whether it tells of an hour or so: no constant, no mean over more than a day, no time that cannot be,
    no intensity that no grid has."""
    fetched_s = entry.fetched_at_s
    return (
        0.0 <= entry.valid_from_s < entry.valid_to_s <= LATEST_S
        and entry.valid_to_s - entry.valid_from_s <= DAY_S
        and 0.0 <= entry.g_per_kwh <= MAX_G_PER_KWH
        and (fetched_s is None or 0.0 <= fetched_s <= LATEST_S)
        and (fetched_s is None or entry.valid_from_s <= fetched_s + AHEAD_S)
    )


def steps(told: Iterable[GridIntensity]) -> tuple[GridIntensity, ...]:
    """Statements in the order of time, cut to where each holds, so that none overlaps another.

    Where they overlap, the better rung holds, then the one that began later, was fetched later, ends sooner.
    """
    waiting = sorted(told, key=_interval)
    if all(a.valid_to_s <= b.valid_from_s for a, b in pairwise(waiting)):
        return tuple(waiting)  # nearly always
    bounds = sorted({bound for entry in waiting for bound in _interval(entry)})
    waiting.reverse()
    open_now: list[GridIntensity] = []
    found: list[tuple[GridIntensity, float, float]] = []
    for begin_s, end_s in pairwise(bounds):
        while waiting and waiting[-1].valid_from_s <= begin_s:
            open_now.append(waiting.pop())
        open_now = [entry for entry in open_now if entry.valid_to_s > begin_s]
        if not open_now:
            continue
        holds = max(open_now, key=_precedence)
        if found and found[-1][0] is holds:  # it has not ended, and none held in between
            found[-1] = (holds, found[-1][1], end_s)
        else:
            found.append((holds, begin_s, end_s))
    return tuple(
        entry if (begin_s, end_s) == _interval(entry) else replace(entry, valid_from_s=begin_s, valid_to_s=end_s)
        for entry, begin_s, end_s in found
    )


def final(history: History) -> tuple[GridIntensity, ...]:
    """What was measured or estimated, as it was told last, by time: what books are settled with. Forecasts and what
    another agent made up are left out. Two of them may overlap, as they do in the history: steps() cuts them."""
    return tuple(entry for entry in history.told if entry.kind in _MEASURED)


def is_told_of_its_time(entry: GridIntensity) -> bool:
    """Whether a fallback may be built on it. A forecast counts if it was still told when its time had begun, since
    some providers never tell more; what another agent made up never does."""
    if entry.kind in _MEASURED:
        return True
    begun = entry.fetched_at_s is not None and entry.fetched_at_s >= entry.valid_from_s
    return entry.kind == Rung.FORECAST and begun


def _is_of(entry: GridIntensity, series: Series) -> bool:
    return (
        entry.zone == series.zone
        and entry.provider == series.provider
        and entry.signal == series.signal
        and entry.basis == series.basis
    )


def _interval(entry: GridIntensity) -> tuple[float, float]:
    return entry.valid_from_s, entry.valid_to_s


def _fetched_s(entry: GridIntensity) -> float:
    return -math.inf if entry.fetched_at_s is None else entry.fetched_at_s


def _weight(entry: GridIntensity) -> tuple[bool, float]:
    return entry.kind in _MEASURED, _fetched_s(entry)


def _precedence(entry: GridIntensity) -> tuple[int, float, float, float]:
    return -_RANK.get(entry.kind, len(_RANK)), entry.valid_from_s, _fetched_s(entry), -entry.valid_to_s
