"""Sums over requests: groups in joules and grams, bounded; and what no request was given."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import books
from agent.model import RequestEnergy, RequestMethod, RequestTotals
from agent.request_totals import MAX_VALUE, OTHER, note
from exporters.families.requests import clock_shift, group_emissions, request_unclaimed, span_delay
from tests.agent.test_requests import active_j, left_j, policy
from tests.fakes.snapshots import LLAMA, QWEN, full_snapshot
from tests.sim.arrivals import poisson
from tests.sim.costs import WEIGHTS
from tests.sim.engine import Engine
from tests.sim.machine import Machine, watch
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
