"""What is reconstructed of requests that decode together: steps, sharers, contexts; and nothing is there twice."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.request_pace import Life, Pace, Part

EVER = (-math.inf, math.inf)


def life(first_s: float, end_s: float, generated: float, prompt: float = 0.0) -> Life:
    return Life(first_s - 1.0 if prompt else first_s, first_s, end_s, prompt, generated, context=prompt)


def test_a_request_alone_takes_all_its_steps_and_all_its_time() -> None:
    mine = life(10, 14, 101, prompt=50)
    part = Pace([mine]).part(mine, *EVER)
    assert (part.prompt, part.prefill_steps) == (50, 1)
    assert (part.decoded, part.steps, part.seconds) == pytest.approx((100, 100, 4))
    assert part.context == pytest.approx(100 * (50 + 100 / 2) / 1000)
    assert (part.told_prompt, part.told_generated) == (50, 101)


def test_requests_that_decode_together_share_steps_and_seconds() -> None:
    long, short = life(0, 10, 101), life(5, 10, 51)
    pace = Pace([long, short])
    a, b = pace.part(long, *EVER), pace.part(short, *EVER)
    assert (a.decoded, b.decoded) == pytest.approx((100, 50))
    assert (a.steps, b.steps) == pytest.approx((75, 25), rel=0.02)
    assert (a.seconds, b.seconds) == pytest.approx((7.5, 2.5))


def test_a_crowd_that_slows_the_steps_is_seen_in_the_requests_that_met_it() -> None:
    # 10 steps a second for 5 s, then 2 steps a second for 5 s. Who was there all along tells it apart.
    through, early, late = life(0, 10, 61), life(0, 5, 51), life(5, 10, 11)
    pace = Pace([through, early, late])
    assert pace.part(through, 0, 5).decoded == pytest.approx(50, rel=0.05)
    assert pace.part(through, 5, 10).decoded == pytest.approx(10, rel=0.2)


def test_a_prompt_runs_before_its_first_token_and_is_counted_with_it() -> None:
    mine = Life(0.0, 4.0, 4.0, prompt=100, generated=1, context=100)
    pace = Pace([mine])
    assert pace.part(mine, 0, 1).prompt == 25 and pace.part(mine, 0, 1).told_prompt == 0
    assert pace.part(mine, 3, 4).told_prompt == 100  # a moment lies in the time that ends with it
    assert pace.part(mine, 4, 5) == Part()


def test_prompts_are_computed_one_after_the_other() -> None:
    first, second = Life(0.0, 3.0, 3.0, prompt=30, generated=1), Life(0.0, 5.0, 5.0, prompt=20, generated=1)
    pace = Pace([first, second])
    assert pace.part(first, 0, 3).prompt == 30
    assert pace.part(second, 0, 3).prompt == 0
    assert pace.part(second, 3, 4).prompt == 10


def test_a_prompt_among_decoding_requests_shares_its_step() -> None:
    mine = life(5, 6, 2, prompt=10)
    assert Pace([mine, life(0, 5, 51), life(0, 9, 91)]).part(mine, 4, 5).prefill_steps == pytest.approx(1 / 3)


def test_where_tokens_are_counted_at_the_end_they_take_part_when_they_come_all_the_same() -> None:
    mine = Life(0.0, 1.0, 9.0, prompt=10, generated=41, context=10, at_end=True)
    pace = Pace([mine])
    first, last = pace.part(mine, 0, 5), pace.part(mine, 5, 10)
    assert (first.told_prompt, first.told_generated, last.told_generated) == (10, 0, 41)
    assert (first.decoded, first.seconds, last.decoded, last.seconds) == pytest.approx((20, 4, 20, 4))


def test_tokens_without_a_time_are_all_at_one_moment() -> None:
    mine = Life(3.0, 3.0, 3.0, prompt=10, generated=5)
    part = Pace([mine]).part(mine, 0, 3)
    assert (part.told_generated, part.decoded, part.seconds) == (5, 4, 0)
    assert Pace([]).part(mine, 3, 6) == Part()


times = st.floats(0.0, 50.0)


@st.composite
def lives(draw: st.DrawFn) -> Life:
    begin, first, end = sorted((draw(times), draw(times), draw(times)))
    prompt, generated = float(draw(st.integers(0, 1000))), float(draw(st.integers(0, 1000)))
    return Life(begin, first, end, prompt, generated, prompt, at_end=draw(st.booleans()))


@given(st.lists(lives(), min_size=1, max_size=12), st.lists(times, max_size=6))
def test_parts_of_a_life_are_its_whole_and_never_below_nothing(some: list[Life], cuts: list[float]) -> None:
    pace = Pace(some)
    edges = [-1.0, *sorted(set(cuts)), 51.0]
    for one in some:
        parts = [pace.part(one, a, b) for a, b in pairwise(edges)]
        for p in parts:
            assert min(p.prompt, p.prefill_steps, p.decoded, p.steps, p.context, p.seconds) >= -1e-6
        assert sum(p.told_prompt for p in parts) == one.prompt
        assert sum(p.told_generated for p in parts) == pytest.approx(one.generated)
        assert sum(p.prompt for p in parts) == pytest.approx(one.prompt)
        assert sum(p.decoded for p in parts) == pytest.approx(max(0.0, one.generated - 1), rel=1e-6, abs=1e-6)


@given(st.lists(lives(), min_size=1, max_size=12))
def test_seconds_are_shared_out_once(some: list[Life]) -> None:
    pace = Pace(some)
    busy = [(x.first_s, x.end_s) for x in some if x.generated > 1 and x.end_s > x.first_s]
    union, upto = 0.0, -math.inf
    for a, b in sorted(busy):
        union += max(0.0, b - max(a, upto))
        upto = max(upto, b)
    # Requests of one token take part in no decoding step, and yet in the time beside others.
    assert sum(pace.part(x, *EVER).seconds for x in some) <= union * (1 + 1e-9) + 1e-6
