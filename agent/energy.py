"""Energy of a device between two readings: pure, and the only place where joules come from.

A counter's difference is accepted only if it is possible (0 <= dE <= limit * dt * 1.25). What a counter does not
say is filled from measured power, and what nothing says is a Gap. The rules, in the order in which they are tried:

    failed read, or no counter this time   wait: the next good reading carries the energy of the time between;
                                           after HOLD_S book measured power instead, and settle with the counter
                                           when it is back; with no power either, a Gap from GIVE_UP_S on
    first counter reading                  the anchor; no energy
    difference passes the gate             book it
    ... in more ways than one (wraps)      a Gap or measured power: never a guess
    counter fell, range known, and
    range - last + now passes the gate     a wrap: book it
    counter fell, or rose impossibly       a reset: start again from the new value, fill from measured power or Gap
    counter stands still, power flows      wait, as for a failed read
    after such a wait it rose by less than
    half of what power saw throughout      a reset in the meantime, as above
"""

from __future__ import annotations

import math
from typing import NamedTuple

from agent.model import Device, DeviceKind, Gap, Instant, IntervalEnergy, Method, Reading

GATE_MARGIN = 1.25  # over the enforced limit: excursions of a few ms and the sensors' +-5%
HOLD_S = 10.0  # the longest time that a trapezoid spans (but see _longest_trapezoid_s) and a silent counter has
SHORT_S = 0.5  # a beat this short can hold one update of the counter more than its share ...
UPDATE_S = 0.1  # ... which NVML's counters make every 20 to 100 ms: the next reading then decides
GIVE_UP_S = 60.0  # after this long with neither counter nor power the time is declared a gap
CATCH_UP_SHARE = 0.5  # a counter that brings at least this share of what was filled in has caught up
RATIO_MIN_S = 10.0  # counter against power: over at least this long ...
RATIO_ROLL_S = 60.0  # ... and forgotten after this long

# What one device can draw at most when the hardware does not tell its limit: above anything sold, since a bound
# that is too low would throw real joules away.
DEFAULT_MAX_POWER_W = {
    DeviceKind.GPU: 3_000.0,
    DeviceKind.CPU: 1_500.0,
    DeviceKind.DRAM: 500.0,
    DeviceKind.HOST: 50_000.0,
}

Event = IntervalEnergy | Gap


class _Point(NamedTuple):
    at: Instant
    value: float


class _Comparison(NamedTuple):
    """Counter energy against integrated power, while both are known."""

    counter_j: float = 0.0
    power_j: float = 0.0
    over_s: float = 0.0
    ratio: float | None = None

    def also(self, counter_j: float, power_j: float, seconds: float) -> _Comparison:
        if self.over_s < RATIO_ROLL_S:
            counter_j += self.counter_j
            power_j += self.power_j
            seconds += self.over_s
        ratio = counter_j / power_j if seconds >= RATIO_MIN_S and power_j > 0 else self.ratio
        return _Comparison(counter_j, power_j, seconds, ratio)


class MeterState(NamedTuple):
    """What must be remembered of one device between readings.

    A named tuple, since every reading makes two new ones: _replace takes 3 us for it, dataclasses.replace 10.
    """

    device: Device
    anchor: _Point | None = None  # the last counter value that was accepted, J
    booked_to: Instant | None = None  # energy or gaps are booked up to here
    filled_j: float = 0.0  # booked from power since the anchor, while the counter was silent
    falling_back: bool = False
    waited: bool = False  # since the anchor, readings came that brought no new counter value
    debt_j: float = 0.0  # filled in beyond what the counter then said: taken off the next differences
    power: _Point | None = None  # the last good power, W
    seen_s: float | None = None  # the last reading of any kind, mono_s
    spacing_s: float | None = None  # between the last two: the rhythm in which this device is read
    integral_j: float = 0.0  # trapezoid since booked_to
    covered_s: float = 0.0  # seconds of it
    max_power_w: float | None = None
    estimated: bool = False
    why: str = "read failed"  # the last reason for having no reading
    mean_power_w: float | None = None  # over the last booked interval
    comparison: _Comparison = _Comparison()

    @property
    def ratio(self) -> float | None:
        """Counter energy over integrated power; None: not compared for long enough."""
        return self.comparison.ratio

    @property
    def method(self) -> Method:
        if self.estimated:
            return Method.ESTIMATED
        return Method.COUNTER if self.anchor is not None and not self.falling_back else Method.INTEGRATED


