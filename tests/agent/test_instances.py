"""MIG instances in the place of GPUs: whose GPU it is, and what a token on each weighs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import books, sharing
from agent.accounts import FOREIGN, UNTOLD, Rules
from agent.books import Policy
from agent.instances import in_view, parts_held, token_sizes
from agent.model import Instance, Reading
from tests.agent.test_books import assert_conserved, by_use, start, warm
from tests.fakes.service import Service, at, gpu

BIG, SMALL, OTHER = "MIG-b", "MIG-s", "MIG-o"
SEEN = (Instance(BIG, 40e9), Instance(SMALL, 10e9), Instance("MIG-free", 10e9))
GPU = Reading(gpu(0), at(1.0), index=0, instances=SEEN)


def test_an_instance_stands_for_the_gpu_that_it_is_a_part_of() -> None:
    rules = in_view(Rules(engines={"a": (BIG,), "b": (SMALL, "GPU-7"), "c": None, "d": (1,)}), [GPU])
    assert rules.engines == {"a": ("GPU-0",), "b": ("GPU-0", "GPU-7"), "c": None, "d": (1,)}
    assert rules.instances == {"a": (40e9,), "b": (10e9,)}
    assert rules.on_instance == {BIG: ("a",), SMALL: ("b",)}


def test_an_instance_that_nobody_has_seen_names_no_gpu() -> None:
    rules = in_view(Rules(engines={"a": (OTHER,)}), [GPU])
    assert (rules.engines, rules.instances) == ({"a": (OTHER,)}, {})


def test_two_instances_of_one_gpu_are_one_gpu_and_a_token_weighs_as_one_of_them() -> None:
    rules = in_view(Rules(engines={"a": (BIG, SMALL), "b": (SMALL,)}), [GPU])
    assert rules.engines["a"] == ("GPU-0",)
    assert token_sizes(rules.instances, {"a", "b"}) == {"a": 25 / 40, "b": 10 / 40}
    assert parts_held(rules.instances, {"a", "b"}) == {"a": 50e9, "b": 10e9}


def test_beside_an_engine_whose_instance_is_not_known_tokens_weigh_the_same() -> None:
    assert token_sizes({"a": (40e9,)}, {"a", "b"}) == {"a": 1.0, "b": 1.0}
    assert parts_held({"a": (40e9,)}, {"a", "b"}) == {"a": 1.0, "b": 1.0}


def test_rules_without_instances_are_the_very_same() -> None:
    rules = Rules(engines={"a": None, "b": ("GPU-0",)})
    assert in_view(rules, [GPU]) is rules


@pytest.mark.parametrize(("gpus", "shares", "by"), [
    ({"a": (BIG,), "b": (SMALL,)}, (0.8, 0.2), "memory_tokens"),
    ({"a": (0,), "b": (SMALL,)}, (0.5, 0.5), "tokens"),
])  # fmt: skip
def test_engines_on_instances_share_work_by_memory_and_tokens_and_idle_by_memory(
    gpus: dict[str, tuple[str | int, ...]], shares: tuple[float, float], by: str
) -> None:
    policy = Policy(rules=Rules(engines=gpus, prefill_weight=0.12))
    s = warm(Service(running={"a": 1.0, "b": 1.0}), {gpu(0): 400.0})
    s.book("a")
    s.book("b")
    state = start(policy, s)
    for second in range(40):
        busy = second < 20
        s.running.update(a=float(busy), b=float(busy))
        s.go_on(1.0, {gpu(0): 400.0 if busy else 100.0})
        for e in "ab" if busy else "":
            s.book(e, generated=10)
        seen = s.tick(s.sample("a"), s.sample("b"))
        readings = tuple(replace(r, index=0, instances=SEEN) for r in seen.readings)
        state = books.tick(state, replace(seen, readings=readings), policy)
        assert_conserved(state)
    uses = by_use(books.finish(state, policy).ledger)
    work_j, idle_j = 20 * 400.0, 20 * 100.0
    for engine, share in zip("ab", shares, strict=True):
        assert uses[engine, "m", "decode"] == pytest.approx(share * work_j, rel=0.03)
        assert uses[engine, "m", "idle"] == pytest.approx(share * idle_j, rel=0.1)
        assert sharing.ways(state.settlement.accounts, engine) == (by,)


def told(big: float | None, small: float | None, free: float | None = 0.0) -> tuple[Instance, ...]:
    """How busy the instances are; the big one has four times the SMs of the others."""
    shares = (big, small, free)
    return tuple(replace(i, sms=s, active=a) for i, s, a in zip(SEEN, (64.0, 16.0, 16.0), shares, strict=True))


def by_sm(instances: tuple[Instance, ...], **gpus: tuple[str | int, ...]) -> dict[str, float]:
    reading = replace(GPU, instances=instances)
    rules = in_view(Rules(engines=gpus), [reading])
    return sharing.sm_by_instance(reading, frozenset(gpus), rules.on_instance)


def test_a_busy_sm_counts_the_same_on_every_instance_and_those_of_no_engine_are_foreign() -> None:
    parts = by_sm(told(0.5, 1.0, 0.25), a=(BIG,), b=(SMALL,))
    assert parts == pytest.approx({"a": 32 / 96, "b": 16 / 96, FOREIGN: 4 / 96})


def test_without_their_sms_instances_count_by_memory() -> None:
    parts = by_sm(tuple(replace(i, sms=0.0) for i in told(0.5, 1.0)), a=(BIG,), b=(SMALL,))
    assert parts == pytest.approx({"a": 20 / 60, "b": 10 / 60, FOREIGN: 0.0})


@pytest.mark.parametrize(("instances", "gpus"), [
    (told(None, 0.5), {"a": (BIG,), "b": (SMALL,)}),
    (told(0.5, 0.5), {"a": (BIG,), "b": (BIG,)}),
    (told(0.5, 0.5), {"a": (BIG,), "b": (0,)}),
    (told(0.5, 0.5, None), {"a": (BIG,), "b": (SMALL,)}),
])  # fmt: skip
def test_where_one_engine_cannot_be_told_from_others_none_is(
    instances: tuple[Instance, ...], gpus: dict[str, tuple[str | int, ...]]
) -> None:
    """Not told of one; two on the same; one on the whole GPU, so on an instance nobody knows; not told of a third."""
    assert by_sm(instances, **gpus) == {UNTOLD: 1.0}


def test_what_nobody_told_is_not_asked_for() -> None:
    assert by_sm(told(None, None, None), a=(BIG,), b=(SMALL,)) == {}
    assert sharing.sm_by_instance(GPU, frozenset(), {}) == {}


MOMENTS = st.lists(
    st.tuples(st.integers(1, 6), st.floats(50.0, 700.0), *[st.none() | st.floats(0.0, 1.0)] * 3), min_size=1, max_size=6
)


@settings(max_examples=40, deadline=None)
@given(MOMENTS)
def test_whatever_instances_tell_no_joule_is_lost_or_invented(
    moments: list[tuple[int, float, float | None, float | None, float | None]],
) -> None:
    policy = Policy(rules=Rules(engines={"a": (BIG,), "b": (SMALL,)}))
    s = warm(Service(running={"a": 1.0, "b": 1.0}), {gpu(0): 300.0})
    s.book("a")
    s.book("b")
    state = start(policy, s)
    for seconds, power_w, *shares in moments:
        for _ in range(seconds):
            state = second(state, s, policy, power_w, told(*shares))
    uses = by_use(books.finish(state, policy).ledger)
    assert sum(uses.values()) == pytest.approx(sum(n * w for n, w, *_ in moments), rel=1e-9)
    assert min(uses.values()) >= 0.0


def second(
    state: books.Books, s: Service, policy: Policy, power_w: float, instances: tuple[Instance, ...], busy: str = "ab"
) -> books.Books:
    s.running.update({e: float(e in busy) for e in "ab"})
    s.go_on(1.0, {gpu(0): power_w})
    for e in busy:
        s.book(e, generated=10)
    seen = s.tick(s.sample("a"), s.sample("b"))
    readings = tuple(replace(r, index=0, instances=instances) for r in seen.readings)
    state = books.tick(state, replace(seen, readings=readings), policy)
    assert_conserved(state)
    return state


def test_work_goes_by_busy_sms_idle_by_memory_and_a_busy_instance_of_nobody_pays_for_itself() -> None:
    policy = Policy(rules=Rules(engines={"a": (BIG,), "b": (SMALL,)}))
    s = warm(Service(running={"a": 0.0, "b": 0.0}), {gpu(0): 100.0})
    s.book("a")
    s.book("b")
    state = start(policy, s)
    for _ in range(15):
        state = second(state, s, policy, 100.0, told(0.0, 0.0), busy="")
    for _ in range(20):
        state = second(state, s, policy, 400.0, told(0.5, 0.5, 0.5))
    assert sharing.ways(state.settlement.accounts, "a") == ("instance_sm",)
    for _ in range(20):
        state = second(state, s, policy, 250.0, told(0.0, 0.0, 1.0), busy="")
    uses = by_use(books.finish(state, policy).ledger)
    assert uses["a", "m", "decode"] == pytest.approx(20 * 400 * 64 / 96, rel=0.05)
    assert uses["b", "m", "decode"] == pytest.approx(20 * 400 * 16 / 96, rel=0.05)
    assert uses["", "", "foreign"] == pytest.approx(20 * 400 * 16 / 96 + 20 * 150, rel=0.05)
    assert uses["a", "m", "idle"] == pytest.approx(35 * 100 * 0.8, rel=0.08)
    assert uses["b", "m", "idle"] == pytest.approx(35 * 100 * 0.2, rel=0.08)
