"""For how long requests were served, where no sample saw them."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.busy import Power, Served, all_told, by_both, by_power, cover, power_of, served_of
from agent.model import Instant, ModelWork, Work

ROUNDING_S = 1e-12

served = st.builds(Served, st.floats(0, 1000), st.floats(1, 200))
times = st.floats(0.1, 100)


def work(model: ModelWork, running: float = 0.0) -> Work:
    return Work("e", Instant(0, 0), Instant(5, 5), {"m": model}, 0.0, running)


def covered_s(n: int, each_s: float, time_s: float, rng: random.Random) -> float:
    end_s = total_s = 0.0
    for start_s in sorted(rng.uniform(0, time_s - each_s) for _ in range(n)):
        total_s += max(0.0, start_s + each_s - max(start_s, end_s))
        end_s = max(end_s, start_s + each_s)
    return total_s


@pytest.mark.parametrize(("n", "each_s"), [(1, 0.3), (1, 4.0), (2, 0.3), (4, 1.2), (4, 3.0), (15, 0.2), (6, 4.9)])
def test_requests_that_come_by_chance_cover_what_the_formula_says(n: int, each_s: float) -> None:
    rng = random.Random(1)
    mean_s = sum(covered_s(n, each_s, 5.0, rng) for _ in range(2000)) / 2000
    assert cover(Served(n * each_s, n), 5.0) == pytest.approx(mean_s, rel=0.02)


@given(served, times)
def test_requests_cover_no_more_than_they_took_nor_than_there_was(told: Served, time_s: float) -> None:
    assert 0 <= cover(told, time_s) <= min(time_s, told.seconds) * (1 + 1e-9)
    assert cover(told, time_s) >= min(time_s, told.mean_s) * (1 - 1e-6) - ROUNDING_S


@given(served, times, st.floats(0, 1e5), st.floats(0, 500), st.floats(0, 1e5), st.floats(0, 100))
def test_with_the_power_too_the_bounds_hold(
    told: Served, time_s: float, above_j: float, idle_w: float, energy_j: float, ran: float
) -> None:
    power = Power().plus(Power(energy_j, time_s, told.seconds, cover(told, time_s), 1.0, ran))
    active_s, var_s2 = by_both(told, time_s, above_j, power, idle_w)
    assert min(time_s, told.mean_s) * (1 - 1e-6) - ROUNDING_S <= active_s <= min(time_s, told.seconds) * (1 + 1e-9)
    assert var_s2 >= 0


def test_one_request_took_what_it_took_whatever_the_power_says() -> None:
    power = Power(energy_j=2000.0, time_s=10.0, told_s=5.0, cover_s=5.0)
    active_s, var_s2 = by_both(Served(0.4, 1), 5.0, 900.0, power, 100.0)
    assert active_s == pytest.approx(0.4)
    assert var_s2 == 0


def test_energy_tells_how_much_several_requests_overlapped() -> None:
    power = Power(energy_j=100.0 * 100 + 300.0 * 20, time_s=100.0, told_s=20.0, cover_s=20.0)
    assert power.above_w(100.0) == pytest.approx(300.0)
    little, much = (by_both(Served(6.0, 3), 5.0, 300.0 * s, power, 100.0)[0] for s in (2.5, 4.5))
    assert 2.0 <= little < much <= 5.0


def test_the_power_is_not_known_without_a_floor_or_above_it() -> None:
    power = Power(energy_j=1000.0, time_s=10.0, told_s=5.0, cover_s=5.0)
    assert power.above_w(None) is None
    assert power.above_w(100.0) is None  # all of it is floor
    assert Power().above_w(50.0) is None


@pytest.mark.parametrize("crowd", [1, 3])
def test_how_many_run_at_the_samples_tells_how_much_requests_overlap(crowd: int) -> None:
    """300 W above a floor of 100 W for 4 s in 5, with one request after the other, or always three at once."""
    power = Power()
    for _ in range(200):
        told = Served(4.0 * crowd, 8 * crowd)
        power = power.plus(power_of(told, 5.0, 100 * 5 + 300 * 4.0, [work(ModelWork(), running=crowd)]))
    assert power.crowd == pytest.approx(crowd, rel=0.1)
    assert power.above_w(100.0) == pytest.approx(300.0, rel=0.1)


def test_what_was_long_ago_counts_less() -> None:
    power = Power(energy_j=1e6, time_s=100.0, told_s=100.0, cover_s=100.0)
    for _ in range(1000):
        power = power.plus(Power(200.0 * 5 + 100.0 * 5, 5.0, 5.0, 5.0, 1.0, 1.0))
    assert power.above_w(100.0) == pytest.approx(200.0, rel=0.01)
    assert power.cover_s < 1000


def test_seconds_are_those_of_all_models_and_engines() -> None:
    a = work(ModelWork(10.0, 0.0, 5.0, {"stop": 2.0}, inference_s=0.5))
    b = work(ModelWork(10.0, 0.0, 5.0, {}, first_tokens=1.0, inference_s=0.25))
    assert served_of([a, b, None, work(ModelWork())]) == Served(0.75, 3.0)
    assert served_of([a, work(ModelWork(10.0, 0.0, 5.0))]) is None
    assert served_of([work(ModelWork(10.0, 0.0, 5.0, inference_s=0.2))]) == Served(0.2, 2.0)


def test_requests_that_were_given_up_leave_their_seconds_untold() -> None:
    assert all_told([work(ModelWork(9.0, 0.0, 5.0, {"stop": 2.0}, None, 2.0, 0.5)), work(ModelWork())])
    assert not all_told([work(ModelWork(9.0, 0.0, 5.0, {"stop": 2.0}, None, 3.0, 0.5))])
    assert not all_told([work(ModelWork(9.0, 0.0, 5.0, {}, None, None, 0.0))])


def test_pieces_at_the_floor_are_no_work() -> None:
    assert by_power([(1.0, 100.0), (1.0, 250.0), (1.0, 101.0)], 100.0, 300.0) == pytest.approx(0.5)
    assert by_power([(1.0, 100.0), (1.0, 900.0)], 100.0, 300.0) == 1.0