def advance(state: MeterState, reading: Reading) -> tuple[MeterState, tuple[Event, ...]]:
    """One more reading of the device: the new state, and the energy and gaps that are now known."""
    if state.booked_to is not None and reading.at.mono_s <= _last_seen(state):
        return state, ()  # not later than what is known: it cannot tell of any interval
    limit_w = reading.max_power_w if _usable(reading.max_power_w) else None
    if limit_w == 0.0:
        limit_w = None
    has_counter = _usable(reading.energy_j)
    # An interval may have begun under the older limit.
    gate_w = max(filter(None, (state.max_power_w, limit_w)), default=DEFAULT_MAX_POWER_W[state.device.kind])
    gate_w *= GATE_MARGIN
    power, more_j, more_s = _note_power(state, reading, gate_w)
    state = state._replace(  # one for all that every reading changes
        power=power,
        integral_j=state.integral_j + more_j,
        covered_s=state.covered_s + more_s,
        seen_s=reading.at.mono_s,
        spacing_s=None if state.seen_s is None else reading.at.mono_s - state.seen_s,
        max_power_w=limit_w or state.max_power_w,
        estimated=reading.estimated or (state.estimated and reading.error is not None),
        why=state.why if has_counter else _reason(reading),
        waited=state.waited or not has_counter,
    )
    if has_counter and reading.energy_j is not None:
        return _with_counter(state, reading.at, reading.energy_j, reading.wraps_at_j, gate_w)
    return _without_counter(state, reading)


def finish(state: MeterState, at: Instant) -> tuple[MeterState, tuple[Event, ...]]:
    """Nothing comes after: book what was waited for, from power where there is any, else as a gap."""
    if state.booked_to is None or at.mono_s <= state.booked_to.mono_s:
        return state, ()
    return _fill(state, at, "no later reading")


def _last_seen(state: MeterState) -> float:
    seen = [p.at.mono_s for p in (state.anchor, state.power) if p is not None]
    return max(seen, default=-math.inf)


def _usable(value: float | None) -> bool:
    return value is not None and math.isfinite(value) and value >= 0


def _reason(reading: Reading) -> str:
    """A short stable label for the gap metric; the long text goes to health."""
    if reading.error is None:
        return "no counter"
    return "read failed"


def _note_power(state: MeterState, reading: Reading, gate_w: float) -> tuple[_Point | None, float, float]:
    """The last good power; and what it adds to what is not booked yet: joules, and the seconds that they cover."""
    power_w, last = reading.power_w, state.power
    if power_w is None or not _usable(power_w) or power_w > gate_w:
        return last, 0.0, 0.0
    now = _Point(reading.at, power_w)
    if last is None or state.booked_to is None:
        return now, 0.0, 0.0
    dt = now.at.mono_s - last.at.mono_s
    if dt <= 0 or dt > _longest_trapezoid_s(state):
        return now, 0.0, 0.0
    # Only the part after booked_to is still open.
    skip = max(0.0, state.booked_to.mono_s - last.at.mono_s)
    if skip >= dt:
        return now, 0.0, 0.0
    from_w = last.value + (power_w - last.value) * skip / dt
    open_s = dt - skip
    return now, (from_w + power_w) / 2 * open_s, open_s


def _longest_trapezoid_s(state: MeterState) -> float:
    """Two powers tell of the time between them if they are as far apart as this device's readings use to be."""
    if state.spacing_s is None:
        return GIVE_UP_S
    return max(HOLD_S, min(2 * state.spacing_s, GIVE_UP_S))


def _with_counter(
    state: MeterState, at: Instant, energy_j: float, wraps_at_j: float | None, gate_w: float
) -> tuple[MeterState, tuple[Event, ...]]:
    now = _Point(at, energy_j)
    if state.anchor is None:
        events: tuple[Event, ...] = ()
        if state.booked_to is not None:
            state, events = _fill(state, at, state.why)
        state = state._replace(anchor=now, booked_to=at, integral_j=0.0, covered_s=0.0)
        return state._replace(filled_j=0.0, falling_back=False, waited=False), events

    ceiling_j = gate_w * (at.mono_s - state.anchor.at.mono_s)
    difference_j = energy_j - state.anchor.value
    fell = difference_j < 0
    ranged = wraps_at_j is not None and _usable(wraps_at_j) and wraps_at_j > 0
    if ranged and wraps_at_j is not None:
        if fell:
            difference_j += wraps_at_j
        if difference_j >= 0 and difference_j + wraps_at_j <= ceiling_j:
            return _start_again(state, now, "wraps cannot be told apart")
    if difference_j < 0 or (fell and difference_j > ceiling_j):
        return _start_again(state, now, "counter reset")
    if difference_j > ceiling_j:
        dt_s = at.mono_s - state.anchor.at.mono_s
        if dt_s < SHORT_S and difference_j <= gate_w * (dt_s + UPDATE_S):
            return state._replace(waited=True), ()  # two of the counter's updates fell into one short beat
        return _start_again(state, now, "implausible jump")
    if difference_j == 0 and not _measured_zero(state, at):
        return _stands_still(state, at)
    if state.waited and not state.filled_j and _covered(state, at) and difference_j < CATCH_UP_SHARE * state.integral_j:
        # Reset while it could not be read, and since climbed past the anchor: power saw far more than it says.
        return _start_again(state, now, "counter reset")
    return _accept(state, now, difference_j)


