"""What a second of each engine's kernels draws."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.powers import MAX_ENGINES, Powers, by_power

FLOOR_W, WINDOW_S = 100.0, 5.0
seconds = st.floats(0, 5)


def seen(draws_w: dict[str, float], windows: int = 100, seed: int = 1) -> Powers:
    """Windows in which engines that draw so much above the floor run for random times."""
    rng, powers = random.Random(seed), Powers()
    for _ in range(windows):
        sm = {e: rng.uniform(0, WINDOW_S / len(draws_w)) for e in draws_w}
        above_j = sum(w * sm[e] for e, w in draws_w.items())
        powers = powers.plus(sm, FLOOR_W * WINDOW_S + above_j, WINDOW_S)
    return powers


def test_engines_that_draw_different_powers_are_told_apart() -> None:
    found = seen({"a": 200.0, "b": 500.0}).above_w(FLOOR_W)
    assert found == {"a": pytest.approx(200.0, rel=0.08), "b": pytest.approx(500.0, rel=0.08)}


def test_work_is_shared_by_time_and_power_and_the_floor_of_the_time() -> None:
    powers = seen({"a": 200.0, "b": 500.0})
    parts = by_power({"a": 1.0, "b": 1.0}, powers, FLOOR_W)
    assert parts["b"] / parts["a"] == pytest.approx(600 / 300, rel=0.05)


def test_time_alone_shares_while_nothing_else_is_known() -> None:
    sm = {"a": 1.0, "b": 3.0}
    assert by_power(sm, Powers(), FLOOR_W) == sm
    assert by_power(sm, seen({"a": 200.0, "b": 500.0}), None) == sm
    assert by_power(sm, seen({"a": 200.0}), FLOOR_W) == sm


def test_one_window_says_little_of_who_drew_more() -> None:
    powers = Powers().plus({"a": 1.0, "b": 2.0}, FLOOR_W * 5 + 900.0, 5.0)
    found = powers.above_w(FLOOR_W)
    assert found["a"] == pytest.approx(found["b"], rel=0.05)


def test_a_model_that_was_exchanged_is_learned_anew() -> None:
    powers, rng = seen({"a": 200.0, "b": 500.0}), random.Random(2)
    for _ in range(600):
        sm = {"a": rng.uniform(0, 2), "b": rng.uniform(0, 2)}
        powers = powers.plus(sm, FLOOR_W * WINDOW_S + 400 * sm["a"] + 150 * sm["b"], WINDOW_S)
    found = powers.above_w(FLOOR_W)
    assert found == {"a": pytest.approx(400.0, rel=0.1), "b": pytest.approx(150.0, rel=0.1)}


def test_an_engine_that_did_nothing_for_a_day_of_anothers_work_is_not_taken_for_a_weak_one() -> None:
    powers = seen({"a": 200.0, "b": 500.0})
    for _ in range(3000):
        powers = powers.plus({"a": 4.0}, FLOOR_W * WINDOW_S + 800.0, WINDOW_S)
    assert powers.above_w(FLOOR_W) == {"a": pytest.approx(200.0, rel=0.01)}
    both = {"a": 1.0, "b": 1.0}  # as beside a stranger, when nothing is learned
    assert by_power(both, powers, FLOOR_W) == both


def test_what_is_remembered_does_not_grow_with_engines_that_come_and_go() -> None:
    powers = Powers()
    for n in range(5 * MAX_ENGINES):
        powers = powers.plus({f"e{n}": 1.0}, 900.0, 5.0)
    assert len(powers.energy_js) == MAX_ENGINES


@given(
    st.lists(st.tuples(st.dictionaries(st.sampled_from("abc"), seconds), st.floats(0, 5000)), max_size=20),
    st.dictionaries(st.sampled_from("abc"), st.floats(0.001, 5), min_size=1),
    st.one_of(st.none(), st.floats(0, 500)),
)
def test_whoever_ran_has_a_part_and_nobody_else(
    windows: list[tuple[dict[str, float], float]], sm: dict[str, float], floor_w: float | None
) -> None:
    powers = Powers()
    for ran, energy_j in windows:
        powers = powers.plus(ran, energy_j, WINDOW_S)
    parts = by_power(sm, powers, floor_w)
    assert parts.keys() == sm.keys()
    assert all(p > 0 for p in parts.values())
