"""Whose processes ran: strangers beside one engine and beside several, at work and at rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import books, sharing
from agent.accounts import FOREIGN, UNTOLD, Rules
from agent.books import Books, Policy
from agent.model import ProcessUse, Reading
from tests.agent.test_books import assert_conserved, by_use, start, warm
from tests.fakes.service import Service, at, gpu

ONE = Policy(rules=Rules(engines={"a": None}))
TWO = Policy(rules=Rules(engines={"a": None, "b": None}))
PIDS = {"a": frozenset({1}), "b": frozenset({2})}
STRANGER = 77


def using(sm: Mapping[int, float], n: int = 0) -> Reading:
    return Reading(gpu(n), at(1.0), processes=tuple(ProcessUse(pid, share) for pid, share in sm.items()))


class World:
    """One GPU, and what runs there second by second."""

    def __init__(self, policy: Policy, idle_w: float = 90.0) -> None:
        self.policy = policy
        self.service = warm(Service(), {gpu(0): idle_w})
        for e in policy.rules.engines:
            self.service.book(e)
        self.state = start(policy, self.service)

    def go(self, seconds: int, power_w: float, sm: Mapping[int, float] | None, **tokens: float) -> None:
        """tokens: generated each second, by engine; who is not named has nothing running."""
        s = self.service
        for e in self.policy.rules.engines:
            s.running[e] = 1.0 if e in tokens else 0.0
        for _ in range(seconds):
            s.go_on(1.0, {gpu(0): power_w})
            for e, generated in tokens.items():
                s.book(e, generated=generated)
            seen = s.tick(*map(s.sample, self.policy.rules.engines))
            if sm is not None:
                uses = using(sm).processes
                readings = tuple(replace(r, processes=uses) for r in seen.readings)
                seen = replace(seen, readings=readings, pids={e: PIDS[e] for e in self.policy.rules.engines})
            self.state = books.tick(self.state, seen, self.policy)
            assert_conserved(self.state)

    def uses(self) -> dict[tuple[str, str, str], float]:
        return by_use(books.finish(self.state, self.policy).ledger)

    def foreign_of(self, change: Callable[[], None]) -> float:
        """Foreign joules that a piece of time adds."""
        before = by_use(self.state.ledger).get(("", "", "foreign"), 0.0)
        change()
        return by_use(self.state.ledger).get(("", "", "foreign"), 0.0) - before


def ways(state: Books, engine: str) -> tuple[str, ...]:
    return sharing.ways(state.settlement.accounts, engine)


def test_a_stranger_beside_the_only_engine_takes_its_part_of_the_work() -> None:
    world = World(ONE)
    world.go(5, 300.0, {1: 0.8}, a=10)
    world.go(20, 400.0, {1: 0.6, STRANGER: 0.2}, a=10)
    uses = world.uses()
    assert uses["", "", "foreign"] == pytest.approx(20 * 400 / 4, rel=0.01)
    assert uses["a", "m", "decode"] == pytest.approx(5 * 300 + 20 * 300, rel=0.01)
    assert ways(world.state, "a") == ("sm",)


def test_what_a_stranger_uses_while_the_engine_rests_is_neither_idle_nor_learned_as_its_floor() -> None:
    world = World(ONE)
    world.go(10, 300.0, {1: 0.8}, a=10)
    world.go(15, 90.0, {})
    world.go(20, 500.0, {STRANGER: 0.9})
    world.go(20, 90.0, {})
    world.go(10, 300.0, {1: 0.8}, a=10)
    uses = world.uses()
    assert uses["", "", "foreign"] == pytest.approx(20 * (500 - 90), rel=0.05)
    assert uses["a", "m", "idle"] == pytest.approx(55 * 90, rel=0.08)
    account = world.state.settlement.accounts[frozenset({"a"})]
    assert account.floor.idle_w == pytest.approx(90.0, rel=0.02)


def test_while_no_floor_is_known_a_stranger_gets_the_time_that_its_kernels_ran() -> None:
    world = World(ONE)
    world.go(5, 300.0, {1: 0.8}, a=10)
    world.go(20, 400.0, {STRANGER: 0.75})
    assert world.uses()["", "", "foreign"] == pytest.approx(20 * 400 * 0.75, rel=0.05)


def test_nobody_is_called_a_stranger_before_the_engine_was_seen_at_work_by_processes_of_its_own() -> None:
    """Behind a forwarded port, or in another pod, what computes is not what listens."""
    world = World(ONE)
    world.go(20, 400.0, {STRANGER: 0.9}, a=10)
    assert world.uses() == {("a", "m", "decode"): pytest.approx(8000.0)}
    assert ways(world.state, "a") == ("own",)


def test_a_window_in_which_it_was_not_always_known_who_ran_goes_by_tokens() -> None:
    world = World(TWO)
    for _ in range(10):
        world.go(1, 400.0, {1: 0.5, STRANGER: 0.5}, a=10, b=30)  # the stranger computes for b
        world.go(1, 400.0, {1: 0.5}, a=10, b=30)
    uses = world.uses()
    assert uses["a", "m", "decode"] == pytest.approx(2000.0, rel=0.01)
    assert uses["b", "m", "decode"] == pytest.approx(6000.0, rel=0.01)
    assert ways(world.state, "a") == ways(world.state, "b") == ("tokens",)


def test_a_process_of_two_engines_does_not_tell_them_apart() -> None:
    one = frozenset({1})
    known = sharing.homes(frozenset(), [using({1: 0.5})], {"a": one, "b": one})
    assert sharing.sm_by_owner(using({1: 0.5}), frozenset("ab"), {"a": one, "b": one}, known) == {UNTOLD: 1.0}


def test_an_engine_is_at_home_only_where_it_was_seen() -> None:
    known = sharing.homes(frozenset(), [using({1: 0.5, STRANGER: 0.2})], PIDS)
    elsewhere = using({1: 0.5, STRANGER: 0.2}, n=1)
    a = frozenset("a")
    assert sharing.sm_by_owner(using({STRANGER: 0.2}), a, PIDS, known) == {"a": 0.0, FOREIGN: 0.2}
    assert sharing.sm_by_owner(elsewhere, a, PIDS, known) == {UNTOLD: 1.0}
    assert sharing.homes(known, [using({1: 0.0}, n=1)], PIDS) == known, "a process that does nothing is no proof"


def test_without_the_drivers_word_the_only_engine_keeps_all_and_it_is_said() -> None:
    world = World(ONE)
    world.go(10, 400.0, None, a=10)
    assert world.uses() == {("a", "m", "decode"): pytest.approx(4000.0)}
    assert ways(world.state, "a") == ("own",)


MOMENT = st.tuples(
    st.integers(1, 7),
    st.floats(20.0, 700.0),
    st.none() | st.dictionaries(st.sampled_from([1, 2, STRANGER]), st.floats(0.0, 1.0)),
    st.dictionaries(st.sampled_from(["a", "b"]), st.floats(0.0, 100.0)),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(MOMENT, min_size=1, max_size=6), st.sampled_from([ONE, TWO]))
def test_whoever_ran_no_joule_is_lost_or_invented(
    moments: list[tuple[int, float, dict[int, float] | None, dict[str, float]]], policy: Policy
) -> None:
    world = World(policy)
    used_j = 0.0
    for seconds, power_w, sm, tokens in moments:
        world.go(seconds, power_w, sm, **{e: n for e, n in tokens.items() if e in policy.rules.engines})
        used_j += seconds * power_w
    uses = world.uses()
    assert sum(uses.values()) == pytest.approx(used_j, rel=1e-9)
    assert min(uses.values()) >= 0.0
