"""The best intensity that is known for every hour, by rungs, each named in GridIntensity.kind.

    actual, estimated, forecast   what the provider said of that time: a forecast is the one it gave last
    last_value                    the last value, held for up to 3 h while fewer than 3 days are stored
    last_value_shaped             the last value, moved as the stored days moved at these hours, up to 12 h
    same_hour_yesterday           the same hour of the last day that is known, up to 48 h
    hour_profile                  the mean of that hour over the stored days, the newest weighing most, up to 21 days
    yearly                        the yearly figure, as it is: of its own provider and basis, and of the same signal

The limits and weights are what a year of hours of three grids bears out (tests/bench/grid_ladder.py prints how far
off they are). Holding the last value is behind the shaped one from the first hour on, once there are days enough to
know the shape from; past 21 days a profile is no nearer than the mean of the year.

A History is of one zone, provider, signal and basis, so no rung mixes them. The yearly figure of another basis is
better than nothing; that of another signal never stands in: an average says nothing of what one more kWh causes. Every
rung above `yearly` is built on what was told of the time before it, and never reads ahead.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from agent.carbon import in_force
from agent.grids.history import DAY_S, HOUR_S, STORED_DAYS, History, Rung, is_told_of_its_time, steps
from agent.model import GridIntensity

LAST_VALUE_S = 3 * HOUR_S
LAST_VALUE_SHAPED_S = 12 * HOUR_S
SAME_HOUR_S = 48 * HOUR_S
PROFILE_S = 21 * DAY_S

SHAPE_DAYS = 3  # of fewer, the shape is too chancy to beat the last value in its first 3 h
DAY_WEIGHT = 0.8  # each day back weighs 4/5 of the day after it
DRIFT_S = DAY_S  # in this time a shaped value would drift from the last value's level to yesterday's


def at(history: History, yearly: GridIntensity | None, now_s: float) -> GridIntensity | None:
    """The intensity in force at a moment; None if not even a yearly figure is known."""
    return in_force(timeline(history, yearly, now_s, math.nextafter(now_s, math.inf)), now_s)


def timeline(history: History, yearly: GridIntensity | None, from_s: float, to_s: float) -> tuple[GridIntensity, ...]:
    """The best rung for every moment of [from_s, to_s), finite Unix seconds, in the order of time.

    Pieces do not overlap, and are whole even where they reach beyond from_s and to_s, so they are the same whatever
    was asked for. A fallback holds for a whole hour of UTC, less what is told of that hour. `yearly` alone may hold
    at all times: it stands first if some of the time needs it, and agent.carbon takes every other piece before it.
    A time that nothing is known of is not covered.

    It goes through the whole history: ask once a fetch and once an hour, not at each tick.
    """
    past = _Past(steps(entry for entry in history.told if is_told_of_its_time(entry)))
    pieces: list[GridIntensity] = []

    def fill(gap_from_s: float, gap_to_s: float) -> None:
        for begin_s, end_s in _hours(gap_from_s, gap_to_s, from_s, to_s):
            if (piece := _fallback(past, begin_s, end_s)) is not None:
                pieces.append(piece)

    told_to_s = -math.inf
    for step in steps(history.told):
        fill(told_to_s, step.valid_from_s)
        if from_s < step.valid_to_s and step.valid_from_s < to_s:
            pieces.append(step)
        told_to_s = step.valid_to_s
    fill(told_to_s, math.inf)
    mixes = yearly is not None and history.series is not None and yearly.signal != history.series.signal
    if yearly is None or mixes or _covered(pieces, from_s, to_s):
        return tuple(pieces)
    return (yearly, *pieces)


def _hours(gap_from_s: float, gap_to_s: float, from_s: float, to_s: float) -> Iterator[tuple[float, float]]:
    """The hours of a gap, cut at its ends, that have a part in [from_s, to_s)."""
    if gap_to_s <= from_s:
        return
    hour = math.floor(max(gap_from_s, from_s) / HOUR_S)
    while (begin_s := max(hour * HOUR_S, gap_from_s)) < min(gap_to_s, to_s):
        hour += 1
        yield begin_s, min(hour * HOUR_S, gap_to_s)


def _covered(pieces: Sequence[GridIntensity], from_s: float, to_s: float) -> bool:
    for piece in pieces:
        if piece.valid_from_s > from_s:
            return False
        from_s = piece.valid_to_s
    return from_s >= to_s


class _Past:
    """Steps that fallbacks are built on, and their means over windows."""

    def __init__(self, known: tuple[GridIntensity, ...]) -> None:
        self._known = known
        self._ends = [step.valid_to_s for step in known]

    def last_before(self, at_s: float) -> GridIntensity | None:
        n = bisect_right(self._ends, at_s)
        return self._known[n - 1] if n else None

    def mean(self, begin_s: float, end_s: float) -> GridIntensity | None:
        """The mean over a window, with the names of the newest step in it; None if less than half is known."""
        first = bisect_right(self._ends, begin_s)
        if first < len(self._known) and self._known[first].valid_from_s <= begin_s and end_s <= self._ends[first]:
            return self._known[first]  # nearly always
        parts: list[tuple[float, GridIntensity]] = []
        for i in range(first, len(self._known)):
            step = self._known[i]
            if step.valid_from_s >= end_s:
                break
            parts.append((min(step.valid_to_s, end_s) - max(step.valid_from_s, begin_s), step))
        if sum(length_s for length_s, _ in parts) < (end_s - begin_s) / 2:
            return None
        newest = parts[-1][1]
        return newest if len(parts) == 1 else replace(newest, g_per_kwh=_mean([(s, e.g_per_kwh) for s, e in parts]))


def _fallback(past: _Past, begin_s: float, end_s: float) -> GridIntensity | None:
    """The best rung for [begin_s, end_s), of which nothing is told. None: only the yearly figure is left."""
    last = past.last_before(begin_s)
    if last is None:
        return None
    age_s = end_s - last.valid_to_s  # to the end: a rung's limit holds for the whole of its piece
    days_back = max(1, math.ceil(age_s / DAY_S))  # the last day whose same hour was over when the last value was

    def days_ago(days: int) -> GridIntensity | None:
        return past.mean(begin_s - days * DAY_S, end_s - days * DAY_S)

    def piece(rung: Rung, g_per_kwh: float, of: GridIntensity, said: str) -> GridIntensity:
        return replace(
            of,
            g_per_kwh=g_per_kwh,
            kind=rung.value,
            valid_from_s=begin_s,
            valid_to_s=end_s,
            source=f"{of.source}; {said}" if of.source else said,
        )

    found = ((days, days_ago(days)) for days in range(days_back, 1 + int(SAME_HOUR_S / DAY_S)))
    day, same_hour = next(((days, hour) for days, hour in found if hour is not None), (0, None))
    if same_hour is not None and age_s <= LAST_VALUE_SHAPED_S:
        g_per_kwh, days = _shaped(past, last, same_hour, begin_s, end_s)
        if days >= (SHAPE_DAYS if age_s <= LAST_VALUE_S else 1):
            said = f"value of {_stamp(last.valid_from_s)} moved as these hours did on {days} days"
            return piece(Rung.LAST_VALUE_SHAPED, g_per_kwh, last, said)
    if age_s <= LAST_VALUE_S:
        return piece(Rung.LAST_VALUE, last.g_per_kwh, last, f"value of {_stamp(last.valid_from_s)}")
    if same_hour is not None and age_s <= SAME_HOUR_S:
        said = f"value of {_stamp(begin_s - day * DAY_S)}"
        return piece(Rung.SAME_HOUR_YESTERDAY, same_hour.g_per_kwh, same_hour, said)
    if age_s <= PROFILE_S:
        hours = [(DAY_WEIGHT**n, days_ago(days_back + n)) for n in range(STORED_DAYS)]
        stored = [(weight, hour) for weight, hour in hours if hour is not None]
        if stored:
            g_per_kwh = _mean([(weight, hour.g_per_kwh) for weight, hour in stored])
            said = f"mean of this hour of {len(stored)} days before {_stamp(last.valid_to_s)}"
            return piece(Rung.HOUR_PROFILE, g_per_kwh, stored[0][1], said)
    return None


def _shaped(
    past: _Past, last: GridIntensity, same_hour: GridIntensity, begin_s: float, end_s: float
) -> tuple[float, int]:
    """The last value plus the mean change from its hour to this one over the stored days, and how many days.

        g(t) = (1 - a) (last + mean over days d of [g(t - d) - g(t_last - d)]) + a g(t - 1 day),   a = age / 24 h

    The mean over days is what beats the last value in the first hour already: a single day's change is as chancy as
    the change that it should foretell. Never below the lowest of the values it is made of: a fallback does not
    invent a cleaner grid than was seen.
    """
    changes: list[tuple[float, float]] = []
    lowest = min(last.g_per_kwh, same_hour.g_per_kwh)
    for n in range(1, STORED_DAYS + 1):
        then = past.mean(begin_s - n * DAY_S, end_s - n * DAY_S)
        before = past.mean(last.valid_from_s - n * DAY_S, last.valid_to_s - n * DAY_S)
        if then is not None and before is not None:
            changes.append((DAY_WEIGHT**n, then.g_per_kwh - before.g_per_kwh))
            lowest = min(lowest, then.g_per_kwh, before.g_per_kwh)
    if not changes:
        return last.g_per_kwh, 0
    drift = (end_s - last.valid_to_s) / DRIFT_S
    moved = (1 - drift) * (last.g_per_kwh + _mean(changes)) + drift * same_hour.g_per_kwh
    return max(lowest, moved), len(changes)


def _mean(parts: Sequence[tuple[float, float]]) -> float:
    """Of values by weight."""
    return sum(weight * value for weight, value in parts) / sum(weight for weight, _ in parts)


def _stamp(at_s: float) -> str:
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M}Z"
