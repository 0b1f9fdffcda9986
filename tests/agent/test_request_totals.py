"""Sums over requests: groups in joules and grams, bounded; and what no request was given."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import books
from agent.books import Observed
from agent.model import RequestEnergy, RequestMethod, RequestSpan, RequestTotals
from agent.request_totals import MAX_VALUE, OTHER, note
from agent.requests import RequestRules
from exporters.families.requests import clock_shift, group_emissions, request_unclaimed, span_delay
from tests.agent.test_requests import active_j, left_j, policy
from tests.fakes.snapshots import LLAMA, QWEN, full_snapshot
from tests.sim.arrivals import poisson
from tests.sim.costs import WEIGHTS
from tests.sim.engine import Engine
from tests.sim.machine import WALL_S, Machine, watch
from tests.sim.spans import run, with_spans

NAME = "tenant.id"


def request(value: str, energy_j: float = 2.0, gco2e: float | None = 0.5, model: str = "m") -> RequestEnergy:
    return RequestEnergy(
        "a", model, "r", "t", "s", 1.0, 2.0, energy_j, energy_j, 0.0, gco2e, RequestMethod.WINDOWS,
        group=((NAME, value),),
    )  # fmt: skip


def noted(*done: RequestEnergy, known: RequestTotals | None = None, max_groups: int = 100) -> RequestTotals:
    return note(known or RequestTotals(group_by=(NAME,)), done, (), at_s=5.0, max_groups=max_groups)


def test_a_groups_grams_are_summed_beside_its_joules() -> None:
    totals = noted(request("blue"), request("red", 3.0, 0.75), known=noted(request("blue")))
    assert totals.groups == {("a", "m", ("blue",)): 4.0, ("a", "m", ("red",)): 3.0}
    assert totals.groups_gco2e == {("a", "m", ("blue",)): 1.0, ("a", "m", ("red",)): 0.75}


def test_grams_that_are_not_known_are_not_there_and_are_not_0() -> None:
    totals = noted(request("blue", gco2e=None), request("red", gco2e=0.0))
    assert set(totals.groups) == {("a", "m", ("blue",)), ("a", "m", ("red",))}
    assert totals.groups_gco2e == {("a", "m", ("red",)): 0.0}


def test_without_attributes_to_group_by_there_are_no_groups() -> None:
    totals = note(RequestTotals(), (request("blue"),), (), at_s=5.0, max_groups=100)
    assert totals.groups == {} and totals.groups_gco2e == {}


def test_a_hundred_thousand_values_are_a_hundred_groups_and_one() -> None:
    totals = RequestTotals(group_by=(NAME,))
    for n in range(100):
        done = [request(f"tenant-{n}-{k}", 1.0, 0.25) for k in range(1000)]
        totals = noted(*done, known=totals)
    assert len(totals.groups) == len(totals.groups_gco2e) == 101
    assert totals.groups["a", "m", (OTHER,)] == 100_000 - 100
    assert math.fsum(totals.groups_gco2e.values()) == 25_000.0


@given(st.lists(st.tuples(st.text(max_size=MAX_VALUE + 9), st.floats(0, 1e6), st.none() | st.floats(0, 1e3))))
def test_no_joule_and_no_gram_of_a_request_is_lost_among_groups(some: list[tuple[str, float, float | None]]) -> None:
    totals = noted(*(request(*one) for one in some), max_groups=3)
    assert len(totals.groups) <= 4
    assert math.fsum(totals.groups.values()) == pytest.approx(math.fsum(j for _, j, _ in some))
    assert math.fsum(totals.groups_gco2e.values()) == pytest.approx(math.fsum(g or 0.0 for _, _, g in some))
    assert all(len(value) <= MAX_VALUE for _, _, (value,) in totals.groups)


@pytest.mark.parametrize("every", [1, 3])
def test_what_requests_got_and_what_they_did_not_is_prefill_and_decode(every: int) -> None:
    engines = [Engine(name, WEIGHTS, poisson(2.0, 60, random.Random(n))) for n, name in enumerate("ab")]
    rules = policy("a", "b")
    found = run(with_spans(watch(Machine(engines), 60, sm=True), engines, every=every), rules)
    page = books.snapshot(found.books, rules, {})
    assert page.requests is not None
    unclaimed = {who: joules or 0.0 for who, joules in request_unclaimed(page)}
    given_j = math.fsum(h.total for h in page.requests.energy.values())
    assert set(unclaimed) == {("a", "m"), ("b", "m")}
    assert given_j + math.fsum(unclaimed.values()) == pytest.approx(active_j(found), rel=1e-9)
    # What is left in the windows is counted on a way of its own.
    assert math.fsum(unclaimed.values()) == pytest.approx(left_j(found), rel=1e-9, abs=1e-6)
    assert (math.fsum(unclaimed.values()) > 0.3 * active_j(found)) == (every == 3)


def test_nothing_is_unclaimed_where_no_spans_are_received() -> None:
    assert list(request_unclaimed(replace(full_snapshot(), requests=None))) == []
    assert list(group_emissions(replace(full_snapshot(), requests=None))) == []


def test_a_model_without_spans_keeps_all_of_its_joules() -> None:
    page = replace(full_snapshot(), requests=RequestTotals())
    assert dict(request_unclaimed(page)) == {("vllm-a", LLAMA): pytest.approx(5280.5), ("llama", QWEN): 200.0}


def test_a_joule_that_was_given_twice_shows() -> None:
    page = full_snapshot()
    assert page.requests is not None
    (known,) = page.requests.energy.values()
    too_much = replace(page.requests, energy={("llama", QWEN): replace(known, total=201.0)})
    assert dict(request_unclaimed(replace(page, requests=too_much)))["llama", QWEN] == pytest.approx(-1.0)


def test_a_clock_ahead_and_a_clock_behind_are_two_metrics() -> None:
    page = replace(full_snapshot(), requests=RequestTotals(clock_shift_s={"ahead": 2.0, "behind": -41.5}))
    assert list(clock_shift(page)) == [(("ahead",), 2.0), (("behind",), 0.0)]
    assert list(span_delay(page)) == [(("ahead",), 0.0), (("behind",), 41.5)]


def ticks() -> tuple[Observed, ...]:
    engine = Engine("a", WEIGHTS, poisson(2.0, 40, random.Random(7)))
    return tuple(with_spans(watch(Machine([engine]), 40), [engine]))


PLAIN = ticks()
RULES = policy("a", rules=RequestRules(group_by=(NAME,), max_groups=5))
numbers = st.none() | st.floats(0, 3000) | st.sampled_from([-1.0, 1e9, 1e300, math.nan, math.inf])
times = st.floats(WALL_S - 100, WALL_S + 400) | st.sampled_from(
    [0.0, -1.0, 30.0, 7.26e9, math.inf, -math.inf, math.nan]
)
CHANGES: dict[str, st.SearchStrategy[object]] = {
    "engine": st.sampled_from(["", "stranger"]),
    "start_s": times,
    "end_s": times,
    "model": st.sampled_from(["", "my-lora", "x" * 256]),
    "request_id": st.text(max_size=1),
    "trace_id": st.text(max_size=1),
    "span_id": st.text(max_size=1),
    **dict.fromkeys(
        ("queue_s", "prefill_s", "decode_s", "prompt_tokens", "cached_tokens", "generated_tokens"), numbers
    ),
    "own": st.just(False),
}


@st.composite
def strange(draw: st.DrawFn) -> RequestSpan:
    """A request's span that would do, with up to two things in it that may not."""
    start_s, length_s = WALL_S + draw(st.floats(-10, 39)), draw(st.floats(0.1, 30))
    span = RequestSpan(
        "a", start_s, start_s + length_s, "m", draw(st.uuids()).hex, span_id=draw(st.uuids()).hex,
        prompt_tokens=draw(st.floats(1, 3000)), generated_tokens=draw(st.floats(1, 500)),
        group=((NAME, draw(st.text(max_size=2))),),
    )  # fmt: skip
    changed = {name: draw(CHANGES[name]) for name in draw(st.sets(st.sampled_from(sorted(CHANGES)), max_size=2))}
    return replace(span, **changed)  # type: ignore[arg-type]  # a table of fields


@settings(max_examples=25, deadline=None)
@given(st.lists(strange(), max_size=20), st.integers(1, 39))
def test_whatever_spans_say_the_counters_stay_true_and_every_span_is_counted_once(
    spans: list[RequestSpan], when: int
) -> None:
    told = [*PLAIN]
    told[when] = replace(told[when], spans=(*told[when].spans, *spans))
    found, plain = run(told, RULES), run(PLAIN, RULES)
    assert found.books.ledger == plain.books.ledger
    page = books.snapshot(found.books, RULES, {})
    assert page.requests is not None
    assert sum(page.requests.spans.values()) == sum(len(tick.spans) for tick in told)
    given_j = math.fsum(h.total for h in page.requests.energy.values())
    ((_, unclaimed),) = request_unclaimed(page)
    assert given_j + (unclaimed or 0.0) == pytest.approx(active_j(found), rel=1e-9)
    assert unclaimed is not None and unclaimed > -1e-6 * active_j(found)
    assert math.fsum(page.requests.groups.values()) == pytest.approx(given_j)
    assert len(page.requests.groups) <= 6
    assert {engine for engine, _ in page.requests.spans} <= {"a", ""}
