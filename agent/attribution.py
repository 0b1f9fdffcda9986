"""Whose joules, and what for: pure functions that split an energy and lose nothing of it.

Sources: the split of a window into idle floor and work, and of work into phases by weighted tokens, follows
facts measured on A100 and H100 nodes (a decode token costs 7 to 10 times a prefill token at the usual batch
sizes; fits to published traces gave 0.04 to 0.19 for the ratio). README.md, "Method", has the formulas and the
citations.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TypeVar

from agent.busy import Power, Served, all_told, by_both, by_power, power_of, served_of
from agent.model import IntervalEnergy, Use, Work
from agent.timeline import take

PRIOR_PREFILL_WEIGHT = 0.12  # of a decode token; the middle of the fits to published traces
MIN_PIECE_S = 0.05  # shorter than that, a counter's own steps make any power
REST_TO_WORK = 0.6
SHORT = 0.25  # of the time between two samples: requests that are longer leave no pause that matters
FULL_POWER = 1.0  # of the power with requests served, in the mean: less had a pause in it
UNSURE = 0.3  # of a time with requests running that the power alone tells
FULL_COVERAGE = 0.98  # share of a time that readings must cover before a power is learned from it

K = TypeVar("K", bound=Hashable)
Owner = tuple[str, str, Use]  # engine, model, prefill | decode


def split(energy_j: float, weights: Mapping[K, float]) -> dict[K, float]:
    """energy_j in proportion to weights, evenly if they are all 0; the parts sum to energy_j.

    Raises:
        ValueError: there is nobody to give it to.
    """
    if not weights:
        raise ValueError("energy without an owner")
    keys = list(weights)
    total = sum(weights.values())
    parts: dict[K, float] = {}
    left_j = energy_j
    for key in keys[:-1]:
        part_j = energy_j * (weights[key] / total) if total > 0 else energy_j / len(keys)
        part_j = min(part_j, left_j)
        parts[key] = part_j
        left_j -= part_j
    # The last one takes what is left, so that nothing is lost to rounding; nobody of weight 0 gets that.
    last = next((k for k in reversed(keys) if weights[k] > 0), keys[-1]) if total > 0 else keys[-1]
    if last != keys[-1]:
        parts[keys[-1]] = 0.0
        parts[last] += left_j
    else:
        parts[last] = left_j
    return parts


def phase_weights(works: Iterable[Work], prefill_weight: float) -> dict[Owner, float]:
    """prefill_weight * prompt_computed and generated, by engine, model and phase. Cached prompt tokens weigh
    nothing: their keys and values are read, not computed."""
    weights: dict[Owner, float] = {}
    for work in works:
        for model, done in work.models.items():
            for use, weight in (
                (Use.PREFILL, prefill_weight * (done.prompt_computed or 0.0)),
                (Use.DECODE, done.generated or 0.0),
            ):
                if weight > 0:
                    key = (work.engine, model, use)
                    weights[key] = weights.get(key, 0.0) + weight
    return weights


def has_tokens(work: Work) -> bool:
    return any(
        (m.prompt_computed or 0.0) + (m.prompt_cached or 0.0) + (m.generated or 0.0) + sum(m.requests.values()) > 0
        for m in work.models.values()
    )


@dataclass(frozen=True, slots=True)
class Floor:
    """Power of a group of devices with its engines loaded: idle, and with requests running. None: not yet seen.

    peak_w: the most that a piece of work took, for as long as no time was busy throughout. A request that is
    shorter than the time between two readings looks weaker than it is; of many, some fill it.
    end_w: the least power beside a page that told of nothing running: the floor, until a whole idle time was seen.
    """

    idle_w: float | None = None
    busy_w: float | None = None
    peak_w: float | None = None
    end_w: float | None = None
    power: Power = field(
        default_factory=Power
    )  # above the floor, of times of which the engines told for how long they served

    @property
    def rest_w(self) -> float | None:
        """The floor, as well as it is known. Where a request came right after the page, what is beside it is none:
        a loaded accelerator at rest takes a quarter to a third of what it takes at work."""
        if self.idle_w is not None or self.end_w is None:
            return self.idle_w
        work_w = self.peak_w if self.busy_w is None else self.busy_w
        return self.end_w if work_w is not None and self.end_w < REST_TO_WORK * work_w else None

    def learn(
        self,
        *,
        idle_w: float | None = None,
        busy_w: float | None = None,
        peak_w: float | None = None,
        end_w: float | None = None,
        power: Power | None = None,
    ) -> Floor:
        """Downwards at once, upwards slowly: a foreign load must not pass for the floor."""
        return Floor(
            _towards(self.idle_w, idle_w, down=0.5, up=0.1),
            _towards(self.busy_w, busy_w, down=0.2, up=0.2),
            _towards(self.peak_w, peak_w, down=0.01, up=1.0),
            _towards(self.end_w, end_w, down=1.0, up=0.003),
            self.power if power is None else self.power.plus(power),
        )


def _towards(old: float | None, new: float | None, *, down: float, up: float) -> float | None:
    if new is None or old is None:
        return old if new is None else new
    return old + (new - old) * (down if new < old else up)


@dataclass(frozen=True, slots=True)
class Cut:
    """A group's interval, cut in two: time and energy with requests running, and without."""

    work_j: float
    idle_j: float
    busy_s: float
    total_s: float
    idle_w: float | None  # learned here; None where nothing pure was seen
    busy_w: float | None
    peak_w: float | None = None
    end_w: float | None = None
    power: Power = field(default_factory=Power)
    busy_var_s2: float = 0.0  # variance of busy_s

    @property
    def busy_share(self) -> float:
        return min(1.0, self.busy_s / self.total_s) if self.total_s > 0 else 0.0


