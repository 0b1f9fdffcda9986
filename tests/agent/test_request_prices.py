"""Prices out of covered windows: found where they are told, steady against windows that are far off."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import books
from agent.accounts import Rules
from agent.books import Books, Observed, Policy
from agent.learn import Price
from agent.request_pace import Part
from agent.request_prices import KEPT, MIN_WINDOWS, OFTEN, SELDOM, RequestFit, better, learn
from agent.requests import RequestRules
from tests.sim.arrivals import CHAT, poisson
from tests.sim.costs import WEIGHTS
from tests.sim.engine import Engine
from tests.sim.machine import Machine, watch
from tests.sim.spans import with_spans

WHO = ("a", "m")
TRUE = Price(prompt_j=0.03, decode_j=0.05, step_j=3.0, context_j=0.2)


def part(rng: random.Random) -> Part:
    prompt, decoded = rng.uniform(0, 4000), rng.uniform(0, 300)
    return Part(prompt=prompt, decoded=decoded, steps=rng.uniform(50, 600), context=rng.uniform(0, 200))


def cost_j(p: Part, steps: float | None = None) -> float:
    shared = p.steps + p.prefill_steps if steps is None else steps
    return TRUE.prompt_j * p.prompt + TRUE.decode_j * p.decoded + TRUE.step_j * shared + TRUE.context_j * p.context


def fitted(windows: int, *, noise: float = 0.0, wild: int = 0) -> RequestFit:
    """wild: of so many windows one says something else altogether."""
    rng = random.Random(7)
    fit = RequestFit()
    for n in range(windows):
        p = part(rng)
        energy_j = cost_j(p) * (1 + rng.gauss(0, noise))
        fit = learn(fit, [p], None, energy_j * 3 if wild and n % wild == 0 else energy_j)
    return fit


def off(price: Price | None) -> float:
    assert price is not None
    found = (price.prompt_j, price.decode_j, price.step_j, price.context_j)
    true = (TRUE.prompt_j, TRUE.decode_j, TRUE.step_j, TRUE.context_j)
    return max(abs(a / b - 1) for a, b in zip(found, true, strict=True))


def test_prices_are_found_and_few_windows_tell_none() -> None:
    assert fitted(MIN_WINDOWS - 1).price is None
    assert off(fitted(MIN_WINDOWS).price) < 1e-3
    assert off(fitted(100, noise=0.01).price) < 0.15


def test_windows_that_are_far_off_change_little() -> None:
    assert off(fitted(60, noise=0.002, wild=6).price) < 0.15


def test_steps_of_the_engine_go_before_those_that_spans_suggest() -> None:
    rng = random.Random(3)
    fit = RequestFit()
    for _ in range(40):
        p, steps = part(rng), rng.uniform(50, 600)
        fit = learn(fit, [p], steps, cost_j(p, steps))
    assert off(fit.price) < 1e-3


def test_where_a_part_of_the_tokens_is_known_the_others_are_as_these() -> None:
    rng = random.Random(3)
    fit = RequestFit()
    for _ in range(40):
        p, steps = part(rng), rng.uniform(50, 600)
        whole = Part(prompt=2 * p.prompt, decoded=4 * p.decoded, context=4 * p.context)
        fit = learn(fit, [p], steps, cost_j(whole, steps), (0.5, 0.25))
    assert off(fit.price) < 1e-3


@pytest.mark.parametrize(("saturated", "told"), [(True, False), (False, True)])
def test_where_prompts_do_not_vary_by_themselves_no_price_is_told(saturated: bool, told: bool) -> None:
    """At saturation each step is full: prompts are what decoding leaves of it, but for the one at the window's edge."""
    rng = random.Random(5)
    fit = RequestFit()
    for _ in range(100):
        steps, decoded = float(rng.randint(24, 29)), rng.uniform(600, 900)
        prompt = 2048 * steps - decoded if saturated else rng.uniform(0, 2048 * steps)
        energy_j = cost_j(Part(prompt=prompt, decoded=decoded), steps)
        seen = max(0.0, prompt + rng.gauss(0, 1000))
        some = [Part(prompt=seen / 12, decoded=decoded / 12, told_prompt=seen / 12) for _ in range(12)]
        fit = learn(fit, some, steps, energy_j)
    assert (fit.price is not None) is told
    assert (fit.taught(("a", "m")) is not None) is told


