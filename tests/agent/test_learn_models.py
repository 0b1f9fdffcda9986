"""Models that come and go on the same GPUs: what is learned of one is forgotten, and its price is never nothing."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.accounts import Account, Rules
from agent.attribution import Floor
from agent.done import Block, Done, Who
from agent.learn import FIRST_TERM, HALF_LIFE_S, MAX_WHO, MIN_BLOCKS, TERMS, Fit, Learned, Price, learn
from agent.learned import learned
from agent.weigh import known
from tests.sim.machine import at

IDLE_W = 80.0
OLD, NEW = ("e", "old"), ("e", "new")
GONE = 35  # half-lives of work, after which nothing is known of a model


def done(rng: random.Random, *, prompts: bool = True) -> Done:
    requests = rng.randint(5, 40)
    tokens = requests * rng.uniform(50, 300)
    return Done(prompts * requests * rng.uniform(100, 2000), tokens, requests, tokens / rng.uniform(1, 8))


def joules(d: Done) -> float:
    return 0.02 * d.prompt + 0.05 * d.decoded + 1.5 * d.steps


def worked(fit: Fit, who: Sequence[Who], blocks: int, *, time_s: float = 60.0, prompts: bool = True) -> Fit:
    rng = random.Random(blocks)
    for _ in range(blocks):
        all_done = {one: done(rng, prompts=prompts) for one in who}
        energy_j = (IDLE_W * time_s + sum(map(joules, all_done.values()))) * rng.uniform(0.98, 1.02)
        fit = learn(fit, Block(energy_j, time_s, 30.0, all_done), IDLE_W)
    return fit


def test_a_model_that_an_engine_no_longer_has_is_forgotten_and_spans_teach_of_the_next_one_again() -> None:
    fit = worked(worked(Fit(), [OLD], 40), [NEW], 100, time_s=GONE * HALF_LIFE_S / 100)
    assert fit.who == (NEW,)
    wide = FIRST_TERM + TERMS
    sums = (fit.sums, fit.lag_1, fit.lag_2, fit.sure)
    assert {len(rows) for rows in sums} == {wide} == {len(row) for rows in (*sums, fit.last) for row in rows}
    assert learned(worked(fit, [NEW], 40), IDLE_W).prices[NEW].step_j == pytest.approx(1.5 + 0.5 * IDLE_W / 60, rel=0.5)
    taught = Learned({NEW: Price(1.0, 1.0, 0.0)}, 1.0, 0.01)
    assert known(Account(at(0), floor=Floor(idle_w=IDLE_W), fit=fit), Rules(taught={NEW: taught})) is taught


def test_a_model_that_comes_back_after_a_day_of_anothers_work_has_no_price_rather_than_none_to_pay() -> None:
    fit = worked(worked(Fit(), [OLD, NEW], 40), [NEW], 1440)
    assert set(learned(fit, IDLE_W).prices) == {NEW}
    assert learned(worked(fit, [OLD, NEW], 40), IDLE_W).prices[OLD].step_j > 1.0


def test_a_model_that_rests_for_hours_keeps_its_price() -> None:
    fit, some = worked(Fit(), [OLD, NEW], 40), Done(20_000, 3000, 20, 600)
    was_j, is_j = (sum(learned(f, IDLE_W).prices[OLD].phases(some)) for f in (fit, worked(fit, [NEW], 360)))
    assert is_j == pytest.approx(was_j, rel=0.2)


def test_what_an_engine_has_not_done_for_days_of_other_work_breaks_no_sum() -> None:
    """It computed prompts once; since then all of them come from a cache elsewhere."""
    fit = worked(worked(Fit(), [NEW], 40), [NEW], 400, time_s=1.5 * HALF_LIFE_S, prompts=False)
    fit = worked(fit, [NEW], 2 * MIN_BLOCKS, prompts=False)
    assert 0 < fit.load[0].prompt < 1e-160
    says = learned(fit, IDLE_W)
    assert 0 <= says.confidence <= 1
    assert all(math.isfinite(j) and j >= 0 for j in says.prices[NEW].phases(Done(1000, 100, 1, 100)))


AMOUNTS = st.one_of(st.just(0.0), st.floats(0, 1e6), st.floats(-12, 9).map(lambda power: 10**power))
TIMES_S = st.one_of(st.sampled_from([0.0, 1e-6, 5.0, 900.0, 1e7]), st.floats(0, 60))
LOADS = st.dictionaries(
    st.sampled_from([OLD, NEW, ("f", "new")]), st.builds(Done, *[AMOUNTS] * 5), min_size=1, max_size=3
)
BLOCKS = st.builds(Block, st.floats(0, 1e9), TIMES_S, TIMES_S, LOADS, st.sampled_from([0.0, 1e-9, 1.0, 1e6]))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(BLOCKS, st.booleans()), min_size=1, max_size=4),
    st.sampled_from([None, 0.0, 1e-9, IDLE_W, 5600.0]),
    st.sampled_from([None, 0.0, 0.03, 1e9]),
)
@example([(Block(1000.0, 5.0, 4.0, {NEW: Done(steps=90.0)}), True)], None, None)
@example([(Block(1.0, 0.0, 0.0, {NEW: Done(1.0, first=1e-200)}), False)], None, None)
@example([(Block(1e-288, 0.0, 0.0, {NEW: Done(1.0)}), True)], None, None)
def test_whatever_is_told_no_price_nor_confidence_is_beyond_its_bounds(
    kinds: list[tuple[Block, bool]], idle_w: float | None, told: float | None
) -> None:
    fit = Fit()
    for n in range(4 * MIN_BLOCKS):
        block, quiet = kinds[n % len(kinds)]
        fit = learn(fit, block, idle_w, quiet=quiet)
    says = learned(fit, idle_w, told)
    assert 0.0 <= says.confidence <= 1.0
    assert 0.0 <= says.weight <= 1.0
    assert says.residual is None or math.isfinite(says.residual)
    assert all(error >= 0.0 for error in says.errors.values())
    for price in says.prices.values():
        each = (price.prompt_j, price.decode_j, price.step_j, price.context_j)
        assert all(math.isfinite(j) and j >= 0.0 for j in each)


def test_models_that_take_the_places_of_as_many_as_can_be_told_apart_are_learned_of_in_time() -> None:
    before, after = ([("e", f"{name}{k}") for k in range(MAX_WHO)] for name in ("before", "after"))
    fit = worked(Fit(), before, 40)
    faded = worked(fit, after[:1], 15)
    assert (faded.who, set(learned(faded, IDLE_W).prices)) == (fit.who, set(before))
    price, was = (learned(one, IDLE_W).prices[before[0]] for one in (faded, fit))
    assert price.step_j == pytest.approx(was.step_j, rel=0.05)
    assert set(learned(worked(fit, after, 120), IDLE_W).prices) == set(after)


def test_what_is_asked_at_every_tick_is_found_once_also_on_a_machine_of_many_models() -> None:
    """8 GPUs of 7 MIG instances each, asked with and without the contexts' price of the spans."""
    fits = [worked(Fit(), [("e", f"m{k}")], MIN_BLOCKS) for k in range(56)]
    for _ in range(2):
        before = learned.cache_info().misses
        for fit in fits:
            learned(fit, IDLE_W)
            learned(fit, IDLE_W, 0.01)
    assert learned.cache_info().misses == before


def test_a_fit_of_an_older_version_had_busy_times_that_were_well_known() -> None:
    fit = worked(Fit(), [NEW], 2 * MIN_BLOCKS)
    old = replace(fit, sure=Fit().sure)
    taught = Learned({NEW: Price(1.0, 1.0, 0.0)}, 1.0, 0.01)
    assert old.busy_known == 1.0
    assert known(Account(at(0), floor=Floor(idle_w=IDLE_W), fit=old), Rules(taught={NEW: taught})) is taught