def cut(
    intervals: Sequence[IntervalEnergy],
    works: Mapping[str, Sequence[Work]],
    start_s: float,
    end_s: float,
    floor: Floor,
) -> Cut:
    """Cut [start_s, end_s) of a device group into work and idle by what its engines' samples say.

    Between two samples with requests running at both, it is work, floor included; with none at either and no
    token, idle. Anything else is mixed: the seconds that its engines tell (agent/busy.py), or else the power above the
    idle floor, say the time that each took. So is time between short requests that drew too little for it, and energy
    of the time before start_s, which a device told too late: what its engines did then is no longer known.
    """
    edges = sorted(
        {start_s, end_s}
        | {e for ws in works.values() for w in ws for e in (w.start.mono_s, w.end.mono_s) if start_s < e < end_s}
    )
    work_j = idle_j = busy_s = var_s2 = 0.0
    learned = Floor()
    devices = {i.device for i in intervals}
    late, rest = take(intervals, start_s)
    if late:
        late_j = sum(i.energy_j for i in late)
        if floor.idle_w is not None:
            _, floor_j, _ = _mixed(late, min(i.start.mono_s for i in late), start_s, floor, booked=False)
            idle_j = min(floor_j, late_j)
        elif _state([_at(ws, start_s, edges[1]) for ws in works.values()]) == "idle":
            idle_j = late_j  # no power was ever seen to be the floor: then as now
        work_j = late_j - idle_j
    for k, (a, b) in enumerate(pairwise(edges)):
        here, rest = (rest, []) if k == len(edges) - 2 else take(rest, b)
        energy_j = sum(i.energy_j for i in here)
        now = [_at(ws, a, b) for ws in works.values()]
        state = _state(now)
        covered_s = sum(max(0.0, min(i.end.mono_s, b) - max(i.start.mono_s, a)) for i in here)
        whole = bool(devices) and covered_s >= FULL_COVERAGE * (b - a) * len(devices)
        pieces = _pieces(here, a, b)
        served = served_of(now)
        known = floor if floor.idle_w is not None else replace(floor, idle_w=floor.rest_w)
        if state == "busy" and (_paused(pieces, known) or _short(served, now, b - a, energy_j, known)):
            state = "mixed"
        if served is not None and whole:
            learned = learned.learn(power=power_of(served, b - a, energy_j, now))
        if state == "busy":
            work_j, busy_s = work_j + energy_j, busy_s + (b - a)
            if whole:
                learned = learned.learn(busy_w=energy_j / (b - a))
        elif state == "idle":
            idle_j += energy_j
            if whole:
                learned = learned.learn(idle_w=energy_j / (b - a))
        else:
            end_w = _idle_end_w(here, a, b, now)
            known = floor if floor.idle_w is not None else replace(floor, idle_w=floor.learn(end_w=end_w).end_w)
            learned = learned.learn(
                end_w=end_w, peak_w=max([e / s for s, e in pieces if s >= MIN_PIECE_S], default=None)
            )
            alone = all_told(now) and all(w is None or w.running_start == w.running_end == 0 for w in now)
            booked = any(w and has_tokens(w) for w in now)
            active_s, floor_j, more_s2 = _mixed(here, a, b, known, booked=booked, within=served if alone else None)
            var_s2 += more_s2
            floor_j = min(floor_j, energy_j)  # sums of pieces differ from the whole in the last digit
            work_j, idle_j, busy_s = work_j + (energy_j - floor_j), idle_j + floor_j, busy_s + active_s
    total_s = end_s - start_s
    seen = (learned.idle_w, learned.busy_w, learned.peak_w, learned.end_w, learned.power)
    return Cut(work_j, idle_j, busy_s, total_s, *seen, var_s2)


def _paused(pieces: Sequence[tuple[float, float]], floor: Floor) -> bool:
    """Requests ran at both ends; but did the power fall to the floor between? Only a look at the pieces tells."""
    if floor.idle_w is None or len(pieces) < 2:
        return False
    return any(s > 0 and e / s <= floor.idle_w * 1.05 for s, e in pieces)