def test_few_noisy_windows_teach_the_books_nothing() -> None:
    rng = random.Random(7)
    fit = RequestFit()
    for _ in range(MIN_WINDOWS):
        p = part(rng)
        fit = learn(fit, [p], None, cost_j(p) * rng.uniform(0.2, 3.0))
    assert fit.price is not None and fit.taught(("a", "m")) is None
    taught = fitted(60, noise=0.01).taught(("a", "m"))
    assert taught is not None and taught.confidence > 0.9 and taught.residual == pytest.approx(0.01, abs=0.005)


def test_what_spans_taught_ends_a_quarter_of_an_hour_after_them_and_is_taken_up_again() -> None:
    fit = fitted(60, noise=0.01)
    for _ in range(KEPT):
        fit = fit.miss()
    assert fit.taught(WHO) is not None
    fit = fit.miss()
    assert fit.taught(WHO) is None and fit.price is not None
    assert fit.miss() == fit
    p = part(random.Random(1))
    assert learn(fit, [p], None, cost_j(p)).taught(WHO) is not None


def test_where_spans_stop_the_books_go_on_with_what_the_counters_tell() -> None:
    """As of an engine that is started again without --otlp-traces-endpoint."""
    seconds, stop = round(300 + 5 * 1.1 * KEPT), 300
    engines = [Engine(WHO[0], WEIGHTS, poisson(1.0, seconds, random.Random(1), CHAT))]
    policy = Policy(rules=Rules(engines={WHO[0]: None}), requests=RequestRules())
    ticks = with_spans(watch(Machine(engines), seconds, drain=False), engines)
    teach = [
        state.requests is not None and bool(state.requests.taught)
        for state in played((t if n < stop else replace(t, spans=()) for n, t in enumerate(ticks)), policy)
    ]
    assert teach[stop] and teach[stop + 600]
    assert not teach[-1]


def played(ticks: Iterable[Observed], policy: Policy) -> Iterator[Books]:
    state: Books | None = None
    for seen in ticks:
        state = books.tick(state or books.begin(seen.at, policy), seen, policy)
        yield state


def test_with_many_windows_prices_are_looked_for_now_and_then_and_follow_all_the_same() -> None:
    fits = [fitted(n, noise=0.01) for n in range(OFTEN, OFTEN + 2 * SELDOM + 1)]
    assert [fit.fresh for fit in fits] == [0, 1, 2, 3, 0, 1, 2, 3, 0]
    assert fits[1].price == fits[0].price and len(fits[1].rows) == OFTEN + 1
    assert fits[SELDOM].price != fits[0].price


def test_the_books_prices_hold_where_they_explain_as_much() -> None:
    fit = fitted(50, noise=0.01)
    assert better(fit, TRUE) is TRUE
    assert better(fit, Price(TRUE.prompt_j * 2, TRUE.decode_j, TRUE.step_j / 2)) is fit.price
    assert better(fit, None) is fit.price
    assert better(RequestFit(), TRUE) is TRUE
    assert better(RequestFit(), None) is None


amounts = st.floats(0.0, 1e6)
rows = st.tuples(amounts, amounts, amounts, amounts, amounts)


@given(st.lists(rows, min_size=MIN_WINDOWS, max_size=MIN_WINDOWS + 6))
def test_no_price_is_below_nothing(seen: list[tuple[float, float, float, float, float]]) -> None:
    fit = RequestFit()
    for prompt, decoded, steps, context, energy_j in seen:
        fit = learn(fit, [Part(prompt=prompt, decoded=decoded, steps=steps, context=context)], None, energy_j)
    if fit.price is not None:
        assert min(fit.price.prompt_j, fit.price.decode_j, fit.price.step_j, fit.price.context_j) >= 0.0


def test_the_last_windows_alone_are_kept() -> None:
    assert len(fitted(KEPT + 5).rows) == KEPT
    assert learn(RequestFit(), [], None, 0.0) == RequestFit()
    assert off(fitted(KEPT).price) == pytest.approx(0.0, abs=1e-3)
