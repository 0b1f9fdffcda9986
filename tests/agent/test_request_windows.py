"""What windows give to requests: never more than they have, and by tokens and time as the module says."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.request_windows import Claim, Phase, Till, Window, forget, post

FAR = math.inf


def window(start_s: float, end_s: float, energy_j: float, tokens: float, g_per_j: float | None = 0.5) -> Window:
    return Window(start_s, end_s, energy_j, tokens, g_per_j=g_per_j, left_j=energy_j)


def phase(*windows: Window) -> Phase:
    out = Phase()
    for w in windows:
        out = post(out, w)
    return out


def test_a_request_alone_gets_all_of_its_window() -> None:
    till = Till(phase(window(0, 5, 100.0, 40)))
    (mine,) = till.share(FAR, [[Claim(1.0, 3.0, 40)]])
    assert mine.energy_j == pytest.approx(100.0)
    assert mine.grams == pytest.approx(50.0)
    assert till.phase().left_j == pytest.approx(0.0)


def test_joules_flow_evenly_over_busy_time_so_a_token_alone_costs_more_than_one_of_a_batch() -> None:
    till = Till(phase(window(0, 10, 90.0, 60)))
    alone, first, second = till.share(FAR, [[Claim(0, 3, 20)], [Claim(3, 6, 20)], [Claim(3, 6, 20)]])
    assert (alone.energy_j, first.energy_j, second.energy_j) == pytest.approx((45.0, 22.5, 22.5))


def test_tokens_without_a_span_keep_their_part() -> None:
    till = Till(phase(window(0, 10, 100.0, 80)))
    (mine,) = till.share(FAR, [[Claim(0, 10, 20)]])
    assert mine.energy_j == pytest.approx(25.0)
    assert till.phase().left_j == pytest.approx(75.0)


def test_tokens_without_a_span_may_have_come_at_any_time_of_the_window() -> None:
    till = Till(phase(window(0, 10, 100.0, 80)))
    (mine,) = till.share(FAR, [[Claim(0, 5, 20)]])
    assert mine.energy_j == pytest.approx(20.0)  # 50 J of the first half, in which 6 others came with each 4


def test_a_few_missing_tokens_are_those_of_the_windows_edge() -> None:
    till = Till(phase(window(0, 10, 100.0, 81)))
    (mine,) = till.share(FAR, [[Claim(0, 5, 80)]])
    assert mine.energy_j == pytest.approx(100.0 * 80 / 81)


def test_a_span_that_comes_after_the_sharing_takes_the_mean_price_from_what_is_left() -> None:
    till = Till(phase(window(0, 10, 100.0, 80), window(10, 20, 100.0, 80)))
    till.share(10.0, [[Claim(0, 10, 40)]])
    late = till.take([Claim(0, 20, 40)], arrived_s=10.0)
    assert late.energy_j == pytest.approx(25.0)  # 20 tokens in the first window; the second is not shared out yet
    assert late.missing_j == 0.0


def test_late_claims_beyond_what_is_left_are_told_as_missing() -> None:
    till = Till(phase(window(0, 10, 100.0, 80)))
    till.share(FAR, [[Claim(0, 10, 60)]])
    late = till.take([Claim(0, 10, 40)], arrived_s=10.0)
    assert late.energy_j == pytest.approx(25.0)
    assert late.missing_j == pytest.approx(25.0)


def test_a_moment_lies_in_the_window_that_ends_with_it() -> None:
    till = Till(phase(window(0, 5, 10.0, 100), window(5, 10, 30.0, 100)))
    a, b = till.share(FAR, [[Claim(5.0, 5.0, 100)], [Claim(5.1, 5.1, 50)]])
    assert (a.energy_j, b.energy_j) == pytest.approx((10.0, 15.0))


def test_where_nobody_told_what_was_cached_the_engines_own_share_is_taken() -> None:
    w = Window(0, 5, 30.0, tokens=100, cached=200, left_j=30.0)
    till = Till(phase(w))
    (mine,) = till.share(FAR, [[Claim(1.0, 1.0, 60, with_cached=True)]])
    assert mine.energy_j == pytest.approx(6.0)


def test_joules_without_tokens_wait_for_the_window_that_has_some() -> None:
    waiting = phase(window(0, 5, 50.0, 0))
    assert waiting.windows == () and waiting.left_j == 50.0
    (w,) = post(waiting, window(5, 10, 10.0, 30, g_per_j=None)).windows
    assert (w.start_s, w.end_s, w.energy_j, w.tokens, w.g_per_j) == (0, 10, 60.0, 30, None)


def test_grams_are_unknown_if_a_window_has_no_intensity() -> None:
    till = Till(phase(window(0, 5, 10.0, 10), window(5, 10, 10.0, 10, g_per_j=None)))
    (mine,) = till.share(FAR, [[Claim(0, 10, 20)]])
    assert mine.energy_j == pytest.approx(20.0) and mine.grams is None


def test_what_is_left_of_windows_that_are_gone_pays_the_average_first() -> None:
    old = forget(phase(window(0, 5, 10.0, 10), window(5, 10, 20.0, 10)), before_s=6.0)
    assert (old.spare_j, old.gone_to_s, len(old.windows)) == (10.0, 5, 1)
    till = Till(old)
    got = till.take_average(15.0)
    assert got.energy_j == pytest.approx(15.0)
    assert got.grams == pytest.approx(7.5)
    assert till.phase().spare_j == 0.0 and till.phase().left_j == pytest.approx(15.0)


energies = st.floats(0.0, 1e6)
tokens = st.floats(0.0, 1e5)
times = st.floats(0.0, 60.0)


@st.composite
def claims(draw: st.DrawFn) -> Claim:
    start, end = sorted((draw(times), draw(times)))
    return Claim(start, end, draw(tokens), draw(st.booleans()))


@given(
    st.lists(st.tuples(energies, tokens), min_size=1, max_size=12),
    st.lists(st.lists(claims(), max_size=2), max_size=8),
    st.lists(claims(), max_size=4),
    st.lists(energies, max_size=3),
    times,
)
def test_given_and_left_are_what_was_posted_whatever_the_spans_claim(
    booked: list[tuple[float, float]],
    early: list[list[Claim]],
    late: list[Claim],
    averages: list[float],
    forgotten_s: float,
) -> None:
    state = phase(*(window(5.0 * n, 5.0 * n + 5.0, j, t) for n, (j, t) in enumerate(booked)))
    till = Till(state)
    given_j = [g.energy_j for g in till.share(40.0, early)]
    till = Till(forget(till.phase(), forgotten_s))
    given_j += [till.take([c], arrived_s=40.0).energy_j for c in late]
    given_j += [till.take_average(j).energy_j for j in averages]
    given_j += [g.energy_j for g in till.share(FAR, early)]
    posted_j = math.fsum(j for j, _ in booked)
    assert all(j >= 0.0 for j in given_j)
    assert math.fsum(given_j) + till.phase().left_j == pytest.approx(posted_j, rel=1e-9, abs=1e-9)
    assert all(w.left_j >= 0.0 for w in till.phase().windows)