def _at(works: Sequence[Work], a: float, b: float) -> Work | None:
    middle = (a + b) / 2
    return next((w for w in works if w.start.mono_s <= middle < w.end.mono_s), None)


def _state(works: Sequence[Work | None]) -> str:
    """busy if any engine is; idle if all are; else mixed. After its last sample an engine is as it was."""
    states = {_state_of(w) for w in works}
    if "busy" in states:
        return "busy"
    return "mixed" if "mixed" in states else "idle"


def _state_of(work: Work | None) -> str:
    if work is None:
        return "idle"
    ends = [r for r in (work.running_start, work.running_end) if r is not None]
    if len(ends) == 2 and min(ends) > 0:
        return "busy"
    if any(r > 0 for r in ends) or has_tokens(work):
        return "mixed"
    return "idle"


def _idle_end_w(here: Sequence[IntervalEnergy], a: float, b: float, works: Sequence[Work | None]) -> float | None:
    """The power next to a sample at which nothing ran: the floor, for want of a longer look at it."""
    pieces = _pieces(here, a, b)
    ends = []
    if all(w is None or w.running_start == 0 for w in works):
        ends.append(pieces[0])
    if all(w is None or w.running_end == 0 for w in works):
        ends.append(pieces[-1])
    return min((energy_j / seconds for seconds, energy_j in ends if seconds > 0 and energy_j > 0), default=None)


def _pieces(here: Sequence[IntervalEnergy], a: float, b: float) -> list[tuple[float, float]]:
    """Seconds and joules of the whole group, piece by piece: devices are read at nearly the same instants."""
    edges = sorted({a, b} | {e for i in here for e in (i.start.mono_s, i.end.mono_s) if a < e < b})
    pieces = []
    for p, q in pairwise(edges):
        energy_j = sum(
            i.energy_j * max(0.0, min(i.end.mono_s, q) - max(i.start.mono_s, p)) / (i.end.mono_s - i.start.mono_s)
            for i in here
            if i.end.mono_s > i.start.mono_s
        )
        pieces.append((q - p, energy_j))
    return pieces


def _short(served: Served | None, works: Sequence[Work | None], time_s: float, energy_j: float, floor: Floor) -> bool:
    """Requests ran at both ends, but they were short: was there a pause between them that no single piece shows? None
    if fewer ended than ran at the start: one of those ran all the time."""
    above_w = floor.power.above_w(floor.idle_w)
    if served is None or above_w is None or floor.idle_w is None or served.mean_s > SHORT * time_s:
        return False
    if served.requests < sum(w.running_start or 0.0 for w in works if w is not None):
        return False
    return energy_j - floor.idle_w * time_s < FULL_POWER * above_w * time_s


def _mixed(
    here: Sequence[IntervalEnergy], a: float, b: float, floor: Floor, *, booked: bool, within: Served | None = None
) -> tuple[float, float, float]:
    """Seconds with work, and the joules of the floor in the seconds without. With no floor known all of it is
    work: something ran, and nothing tells for how long it did not. Power that never left the floor is work if
    tokens were booked, and else idle: a request that had only just come."""
    if floor.idle_w is None:
        return b - a, 0.0, (UNSURE * (b - a)) ** 2
    pieces = _pieces(here, a, b)
    energy_j = sum(e for _, e in pieces)
    above_w = floor.power.above_w(floor.idle_w)
    if within is not None:
        above_j = max(0.0, energy_j - floor.idle_w * (b - a))
        active_s, var_s2 = by_both(within, b - a, above_j, floor.power, floor.idle_w)
        return active_s, min(energy_j, floor.idle_w * (b - a - active_s)), var_s2
    peak_w = max([e / s for s, e in pieces if s > 0], default=0.0)
    if above_w is not None and peak_w > floor.idle_w * 1.02:
        active_s = by_power(pieces, floor.idle_w, above_w)
        return active_s, min(energy_j, floor.idle_w * (b - a - active_s)), (UNSURE * active_s) ** 2
    top_w = max(peak_w, floor.peak_w or 0.0) if floor.busy_w is None else floor.busy_w
    if top_w <= floor.idle_w * 1.02:
        top_w = peak_w
    if top_w <= floor.idle_w * 1.02:
        return (b - a, 0.0, 0.0) if booked else (0.0, energy_j, 0.0)
    active_s = floor_j = 0.0
    for s, e in pieces:
        if s <= 0:
            continue
        part = min(1.0, max(0.0, (e / s - floor.idle_w) / (top_w - floor.idle_w)))
        active_s += s * part
        floor_j += min(e, floor.idle_w * s * (1.0 - part))
    return active_s, floor_j, (UNSURE * active_s) ** 2
