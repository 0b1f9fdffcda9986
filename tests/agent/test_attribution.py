"""Splits that lose nothing, and the cut between work and idle."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.attribution import Floor, cut, phase_weights, split
from agent.busy import Power
from agent.model import Device, DeviceKind, Instant, IntervalEnergy, Method, ModelWork, Use, Work

GPU = Device(DeviceKind.GPU, "GPU-a")


def at(mono_s: float) -> Instant:
    return Instant(mono_s, 1_790_000_000.0 + mono_s)


def watts(*powers: float, start_s: float = 0.0, step_s: float = 1.0) -> list[IntervalEnergy]:
    """One interval per power."""
    return [
        IntervalEnergy(GPU, at(start_s + i * step_s), at(start_s + (i + 1) * step_s), p * step_s, Method.COUNTER)
        for i, p in enumerate(powers)
    ]


def work(a: float, b: float, running: tuple[float | None, float | None], tokens: float = 0.0) -> Work:
    return Work("e", at(a), at(b), {"m": ModelWork(0.0, 0.0, tokens)}, *running)


@given(
    st.floats(0, 1e12),
    st.dictionaries(st.text(max_size=3), st.floats(0, 1e9, allow_subnormal=False), min_size=1, max_size=8),
)
def test_a_split_loses_nothing_and_gives_nobody_less_than_nothing(energy_j: float, weights: dict[str, float]) -> None:
    parts = split(energy_j, weights)
    assert set(parts) == set(weights)
    assert sum(parts.values()) == pytest.approx(energy_j, rel=1e-12)
    assert all(p >= 0 for p in parts.values())
    if any(weights.values()):
        assert all(parts[k] == 0 for k, w in weights.items() if w == 0)


def test_a_split_follows_the_weights() -> None:
    assert split(100.0, {"a": 1.0, "b": 3.0}) == {"a": 25.0, "b": 75.0}
    assert split(100.0, {"a": 0.0, "b": 0.0}) == {"a": 50.0, "b": 50.0}


def test_energy_without_an_owner_is_refused() -> None:
    with pytest.raises(ValueError, match="without an owner"):
        split(1.0, {})


def test_cached_prompt_tokens_weigh_nothing() -> None:
    done = Work("e", at(0), at(1), {"m": ModelWork(1000.0, 5000.0, 80.0)}, 1, 1)
    assert phase_weights([done], 0.12) == {("e", "m", Use.PREFILL): 120.0, ("e", "m", Use.DECODE): 80.0}


def test_time_with_requests_running_is_work_floor_included() -> None:
    seen = cut(watts(300, 300), {"e": [work(0, 2, (1, 2), 50)]}, 0, 2, Floor(idle_w=100))
    assert (seen.work_j, seen.idle_j, seen.busy_share) == (600, 0, 1)


def test_time_without_requests_is_idle_and_teaches_the_floor() -> None:
    seen = cut(watts(90, 90), {"e": [work(0, 2, (0, 0))]}, 0, 2, Floor())
    assert (seen.work_j, seen.idle_j, seen.busy_share) == (0, 180, 0)
    assert seen.idle_w == pytest.approx(90)


def test_a_mixed_interval_is_cut_by_the_floor_and_the_time_each_took() -> None:
    # Two seconds of work, three of loaded idle, the request seen at neither end.
    seen = cut(watts(100, 400, 400, 100, 100), {"e": [work(0, 5, (0, 0), 60)]}, 0, 5, Floor(idle_w=100, busy_w=400))
    assert seen.busy_s == pytest.approx(2.0)
    assert seen.idle_j == pytest.approx(300.0)
    assert seen.work_j == pytest.approx(800.0)


@pytest.mark.parametrize("running", [(1, 0), (None, None), (None, 1)])
def test_a_mixed_interval_is_work_where_no_floor_was_ever_seen(running: tuple[float | None, float | None]) -> None:
    seen = cut(watts(100, 400), {"e": [work(0, 2, running, 5)]}, 0, 2, Floor())
    assert (seen.work_j, seen.idle_j) == (500, 0)


@pytest.mark.parametrize("powers", [(100, 400, 400), (400, 400, 100), (100, 400, 100)])
def test_the_power_beside_a_sample_with_nothing_running_is_a_floor_for_want_of_a_better(powers: list[float]) -> None:
    running = (0 if powers[0] == 100 else 1, 0 if powers[-1] == 100 else 1)
    seen = cut(watts(*powers), {"e": [work(0, 3, running, 5)]}, 0, 3, Floor())
    assert seen.idle_j == pytest.approx(100.0 * powers.count(100))
    assert seen.idle_w is None  # too short a look to learn from


def test_what_a_device_told_too_late_is_cut_by_its_power_and_not_by_what_runs_now() -> None:
    """100 s of which 70 were work, told when nothing runs any more."""
    late = watts((70 * 500 + 30 * 90) / 100, step_s=100.0)
    now = watts(90, 90, start_s=100.0)
    seen = cut([*late, *now], {"e": [work(100, 102, (0, 0))]}, 100, 102, Floor(idle_w=90, busy_w=500))
    assert seen.work_j == pytest.approx(70 * 500)
    assert seen.idle_j == pytest.approx(32 * 90)
    assert (seen.idle_w, seen.busy_w) == (90, None)


@pytest.mark.parametrize("running", [0, 1])
def test_late_energy_before_any_floor_was_seen_goes_with_what_runs_now(running: int) -> None:
    works = {"e": [work(50, 52, (running, running))]}
    seen = cut([*watts(500, step_s=50.0), *watts(500, 500, start_s=50.0)], works, 50, 52, Floor())
    assert (seen.work_j, seen.idle_j) == ((26_000, 0) if running else (0, 26_000))
    assert (seen.busy_w, seen.idle_w) == ((500, None) if running else (None, 500))


def test_late_energy_that_never_left_the_floor_is_idle_though_requests_run_now() -> None:
    works = {"e": [work(50, 52, (1, 1), 9)]}
    seen = cut([*watts(91, step_s=50.0), *watts(500, 500, start_s=50.0)], works, 50, 52, Floor(idle_w=90))
    assert (seen.work_j, seen.idle_j) == (1000, 91 * 50)
    assert seen.busy_w == 500


def test_a_request_that_had_only_just_come_leaves_the_time_before_it_idle() -> None:
    floor = Floor(idle_w=100)
    came = cut(watts(100, 100), {"e": [work(0, 2, (0, 3))]}, 0, 2, floor)
    booked = cut(watts(100, 100), {"e": [work(0, 2, (0, 0), 5)]}, 0, 2, floor)
    assert (came.work_j, came.idle_j) == (0, 200)
    assert (booked.work_j, booked.idle_j) == (200, 0)


def test_samples_inside_the_interval_tell_busy_from_idle() -> None:
    works = {"e": [work(0, 2, (1, 1), 9), work(2, 4, (0, 0))]}
    seen = cut(watts(400, 400, 90, 90), works, 0, 4, Floor(idle_w=90))
    assert (seen.work_j, seen.idle_j) == (800, 180)


def test_a_group_works_while_any_of_its_engines_does() -> None:
    works = {"a": [work(0, 2, (1, 1), 9)], "b": [work(0, 2, (0, 0))]}
    seen = cut(watts(400, 400), works, 0, 2, Floor(idle_w=90))
    assert (seen.work_j, seen.idle_j) == (800, 0)


def test_an_engine_that_does_not_say_what_runs_works_when_tokens_come() -> None:
    assert cut(watts(400), {"e": [work(0, 1, (None, None), 5)]}, 0, 1, Floor()).work_j == 400
    assert cut(watts(90), {"e": [work(0, 1, (None, None), 0)]}, 0, 1, Floor()).idle_j == 90


def test_a_floor_is_not_learned_from_half_covered_time() -> None:
    seen = cut(watts(90), {"e": [work(0, 5, (0, 0))]}, 0, 5, Floor())
    assert seen.idle_w is None
    assert seen.idle_j == 90


def test_the_floor_follows_downwards_faster_than_upwards() -> None:
    floor = Floor(idle_w=100.0)
    assert floor.learn(idle_w=60.0).idle_w == pytest.approx(80.0)
    assert floor.learn(idle_w=500.0).idle_w == pytest.approx(140.0)


@given(
    st.lists(st.floats(0, 700), min_size=1, max_size=20),
    st.lists(st.tuples(st.sampled_from([0.0, 1.0, None]), st.floats(0, 100)), min_size=1, max_size=6),
    st.one_of(st.none(), st.floats(0, 500)),
    st.one_of(st.none(), st.floats(0, 700)),
)
def test_a_cut_keeps_every_joule(
    powers: list[float], samples: list[tuple[float | None, float]], idle_w: float | None, busy_w: float | None
) -> None:
    end_s, edges = float(len(powers)), len(samples)
    works = [
        work(end_s * i / edges, end_s * (i + 1) / edges, (running, running), tokens)
        for i, (running, tokens) in enumerate(samples)
    ]
    seen = cut(watts(*powers), {"e": works}, 0, end_s, Floor(idle_w, busy_w))
    assert seen.work_j + seen.idle_j == pytest.approx(sum(powers), rel=1e-9, abs=1e-9)
    assert seen.work_j >= -1e-9
    assert seen.idle_j >= -1e-9
    assert -1e-9 <= seen.busy_s <= end_s + 1e-9


def served(a: float, b: float, running: tuple[float, float], requests: float, inference_s: float) -> Work:
    done = ModelWork(700.0, 0.0, 160.0, {"stop": requests}, None, requests, inference_s)
    return Work("e", at(a), at(b), {"m": done}, *running)


def test_a_request_shorter_than_a_reading_took_what_its_engine_says() -> None:
    """400 W for 0.2 s in one reading of 100 W: no power ever showed 400 W."""
    works = {"e": [served(0, 5, (0, 0), 1, 0.2)]}
    seen = cut(watts(100, 100, 160, 100, 100), works, 0, 5, Floor(idle_w=100, peak_w=160))
    assert seen.busy_s == pytest.approx(0.2)
    assert seen.work_j == pytest.approx(0.2 * 400)
    assert seen.busy_var_s2 == 0


def test_what_served_requests_draw_is_learned_and_tells_the_time_of_others() -> None:
    works = {"e": [served(0, 5, (0, 0), 1, 0.2)]}
    floor = Floor(idle_w=100)
    for _ in range(20):
        seen = cut(watts(100, 100, 160, 100, 100), works, 0, 5, floor)
        floor = floor.learn(idle_w=seen.idle_w, peak_w=seen.peak_w, power=seen.power)
    assert floor.power.above_w(100) == pytest.approx(300)
    came = {"e": [work(0, 5, (0, 1), 9)]}
    late = cut(watts(100, 100, 100, 100, 160), came, 0, 5, floor)
    assert late.busy_s == pytest.approx(0.2)
    assert late.busy_var_s2 > 0


def test_short_requests_at_both_ends_leave_a_pause_that_no_reading_shows() -> None:
    power = Power(energy_j=100.0 * 500 + 300.0 * 200, time_s=500.0, told_s=200.0, cover_s=200.0)
    floor = Floor(idle_w=100, power=power)
    short = cut(watts(250, 250, 250, 250, 250), {"e": [served(0, 5, (1, 1), 15, 3.0)]}, 0, 5, floor)
    assert short.busy_s == pytest.approx(2.5)
    long = cut(watts(250, 250, 250, 250, 250), {"e": [served(0, 5, (1, 1), 1, 30.0)]}, 0, 5, floor)
    assert long.busy_s == 5


@given(
    st.lists(st.floats(0, 700), min_size=1, max_size=8),
    st.lists(
        st.tuples(st.sampled_from([0.0, 1.0]), st.floats(0, 100), st.one_of(st.none(), st.floats(0, 60))),
        min_size=1,
        max_size=6,
    ),
    st.one_of(st.none(), st.floats(0, 500)),
    st.floats(0, 1e5),
)
def test_a_cut_by_told_seconds_keeps_every_joule(
    powers: list[float],
    samples: list[tuple[float, float, float | None]],
    idle_w: float | None,
    energy_j: float,
) -> None:
    end_s, edges = float(len(powers)), len(samples)
    works = []
    for i, (running, requests, seconds) in enumerate(samples):
        done = ModelWork(9.0, 0.0, 9.0, {"stop": requests}, None, None, seconds)
        ends = (at(end_s * i / edges), at(end_s * (i + 1) / edges))
        works.append(Work("e", *ends, {"m": done}, running, running))
    floor = Floor(idle_w, power=Power(energy_j, 100.0, 60.0, 50.0, 9.0, 12.0))
    seen = cut(watts(*powers), {"e": works}, 0, end_s, floor)
    assert seen.work_j + seen.idle_j == pytest.approx(sum(powers), rel=1e-9, abs=1e-6)
    assert seen.work_j >= -1e-9
    assert seen.idle_j >= -1e-9
    assert -1e-9 <= seen.busy_s <= end_s + 1e-9
