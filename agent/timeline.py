"""Energy and work along time: cut at an instant, spread evenly inside an interval. Nothing is lost in a cut."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from agent.model import Instant, IntervalEnergy, ModelWork, Work

CLOCKS_AGREE_S = 1.0


def by_wall(start: Instant, end: Instant) -> tuple[float, float]:
    """From when to when by the wall clock, Unix seconds. A wall clock that was set in between made the time neither
    longer nor shorter: it is then as long as the monotonic clock says, and ends where the wall clock is at its end."""
    length_s = max(0.0, end.mono_s - start.mono_s)
    if abs(end.wall_s - start.wall_s - length_s) <= CLOCKS_AGREE_S:
        return start.wall_s, end.wall_s
    return end.wall_s - length_s, end.wall_s


def between(a: Instant, b: Instant, mono_s: float) -> Instant:
    """The instant at mono_s on the line from a to b."""
    span_s = b.mono_s - a.mono_s
    if span_s <= 0:
        return b
    part = (mono_s - a.mono_s) / span_s
    from_s, to_s = by_wall(a, b)
    return Instant(mono_s, from_s + (to_s - from_s) * part)


def take(intervals: Iterable[IntervalEnergy], until_s: float) -> tuple[list[IntervalEnergy], list[IntervalEnergy]]:
    """The intervals up to until_s and those after it; one that lies across is cut in proportion to time."""
    before: list[IntervalEnergy] = []
    after: list[IntervalEnergy] = []
    for i in intervals:
        if i.end.mono_s <= until_s:
            before.append(i)
        elif i.start.mono_s >= until_s:
            after.append(i)
        else:
            at = between(i.start, i.end, until_s)
            part_j = i.energy_j * (until_s - i.start.mono_s) / (i.end.mono_s - i.start.mono_s)
            before.append(replace(i, end=at, energy_j=part_j))
            after.append(replace(i, start=at, energy_j=i.energy_j - part_j))
    return before, after


def take_work(works: Iterable[Work], until_s: float) -> tuple[list[Work], list[Work]]:
    """The same for an engine's work: tokens are spread evenly between two samples."""
    before: list[Work] = []
    after: list[Work] = []
    for w in works:
        if w.end.mono_s <= until_s:
            before.append(w)
        elif w.start.mono_s >= until_s:
            after.append(w)
        else:
            at = between(w.start, w.end, until_s)
            part = (until_s - w.start.mono_s) / (w.end.mono_s - w.start.mono_s)
            before.append(replace(w, end=at, models=_scaled(w.models, part)))
            after.append(replace(w, start=at, models=_scaled(w.models, 1.0 - part)))
    return before, after


def _scaled(models: Mapping[str, ModelWork], part: float) -> dict[str, ModelWork]:
    def times(value: float | None) -> float | None:
        return None if value is None else value * part

    return {
        name: ModelWork(
            times(m.prompt_computed),
            times(m.prompt_cached),
            times(m.generated),
            {outcome: n * part for outcome, n in m.requests.items()},
            times(m.steps),
            times(m.first_tokens),
            times(m.inference_s),
        )
        for name, m in models.items()
    }
