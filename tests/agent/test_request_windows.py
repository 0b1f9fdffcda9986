"""What windows give to requests: never more than they have, by prices as far as they are trusted, else by tokens and
time."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.done import Done
from agent.learn import Price
from agent.request_pace import Life, Pace, Part
from agent.request_shares import Says, Window
from agent.request_till import Till
from agent.request_windows import Past, cover_of, forget, post

FAR = math.inf
NOTHING = Says(learning=False)


def window(start_s: float, end_s: float, decode_j: float, tokens: float, g_per_j: float | None = 0.5) -> Window:
    return Window(start_s, end_s, 0.0, decode_j, Done(generated=tokens), g_per_j, left_j=decode_j)


def prefill(start_s: float, end_s: float, prefill_j: float, tokens: float, cached: float = 0.0) -> Window:
    return Window(start_s, end_s, prefill_j, 0.0, Done(prompt=tokens, cached=cached), left_j=prefill_j)


def decoding(first_s: float, end_s: float, tokens: float) -> Life:
    first_s += 1e-9  # what happens at a window's edge is on the page before
    return Life(first_s, first_s, end_s, generated=tokens)


def prompt(at_s: float, tokens: float, *, with_cached: bool = False) -> Life:
    return Life(at_s, at_s, at_s, prompt=tokens, context=tokens, with_cached=with_cached)


def past(*windows: Window) -> Past:
    out = Past()
    for w in windows:
        out = post(out, w)
    return out


def test_a_request_alone_gets_all_of_its_window() -> None:
    till = Till(past(window(0, 5, 100.0, 40)))
    (mine,) = till.share(FAR, [decoding(1.0, 3.0, 40)], NOTHING)
    assert mine.energy_j == pytest.approx(100.0)
    assert mine.grams == pytest.approx(50.0)
    assert till.past().left_j == pytest.approx(0.0)


def test_joules_flow_evenly_over_busy_time_so_a_token_alone_costs_more_than_one_of_a_batch() -> None:
    till = Till(past(window(0, 10, 90.0, 60)))
    alone, first, second = till.share(FAR, [decoding(0, 3, 20), decoding(3, 6, 20), decoding(3, 6, 20)], NOTHING)
    assert (alone.energy_j, first.energy_j, second.energy_j) == pytest.approx((45.0, 22.5, 22.5))


def test_tokens_without_a_span_keep_their_part() -> None:
    till = Till(past(window(0, 10, 100.0, 80)))
    (mine,) = till.share(FAR, [decoding(0, 10, 20)], NOTHING)
    assert mine.energy_j == pytest.approx(25.0)
    assert till.past().left_j == pytest.approx(75.0)


def test_a_token_counted_in_the_window_after_its_span_is_nobody_elses() -> None:
    till = Till(past(window(0, 10, 100.0, 99), window(10, 20, 100.0, 101)))
    one, two = till.share(FAR, [decoding(0, 10, 100), decoding(10, 20, 100)], NOTHING)
    assert (one.energy_j, two.energy_j) == pytest.approx((100.0, 100.0))
    assert till.past().left_j == pytest.approx(0.0)


def test_many_tokens_more_than_were_counted_are_no_claim_on_the_windows_after() -> None:
    till = Till(past(window(0, 10, 100.0, 100), window(10, 20, 100.0, 100)))
    one, two = till.share(FAR, [decoding(0, 10, 300), decoding(10, 20, 50)], NOTHING)
    assert one.energy_j == pytest.approx(100.0)
    assert two.energy_j == pytest.approx(100.0 * 50 / (100 - 5))  # 5% may have been counted late


def test_prices_tell_a_long_context_from_a_short_one_and_prefill_from_decode() -> None:
    price = Price(prompt_j=0.01, decode_j=0.1, step_j=1.0, context_j=2.0)
    done = Done(prompt=1100, generated=202, first=2, steps=102)
    w = Window(0, 10, 30.0, 70.0, done, 0.5, left_j=100.0)
    short, long = Life(0, 2, 10, 100, 101, 100), Life(0, 2, 10, 1000, 101, 1000)
    one, two = Till(past(w)).share(FAR, [short, long], Says(price, 1.0))
    costs = [
        0.01 * 100 + 1, 0.1 * 100 + 0.5 * 100 + 2.0 * 0.1 * (100 + 50),
        0.01 * 1000 + 1, 0.1 * 100 + 0.5 * 100 + 2.0 * 0.1 * (1000 + 50),
    ]  # fmt: skip
    expected = [100.0 * c / sum(costs) for c in costs]
    assert (one.prefill_j, one.decode_j, two.prefill_j, two.decode_j) == pytest.approx(expected)


def test_as_far_as_prices_are_not_trusted_tokens_and_time_decide() -> None:
    price = Price(prompt_j=1.0, decode_j=0.0, step_j=0.0)
    done = Done(prompt=100, generated=20, first=2)

    def given_j(confidence: float) -> float:
        w = Window(0, 10, 40.0, 60.0, done, None, left_j=100.0)
        lives = [Life(0, 2, 6, 25, 10, 25), Life(0, 2, 6, 75, 10, 75)]
        return Till(past(w)).share(FAR, lives, Says(price, confidence))[0].energy_j

    assert given_j(0.0) == pytest.approx(40.0 * 0.25 + 60.0 * 0.5)
    assert given_j(1.0) == pytest.approx(25.0)
    assert given_j(0.5) == pytest.approx((given_j(0.0) + given_j(1.0)) / 2)


def test_a_request_beside_many_without_spans_gets_its_part_of_their_steps() -> None:
    price = Price(prompt_j=0.0, decode_j=0.0, step_j=1.0)
    w = Window(0, 10, 0.0, 100.0, Done(generated=400, steps=100), None, left_j=100.0)
    (mine,) = Till(past(w)).share(FAR, [decoding(0, 10, 100)], Says(price, 1.0))
    assert mine.energy_j == pytest.approx(25.0, rel=0.02)


def test_prices_come_from_windows_that_spans_cover_and_the_first_of_them_wait_for_these() -> None:
    rng = random.Random(1)
    lives: list[Life] = []
    made: list[Window] = []
    for n in range(30):
        start_s = 10.0 * n
        here = [
            Life(start_s + 0.5, start_s + 1, start_s + 9, p, g, p)
            for p, g in ((rng.choice([100.0, 500.0, 2000.0]), rng.randint(20, 90)) for _ in range(rng.randint(1, 4)))
        ]
        parts = [Pace(here).part(x, start_s, start_s + 10) for x in here]
        cost_j = sum(0.02 * p.prompt + 0.3 * p.decoded + 0.05 * p.context for p in parts)
        done = Done(sum(x.prompt for x in here), sum(x.generated for x in here), len(here), 91.0)
        made.append(Window(start_s, start_s + 10, cost_j / 2, cost_j / 2, done, left_j=cost_j, steps=91.0))
        lives += here
    till = Till(past(*made))
    early = till.share(50.0, lives, Says(), last_s=-FAR)
    assert not any(g.energy_j for g in early)  # five windows teach nothing yet, and all may wait
    given = till.share(FAR, lives, Says(), last_s=-FAR)
    assert till.past().left_j == pytest.approx(0.0, abs=1e-6)
    for life, got in zip(lives, given, strict=True):
        assert got.prefill_j == pytest.approx(0.02 * life.prompt, rel=0.02)
    unlearned = Till(past(*made)).share(FAR, lives, NOTHING)
    assert any(abs(u.energy_j / g.energy_j - 1) > 0.1 for u, g in zip(unlearned, given, strict=True))


@pytest.mark.parametrize(
    ("told", "counted", "enough"),
    [
        ((100, 100), (100, 100), True),
        ((119, 90), (100, 100), True),  # at a window's edge, counted in the next one
        ((40, 40), (100, 100), True),
        ((20, 90), (100, 100), False),
        ((90, 20), (100, 100), False),
        ((150, 90), (100, 100), False),  # spans of another engine, perhaps
        ((0, 0), (0, 0), True),
    ],
)
def test_windows_teach_where_spans_tell_of_enough_of_their_tokens(
    told: tuple[float, float], counted: tuple[float, float], enough: bool
) -> None:
    parts = [Part(told_prompt=told[0] / 2, told_generated=told[1] / 2)] * 2
    assert cover_of(Done(prompt=counted[0], generated=counted[1]), parts).is_enough is enough


def test_windows_of_several_requests_wait_for_prices_in_a_models_first_minutes_alone() -> None:
    till = Till(past(window(0, 10, 100.0, 80), window(20, 30, 100.0, 80), window(200, 210, 100.0, 80)))
    lives = [decoding(start, start + 10, 40) for start in (0, 0, 200, 200)] + [decoding(20, 30, 80)]
    *several, one = till.share(FAR, lives, Says(), last_s=0.0)
    assert [g.energy_j for g in several] == pytest.approx([0.0, 0.0, 50.0, 50.0])
    assert one.energy_j == pytest.approx(100.0)  # whatever the prices are
    till = Till(post(till.past(), window(300, 310, 100.0, 80)))  # at a later tick
    given = till.share(FAR, [decoding(300, 310, 40), decoding(300, 310, 40)], Says(), last_s=0.0)
    assert [g.energy_j for g in given] == pytest.approx([50.0, 50.0])


def test_a_window_that_is_posted_late_gives_its_part_once() -> None:
    till = Till(past(window(0, 10, 100.0, 80)))
    till.share(FAR, [], NOTHING)
    life = decoding(0, 10, 40)
    taken = till.take(life)
    till = Till(post(till.past(), window(0, 5, 60.0, 40)))  # of other devices
    assert till.take(life).missing_j == 0.0
    (shared,) = till.share(FAR, [life], NOTHING)
    assert taken.energy_j == pytest.approx(50.0)
    assert shared.energy_j == pytest.approx(30.0, rel=0.05)


def test_a_span_that_comes_late_is_given_of_every_window_that_it_ran_in_also_where_they_overlap() -> None:
    till = Till(past(window(4, 10, 60.0, 60), window(0, 12, 100.0, 100)))
    till.share(FAR, [], NOTHING)
    assert till.take(decoding(0, 3, 20)).energy_j == pytest.approx(20.0)


def test_what_may_still_be_somebodys_is_in_no_average_and_in_no_claim_that_comes_late() -> None:
    till = Till(past(window(0, 5, 10.0, 10), window(5, 10, 20.0, 10)))
    till.share(5.0, [], NOTHING)
    empty = till.past().windows[1]
    assert till.take_average(10.0, 10.0).energy_j == pytest.approx(10.0)
    assert till.take(decoding(0, 5, 10)).energy_j == 0.0
    drained = till.past().windows[0]
    assert drained.left_j == 0.0 and till.take_average(1.0, 1.0).energy_j == 0.0
    assert till.past().windows[0] is drained and till.past().windows[1] is empty


def test_where_nobody_told_who_else_was_in_the_steps_the_joules_may_have_been_others() -> None:
    done = Done(generated=200, steps=100)
    w = Window(0, 10, 0.0, 100.0, done, left_j=100.0)
    (beside_one,) = Till(past(w)).share(FAR, [decoding(0, 10, 100)], NOTHING)
    assert beside_one.energy_j == pytest.approx(50.0, rel=0.02)
    assert beside_one.more_j == pytest.approx(beside_one.energy_j, rel=0.02)  # alone, it took all
    assert beside_one.less_j == pytest.approx(beside_one.energy_j / 3, rel=0.02)  # beside two, a third
    (covered,) = Till(past(window(0, 10, 100.0, 100))).share(FAR, [decoding(0, 10, 100)], NOTHING)
    assert (covered.less_j, covered.more_j) == (0.0, 0.0)


def test_windows_that_may_not_wait_are_shared_out_without_prices() -> None:
    till = Till(past(window(0, 10, 100.0, 80)))
    (mine,) = till.share(FAR, [decoding(0, 10, 80)], Says(), last_s=10.0)
    assert mine.energy_j == pytest.approx(100.0)


def test_a_span_that_comes_after_the_sharing_takes_the_mean_price_from_what_is_left() -> None:
    till = Till(past(window(0, 10, 100.0, 80), window(10, 20, 100.0, 80)))
    till.share(10.0, [decoding(0, 10, 40)], NOTHING)
    late = till.take(decoding(0, 20, 40))
    assert late.energy_j == pytest.approx(
        25.0, rel=0.03
    )  # 20 tokens in the first window; the second is not shared out yet
    assert late.missing_j == 0.0


def test_late_claims_beyond_what_is_left_are_told_as_missing() -> None:
    till = Till(past(window(0, 10, 100.0, 80)))
    till.share(FAR, [decoding(0, 10, 60)], NOTHING)
    late = till.take(decoding(0, 10, 40))
    assert late.energy_j == pytest.approx(25.0)
    assert late.missing_j == pytest.approx(25.0)


def test_a_moment_lies_in_the_window_that_ends_with_it() -> None:
    till = Till(past(prefill(0, 5, 10.0, 100), prefill(5, 10, 30.0, 100)))
    a, b = till.share(FAR, [prompt(5.0, 100), prompt(5.1, 50)], NOTHING)
    assert (a.energy_j, b.energy_j) == pytest.approx((10.0, 15.0))
    assert till.take(prompt(5.0, 1)).energy_j + till.past().left_j == pytest.approx(15.0)


def test_where_nobody_told_what_was_cached_the_engines_own_share_is_taken() -> None:
    till = Till(past(prefill(0, 5, 30.0, tokens=100, cached=200)))
    (mine,) = till.share(FAR, [prompt(1.0, 60, with_cached=True)], NOTHING)
    assert mine.energy_j == pytest.approx(6.0)


def test_joules_without_tokens_wait_for_the_window_that_has_some() -> None:
    waiting = past(window(0, 5, 50.0, 0))
    assert waiting.windows == () and waiting.left_j == 50.0
    (w,) = post(waiting, window(5, 10, 10.0, 30, g_per_j=None)).windows
    assert (w.start_s, w.end_s, w.energy_j, w.tokens, w.g_per_j) == (0, 10, 60.0, 30, None)


def test_grams_are_unknown_if_a_window_has_no_intensity() -> None:
    till = Till(past(window(0, 5, 10.0, 10), window(5, 10, 10.0, 10, g_per_j=None)))
    (mine,) = till.share(FAR, [decoding(0, 10, 20)], NOTHING)
    assert mine.energy_j == pytest.approx(20.0) and mine.grams is None


def test_what_is_left_of_windows_that_are_gone_pays_the_average_first() -> None:
    old = forget(past(window(0, 5, 10.0, 10), window(5, 10, 20.0, 10)), before_s=6.0)
    assert (old.spare_j, old.gone_to_s, len(old.windows)) == (10.0, 5, 1)
    till = Till(old)
    till.share(FAR, [], NOTHING)
    got = till.take_average(5.0, 10.0)
    assert (got.prefill_j, got.decode_j) == pytest.approx((5.0, 10.0))
    assert got.grams == pytest.approx(7.5)
    assert till.past().spare_j == 0.0 and till.past().left_j == pytest.approx(15.0)


energies = st.floats(0.0, 1e6)
tokens = st.floats(0.0, 1e5)
times = st.floats(0.0, 60.0)
prices = st.none() | st.builds(Price, *(st.floats(0.0, 10.0) for _ in range(4)))


@st.composite
def lives(draw: st.DrawFn) -> Life:
    begin, first, end = sorted((draw(times), draw(times), draw(times)))
    return Life(
        begin, first, end, draw(tokens), draw(tokens), draw(tokens),
        with_cached=draw(st.booleans()), at_end=draw(st.booleans()),
    )  # fmt: skip


@st.composite
def windows(draw: st.DrawFn, n: int) -> Window:
    done = Done(draw(tokens), draw(tokens), draw(tokens), draw(tokens), draw(tokens))
    p, d = draw(energies), draw(energies)
    return Window(5.0 * n, 5.0 * n + 5.0, p, d, done, 0.5, left_j=p + d)


@given(st.data(), st.lists(lives(), max_size=8), st.lists(lives(), max_size=4), st.lists(energies, max_size=3), times)
def test_given_and_left_are_what_was_posted_whatever_the_spans_claim(
    data: st.DataObject, early: list[Life], late: list[Life], averages: list[float], forgotten_s: float
) -> None:
    booked = [data.draw(windows(n)) for n in range(data.draw(st.integers(1, 12)))]
    says = st.builds(Says, prices, st.floats(0.0, 1.0), st.booleans())
    till = Till(past(*booked))
    given_j = [g.energy_j for g in till.share(40.0, early, data.draw(says), data.draw(times))]
    till = Till(forget(till.past(), forgotten_s))
    given_j += [till.take(x).energy_j for x in late]
    given_j += [till.take_average(j / 3, j).energy_j for j in averages]
    given_j += [g.energy_j for g in till.share(FAR, early, data.draw(says))]
    posted_j = math.fsum(w.energy_j for w in booked)
    assert all(j >= 0.0 for j in given_j)
    assert math.fsum(given_j) + till.past().left_j == pytest.approx(posted_j, rel=1e-9, abs=1e-9)
    assert all(w.left_j >= 0.0 for w in till.past().windows)
