"""Cuts in time lose nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model import Device, DeviceKind, Instant, IntervalEnergy, Method, ModelWork, Work
from agent.timeline import between, by_wall, take, take_work

GPU = Device(DeviceKind.GPU, "g")
lengths = st.lists(st.tuples(st.floats(0.01, 100), st.floats(0, 1e6)), max_size=20)


def intervals(parts: list[tuple[float, float]]) -> list[IntervalEnergy]:
    out, at_s = [], 0.0
    for seconds, joules in parts:
        a, b = Instant(at_s, 1e9 + at_s), Instant(at_s + seconds, 1e9 + at_s + seconds)
        out.append(IntervalEnergy(GPU, a, b, joules, Method.COUNTER))
        at_s += seconds
    return out


@given(lengths, st.floats(-1, 2100))
def test_a_cut_keeps_every_joule_on_its_side(parts: list[tuple[float, float]], until_s: float) -> None:
    before, after = take(intervals(parts), until_s)
    total = sum(j for _, j in parts)
    assert sum(i.energy_j for i in (*before, *after)) == pytest.approx(total, rel=1e-9, abs=1e-9)
    assert all(i.end.mono_s <= until_s for i in before)
    assert all(i.start.mono_s >= until_s for i in after)


def test_a_cut_is_in_proportion_to_time() -> None:
    before, after = take(intervals([(10.0, 100.0)]), 2.5)
    assert (before[0].energy_j, after[0].energy_j) == (25.0, 75.0)
    assert before[0].end == after[0].start == Instant(2.5, 1e9 + 2.5)


def test_work_is_cut_alike_and_what_is_not_counted_stays_so() -> None:
    done = Work("e", Instant(0, 0), Instant(10, 10), {"m": ModelWork(40.0, None, 20.0, {"stop": 2.0})}, 1, 0)
    (before,), (after,) = take_work([done], 7.5)
    assert before.models["m"] == ModelWork(30.0, None, 15.0, {"stop": 1.5})
    assert after.models["m"] == ModelWork(10.0, None, 5.0, {"stop": 0.5})
    assert (before.running_start, after.running_end) == (1, 0)


def test_an_instant_between_follows_both_clocks() -> None:
    # The wall clock ran at another pace, as it does while it is slewed.
    assert between(Instant(0, 100), Instant(10, 110.5), 5.0) == Instant(5.0, 105.25)


def test_a_wall_clock_that_was_set_in_between_makes_the_time_no_longer() -> None:
    assert between(Instant(0, 100), Instant(10, 900_000), 5.0) == Instant(5.0, 899_995.0)
    assert by_wall(Instant(0, 100), Instant(10, 40)) == (30.0, 40.0)
