"""The rules for a device's energy, case by case and as properties."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.energy import GATE_MARGIN, GIVE_UP_S, HOLD_S, Event, MeterState, advance, finish
from agent.model import Device, DeviceKind, Gap, Instant, IntervalEnergy, Method, Reading

GPU = Device(DeviceKind.GPU, "GPU-a")
CPU = Device(DeviceKind.CPU, "package-0")
RANGE_J = 262_143.328850  # RAPL on Intel servers: 2^32 units of 2^-14 J
WALL_S = 1_790_000_000.0


def at(mono_s: float) -> Instant:
    return Instant(mono_s, WALL_S + mono_s)


def gpu(mono_s: float, energy_j: float | None = None, power_w: float | None = None, **more: object) -> Reading:
    reading = Reading(GPU, at(mono_s), energy_j=energy_j, power_w=power_w, max_power_w=700.0)
    return replace(reading, **more)  # type: ignore[arg-type]  # a test's shorthand


def cpu(mono_s: float, energy_j: float | None) -> Reading:
    return Reading(CPU, at(mono_s), energy_j=energy_j, wraps_at_j=RANGE_J, max_power_w=400.0)


def failed(mono_s: float, device: Device = GPU) -> Reading:
    return Reading(device, at(mono_s), error="timeout")


def run(readings: Iterable[Reading], *, end: bool = False) -> list[Event]:
    events: list[Event] = []
    state: MeterState | None = None
    last: Reading | None = None
    for last in readings:
        state, found = advance(state or MeterState(last.device), last)
        events.extend(found)
    if end and state is not None and last is not None:
        events.extend(finish(state, last.at)[1])
    return events


def joules(events: Sequence[Event]) -> float:
    return sum(e.energy_j for e in events if isinstance(e, IntervalEnergy))


def gap_s(events: Sequence[Event]) -> float:
    return sum(e.end.mono_s - e.start.mono_s for e in events if isinstance(e, Gap))


def reasons(events: Sequence[Event]) -> list[str]:
    return [e.reason for e in events if isinstance(e, Gap)]


def test_a_steady_counter_gives_its_differences() -> None:
    events = run([gpu(t, 1000 + 300.0 * t, 300.0) for t in range(11)])
    assert joules(events) == pytest.approx(3000.0)
    assert {e.method for e in events if isinstance(e, IntervalEnergy)} == {Method.COUNTER}
    assert not reasons(events)


def test_the_first_reading_is_history_and_gives_no_energy() -> None:
    assert run([gpu(0.0, 5e9, 300.0)]) == []


@pytest.mark.parametrize("after", [0.0, 120.0, 900.0])
def test_a_gpu_counter_reset_is_filled_from_measured_power(after: float) -> None:
    events = run([gpu(0, 1000.0, 300.0), gpu(1, 1300.0, 300.0), gpu(2, after, 300.0), gpu(3, after + 300, 300.0)])
    assert joules(events) == pytest.approx(900.0)
    assert events[1] == IntervalEnergy(GPU, at(1), at(2), 300.0, Method.INTEGRATED)
    assert not reasons(events)


def test_a_rapl_reset_is_a_gap_and_not_a_quarter_of_a_megajoule() -> None:
    events = run([cpu(0, 100.0), cpu(1, 150.0), cpu(2, 0.0), cpu(3, 50.0), cpu(4, 100.0)])
    assert joules(events) == pytest.approx(150.0)
    assert reasons(events) == ["counter reset"]
    assert gap_s(events) == pytest.approx(1.0)


def test_a_rapl_wrap_is_followed() -> None:
    events = run([cpu(0, RANGE_J - 60), cpu(1, RANGE_J - 10), cpu(2, 40.0), cpu(3, 90.0)])
    assert joules(events) == pytest.approx(150.0)
    assert not reasons(events)


def test_wraps_that_cannot_be_told_apart_are_a_gap_and_not_a_guess() -> None:
    # 600 s at up to 500 W are 300 kJ: one wrap more or less would fit as well.
    events = run([cpu(0, 1000.0), cpu(600.0, 2000.0), cpu(601.0, 2050.0)])
    assert reasons(events) == ["wraps cannot be told apart"]
    assert joules(events) == pytest.approx(50.0)


@pytest.mark.parametrize("count", [1, 5, 55])
def test_the_reading_after_failed_ones_carries_their_energy(count: int) -> None:
    holes = [failed(t) for t in range(1, count + 1)]
    events = run([gpu(0, 0.0, 300.0), *holes, gpu(count + 1, 300.0 * (count + 1), 300.0)])
    assert joules(events) == pytest.approx(300.0 * (count + 1))
    assert not reasons(events)


def test_a_device_that_stays_away_becomes_a_gap_as_time_passes() -> None:
    events = run([gpu(0, 0.0, 300.0), *(failed(t) for t in range(1, 121))])
    assert joules(events) == 0.0
    assert gap_s(events) == pytest.approx(120.0)
    assert set(reasons(events)) == {"read failed"}


def test_energy_of_a_long_absence_is_booked_when_the_counter_comes_back() -> None:
    holes = [failed(t) for t in range(1, 200)]
    assert joules(run([gpu(0, 0.0), *holes, gpu(200, 60_000.0)])) == pytest.approx(60_000.0)


def test_a_counter_that_stands_still_while_power_flows_is_replaced_by_power() -> None:
    events = run([gpu(t, 500.0, 200.0) for t in range(61)], end=True)
    assert joules(events) == pytest.approx(200.0 * 60)
    assert {e.method for e in events if isinstance(e, IntervalEnergy)} == {Method.INTEGRATED}


def test_a_counter_that_catches_up_is_not_counted_twice() -> None:
    stuck = [gpu(t, 0.0, 200.0) for t in range(31)]
    events = run([*stuck, gpu(31, 200.0 * 31, 200.0), gpu(32, 200.0 * 32, 200.0)])
    assert joules(events) == pytest.approx(200.0 * 32)


def test_a_counter_that_lost_the_time_it_stood_still_loses_no_joule() -> None:
    stuck = [gpu(t, 0.0, 200.0) for t in range(31)]
    events = run([*stuck, gpu(31, 200.0, 200.0), gpu(32, 400.0, 200.0)])
    assert joules(events) == pytest.approx(200.0 * 32)


def test_what_power_overstated_while_the_counter_was_silent_is_taken_off_again() -> None:
    stuck = [gpu(t, 0.0, 210.0) for t in range(31)]  # the sensor reads 5% high
    later = [gpu(t, 200.0 * t, 210.0) for t in range(31, 40)]
    assert joules(run([*stuck, *later])) == pytest.approx(200.0 * 39)


def test_a_short_wait_for_a_counter_costs_nothing_but_delay() -> None:
    slow = [gpu(t, 600.0 * (t // 3), 200.0) for t in range(31)]  # moves every third second
    events = run(slow)
    assert joules(events) == pytest.approx(6000.0)
    assert {e.method for e in events if isinstance(e, IntervalEnergy)} == {Method.COUNTER}


def test_a_counter_that_rises_impossibly_is_refused() -> None:
    limit_j = 700 * GATE_MARGIN
    within = run([gpu(0, 0.0, 300.0), gpu(1, limit_j * 0.999, 300.0)])
    beyond = run([gpu(0, 0.0, 300.0), gpu(1, limit_j * 1.001, 300.0)])
    assert joules(within) == pytest.approx(limit_j * 0.999)
    assert joules(beyond) == pytest.approx(300.0)  # what power says


@pytest.mark.parametrize("beat_s", [0.1, 0.15, 0.25])
def test_a_short_beat_that_holds_two_updates_of_the_counter_loses_nothing(beat_s: float) -> None:
    update_s, watts = 0.09, 690.0  # the counter moves in steps, at nearly the limit of 700 W
    steps = [math.floor(k * beat_s / update_s + 1e-9) for k in range(400)]
    events = run([gpu(k * beat_s, watts * update_s * n) for k, n in enumerate(steps)])
    assert joules(events) == pytest.approx(watts * update_s * steps[-1], abs=watts * 2 * beat_s)
    assert not reasons(events)


def test_a_late_tick_takes_the_whole_difference() -> None:
    events = run([gpu(0, 0.0, 300.0), gpu(3600.0, 3600 * 300.0, 300.0)])
    assert joules(events) == pytest.approx(3600 * 300.0)


def test_power_alone_is_integrated_by_the_trapezoid_rule() -> None:
    events = run([gpu(0, None, 100.0), gpu(1, None, 300.0), gpu(3, None, 300.0)])
    assert joules(events) == pytest.approx(200.0 + 600.0)
    assert {e.method for e in events if isinstance(e, IntervalEnergy)} == {Method.INTEGRATED}


def test_power_is_not_integrated_over_a_suspended_machine() -> None:
    events = run([gpu(0, None, 300.0), gpu(1, None, 300.0), gpu(3601.0, None, 300.0), gpu(3602.0, None, 300.0)])
    assert joules(events) == pytest.approx(600.0)
    assert gap_s(events) == pytest.approx(3600.0)
    assert reasons(events) == ["late reading"]


@pytest.mark.parametrize("beat_s", [15.0, 30.0])
def test_a_slow_rhythm_is_integrated_at_its_own_pace(beat_s: float) -> None:
    events = run([gpu(beat_s * k, None, 200.0) for k in range(11)])
    assert joules(events) == pytest.approx(200.0 * 10 * beat_s)
    assert not reasons(events)


def test_no_rhythm_makes_an_hour_measurable_by_two_powers() -> None:
    events = run([gpu(3600.0 * k, None, 200.0) for k in range(4)])
    assert joules(events) == 0.0
    assert gap_s(events) == pytest.approx(3 * 3600.0)


def test_a_short_hole_in_power_is_a_coarser_sample() -> None:
    events = run([gpu(0, None, 100.0), failed(1), gpu(2, None, 100.0)])
    assert joules(events) == pytest.approx(200.0)


def test_a_reset_that_nobody_saw_is_told_by_the_power_of_the_meantime() -> None:
    unread = [gpu(t, None, 600.0) for t in (1, 2, 3)]
    events = run([gpu(0, 100.0, 600.0), *unread, gpu(4, 700.0, 600.0), gpu(5, 1300.0, 600.0)])
    assert joules(events) == pytest.approx(3000.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, -1.0])
def test_a_value_that_is_no_energy_is_a_failed_read(bad: float) -> None:
    events = run([gpu(0, 0.0, 300.0), gpu(1, bad, bad), gpu(2, 600.0, 300.0)])
    assert joules(events) == pytest.approx(600.0)


def test_an_impossible_power_is_not_integrated() -> None:
    events = run([gpu(0, None, 100.0), gpu(1, None, 1e6), gpu(2, None, 100.0)])
    assert joules(events) == pytest.approx(200.0)


def test_an_idle_counter_at_measured_zero_watts_is_believed() -> None:
    events = run([gpu(t, 5.0, 0.0) for t in range(31)])
    assert joules(events) == 0.0
    assert not reasons(events)
    assert {e.method for e in events if isinstance(e, IntervalEnergy)} == {Method.COUNTER}


def test_a_counter_that_stands_still_with_nothing_else_known_is_a_gap() -> None:
    events = run([cpu(t, 5.0) for t in range(31)])
    assert joules(events) == 0.0
    assert set(reasons(events)) == {"counter stands still"}


def test_a_reading_of_an_earlier_moment_changes_nothing() -> None:
    events = run([gpu(5, 0.0), gpu(6, 100.0), gpu(5.5, 50.0), gpu(7, 200.0)])
    assert joules(events) == pytest.approx(200.0)


def test_an_estimate_is_called_one() -> None:
    readings = [gpu(t, 50.0 * t, 50.0, estimated=True) for t in range(5)]
    assert {e.method for e in run(readings) if isinstance(e, IntervalEnergy)} == {Method.ESTIMATED}


def test_an_estimate_that_fails_for_a_moment_is_still_one() -> None:
    state, _ = advance(MeterState(GPU), gpu(0, 0.0, 50.0, estimated=True))
    state, _ = advance(state, failed(1))
    assert state.method is Method.ESTIMATED


def test_counter_and_power_are_compared_over_ten_seconds_and_more() -> None:
    state = MeterState(GPU)
    for t in range(9):
        state, _ = advance(state, gpu(t, 95.0 * t, 100.0))
    assert state.ratio is None
    for t in range(9, 20):
        state, _ = advance(state, gpu(t, 95.0 * t, 100.0))
    assert state.ratio == pytest.approx(0.95)


def test_the_ratio_forgets_what_the_sensor_said_minutes_ago() -> None:
    state, energy_j = MeterState(GPU), 0.0
    for t in range(400):
        energy_j += 50.0 if t < 200 else 100.0
        state, _ = advance(state, gpu(t, energy_j, 100.0))
    assert state.ratio == pytest.approx(1.0)


def test_power_that_filled_in_for_the_counter_is_not_compared_with_it() -> None:
    state = MeterState(GPU)
    for t in range(31):
        state, _ = advance(state, gpu(t, 0.0, 100.0))  # it stands still ...
    for t in range(31, 61):
        state, _ = advance(state, gpu(t, 100.0 * t, 100.0))  # ... and catches up
    assert state.ratio == pytest.approx(1.0)


def test_an_interval_may_have_begun_under_a_higher_limit() -> None:
    events = run([gpu(0, 0.0), gpu(1, 690.0, max_power_w=300.0), gpu(2, 990.0, max_power_w=300.0)])
    assert joules(events) == pytest.approx(990.0)
    assert not reasons(events)


def test_the_end_books_what_was_waited_for() -> None:
    events = run([gpu(0, 0.0, 100.0), gpu(1, 100.0, 100.0), gpu(2, None, 100.0), gpu(3, None, 100.0)], end=True)
    assert joules(events) == pytest.approx(300.0)


# -- properties

ticks = st.lists(
    st.tuples(
        st.floats(0.2, 4.0),  # seconds
        st.floats(5.0, 600.0),  # watts, constant over them
        st.sampled_from(["good", "good", "good", "error", "nan", "negative", "no counter", "no power", "absent"]),
    ),
    min_size=2,
    max_size=80,
)


def spoiled(mono_s: float, energy_j: float, power_w: float, how: str) -> Reading | None:
    good = gpu(mono_s, energy_j, power_w)
    return {
        "good": good,
        "error": failed(mono_s),
        "nan": replace(good, energy_j=math.nan, power_w=None),
        "negative": replace(good, energy_j=-5.0, power_w=-1.0),
        "no counter": replace(good, energy_j=None, power_w=None),
        "no power": replace(good, power_w=None),
        "absent": None,
    }[how]


@given(ticks)
def test_no_sequence_of_bad_readings_adds_or_loses_a_joule(steps: list[tuple[float, float, str]]) -> None:
    mono_s, truth_j = 10.0, 0.0
    readings = [gpu(mono_s, truth_j)]
    for seconds, watts, how in steps:
        mono_s, truth_j = mono_s + seconds, truth_j + seconds * watts
        reading = spoiled(mono_s, truth_j, watts, how)
        readings.extend([reading] if reading is not None else [])
    readings.append(gpu(mono_s + 1, truth_j + 100))
    # Without power nothing is filled in, so that the counter alone decides.
    silent = [replace(r, power_w=None) for r in readings]
    assert joules(run(silent)) == pytest.approx(truth_j + 100, rel=1e-9)


@given(st.lists(st.tuples(st.floats(0.5, 2.0), st.floats(5.0, 350.0)), min_size=1, max_size=60), st.floats(0.0, 1.0))
def test_a_wrapping_counter_tells_the_same_as_one_that_does_not(steps: list[tuple[float, float]], start: float) -> None:
    range_j, mono_s, total_j = 2_000.0, 0.0, start * 1_999.0
    plain, wrapping = [cpu(0.0, total_j)], [cpu(0.0, total_j % range_j)]
    for seconds, watts in steps:
        mono_s, total_j = mono_s + seconds, total_j + seconds * watts
        plain.append(replace(cpu(mono_s, total_j), wraps_at_j=None))
        wrapping.append(replace(cpu(mono_s, total_j % range_j), wraps_at_j=range_j))
    assert joules(run(wrapping)) == pytest.approx(joules(run(plain)), rel=1e-9, abs=1e-6)


@given(
    st.lists(
        st.tuples(
            st.floats(0.1, 5.0),
            st.one_of(st.none(), st.floats(0, 1e6)),
            st.one_of(st.none(), st.floats(0, 2000)),
            st.booleans(),
        ),
        max_size=60,
    )
)
def test_whatever_a_device_says_its_energy_is_possible(
    steps: list[tuple[float, float | None, float | None, bool]],
) -> None:
    """Resets, jumps, noise: never negative, and over the whole never more than the gate lets through."""
    mono_s, readings = 0.0, [gpu(0.0, 0.0, 0.0)]
    for seconds, energy_j, power_w, fails in steps:
        mono_s += seconds
        readings.append(failed(mono_s) if fails else gpu(mono_s, energy_j, power_w))
    events = run(readings, end=True)
    assert all(e.energy_j >= 0 for e in events if isinstance(e, IntervalEnergy))
    assert joules(events) <= 700 * GATE_MARGIN * mono_s * (1 + 1e-9) + 1e-6
    covered = sum(e.end.mono_s - e.start.mono_s for e in events if isinstance(e, IntervalEnergy))
    assert covered <= mono_s + 1e-6


def test_the_waiting_times_are_in_order() -> None:
    assert HOLD_S < GIVE_UP_S