def _covered(state: MeterState, at: Instant) -> bool:
    """Power was measured throughout what is not booked yet."""
    return state.booked_to is not None and state.covered_s >= (at.mono_s - state.booked_to.mono_s) * (1 - 1e-9)


def _measured_zero(state: MeterState, at: Instant) -> bool:
    """Power was measured throughout and was 0: a counter that stands still is then right."""
    return state.power is not None and state.integral_j == 0.0 and _covered(state, at)


def _accept(state: MeterState, now: _Point, difference_j: float) -> tuple[MeterState, tuple[Event, ...]]:
    assert state.booked_to is not None and state.anchor is not None
    # What was declared a gap has its energy after all, unless power was booked there.
    start = state.booked_to if state.filled_j else state.anchor.at
    open_s = now.at.mono_s - start.mono_s
    method = Method.ESTIMATED if state.estimated else Method.COUNTER
    if state.filled_j and difference_j < CATCH_UP_SHARE * state.filled_j:
        # The counter had stopped and lost that time: what it says is of the last moments alone.
        energy_j = state.integral_j if _covered(state, now.at) else difference_j
        debt_j = state.debt_j
    else:
        owed_j = state.filled_j + state.debt_j
        energy_j, debt_j = max(0.0, difference_j - owed_j), max(0.0, owed_j - difference_j)
    comparison = state.comparison
    if not state.filled_j and _covered(state, now.at):
        comparison = comparison.also(difference_j, state.integral_j, open_s)
    state = state._replace(
        anchor=now,
        booked_to=now.at,
        filled_j=0.0,
        falling_back=False,
        waited=False,
        debt_j=debt_j,
        integral_j=0.0,
        covered_s=0.0,
        mean_power_w=energy_j / open_s if open_s > 0 else state.mean_power_w,
        comparison=comparison,
    )
    return state, (IntervalEnergy(state.device, start, now.at, energy_j, method),)


def _start_again(state: MeterState, now: _Point, reason: str) -> tuple[MeterState, tuple[Event, ...]]:
    state, events = _fill(state, now.at, reason)
    return state._replace(anchor=now, filled_j=0.0, debt_j=0.0, falling_back=False, waited=False), events


def _stands_still(state: MeterState, at: Instant) -> tuple[MeterState, tuple[Event, ...]]:
    state = state._replace(waited=True)
    assert state.booked_to is not None
    if not state.falling_back and at.mono_s - state.booked_to.mono_s <= HOLD_S:
        return state, ()
    return _fill(state._replace(falling_back=True), at, "counter stands still")


def _without_counter(state: MeterState, reading: Reading) -> tuple[MeterState, tuple[Event, ...]]:
    at, has_power = reading.at, state.power is not None and state.power.at == reading.at
    if state.booked_to is None:
        return (state._replace(booked_to=at) if has_power else state), ()
    waited_s = at.mono_s - state.booked_to.mono_s
    if state.anchor is None:  # this device has no counter: power is its meter
        if has_power or waited_s > HOLD_S:
            return _fill(state, at, "late reading" if has_power else state.why)
        return state, ()
    if has_power and (state.falling_back or waited_s > HOLD_S):
        return _fill(state._replace(falling_back=True), at, state.why)
    if not has_power and at.mono_s - _last_seen(state) > GIVE_UP_S:
        return _fill(state._replace(falling_back=True), at, state.why)
    return state, ()


def _fill(state: MeterState, at: Instant, reason: str) -> tuple[MeterState, tuple[Event, ...]]:
    """Book everything up to at: measured power where it covers the time, a gap for the rest."""
    assert state.booked_to is not None
    start = state.booked_to
    open_s = at.mono_s - start.mono_s
    events: list[Event] = []
    if state.covered_s > 0:
        method = Method.ESTIMATED if state.estimated else Method.INTEGRATED
        events.append(IntervalEnergy(state.device, start, at, state.integral_j, method))
    missing_s = open_s - state.covered_s
    if missing_s > 1e-6:
        events.append(Gap(state.device, start, start.plus(missing_s), reason))
    # What was filled in before the anchor's successor comes is settled against it.
    filled_j = state.filled_j + (state.integral_j if state.covered_s > 0 else 0.0)
    power_w = state.integral_j / state.covered_s if state.covered_s > 0 else None
    return (
        state._replace(booked_to=at, integral_j=0.0, covered_s=0.0, filled_j=filled_j, mean_power_w=power_w),
        tuple(events),
    )
