"""GPUs that go from one engine to another while all goes on: no joule is lost, none is told twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import books
from agent.accounts import Rules
from agent.books import Observed, Policy
from agent.codec import Codecs
from agent.done import Block
from agent.learn import Fit
from agent.loop import recorded
from agent.model import DeviceKind, EngineGpu, EngineSample, Instant, Quantity
from agent.remember import Identity, Memory, memory_of, resume
from agent.replay import replay
from agent.trace import encode_tick, read_trace
from tests.agent.test_books import assert_conserved, by_use, warm
from tests.fakes.engine import PAGE
from tests.fakes.service import CPU, Service, gpu

PIDS = {"a": frozenset({1}), "b": frozenset({2})}
NOWHERE: Mapping[int, str] = {}
POWER_W = {0: 300.0, 1: 200.0, 2: 70.0}


def free(*engines: str, max_pending_s: float = 60.0) -> Policy:
    rules = Rules(engines=dict.fromkeys(engines), finds=frozenset(engines), max_pending_s=max_pending_s)
    return Policy(rules=rules)


class World:
    """Three GPUs and a processor; who holds memory of which GPU, second by second."""

    def __init__(self, policy: Policy, *, silent: str = "") -> None:
        """silent: engines that do not answer at first."""
        self.policy = policy
        self.watts = {**{gpu(n): w for n, w in POWER_W.items()}, CPU: 50.0}
        self.service = warm(Service(), self.watts)
        for e in policy.rules.engines:
            self.service.running[e] = 1.0
            self.service.book(e)
        begun = books.begin(self.service.at, policy)
        replies = [self.service.sample(e) for e in policy.rules.engines if e not in silent]
        self.state = books.tick(begun, self.service.tick(*replies), policy)
        self.used_j = 0.0
        self.last = Observed(self.state.at)

    def go(
        self,
        seconds: int,
        held: Mapping[int, str] | None,
        heard: str = "ab",
        *,
        each: float = 1.0,
        without: str = "",
    ) -> None:
        """held: by GPU, the engines that hold its memory; None: nobody looked. heard: the engines that answer. without:
        those that are seen to have no GPU open."""
        for _ in range(seconds):
            self.service.go_on(each, self.watts)
            self.used_j += each * sum(self.watts.values())
            replies = []
            for e in self.policy.rules.engines:
                self.service.book(e, generated=10.0)
                replies.append(self.service.sample(e) if e in heard else self.service.down(e))
            seen = self.service.tick(*replies)
            if held is not None:
                there = {gpu(n): tuple(sorted(p for e in held.get(n, "") for p in PIDS[e])) for n in POWER_W}
                readings = tuple(replace(r, residents=there.get(r.device)) for r in seen.readings)
                pids = {e: frozenset() if e in without else own for e, own in PIDS.items()}
                seen = replace(seen, readings=readings, pids=pids)
            self.last = seen
            self.state = books.tick(self.state, seen, self.policy)
            assert_conserved(self.state)

    def per_engine(self) -> dict[str, float]:
        """Joules since the beginning, without the processor's."""
        ledger = books.finish(self.state, self.policy).ledger
        out: dict[str, float] = {}
        for (engine, _, _, kind), joules in ledger.energy_j.items():
            if kind == "gpu":
                out[engine] = out.get(engine, 0.0) + joules
        return out


def test_engines_that_name_no_gpu_get_those_of_their_processes_from_the_first_second_on() -> None:
    world = World(free("a", "b"))
    world.go(3, NOWHERE)  # they load: nothing is seen yet, and nothing was closed
    world.go(20, {0: "a", 1: "b"})
    assert world.per_engine() == {
        "a": pytest.approx(23 * 300),
        "b": pytest.approx(23 * 200),
        "": pytest.approx(23 * 70),
    }


def test_an_engine_on_several_gpus_is_one_group_and_grows_and_shrinks() -> None:
    world = World(free("a"))
    world.go(20, {0: "a", 1: "a"})
    assert set(world.state.settlement.accounts) == {frozenset(), frozenset("a")}
    world.go(20, {0: "a", 1: "a", 2: "a"})
    world.go(20, {2: "a"})
    joules = world.per_engine()
    # Energy of the looks that it took, and of the window around them, may stay where it was.
    assert joules["a"] == pytest.approx(20 * 500 + 20 * 570 + 20 * 70, abs=3 * 570)
    assert sum(joules.values()) == pytest.approx(60 * 570, rel=1e-9)


def test_an_engine_that_restarts_elsewhere_moves_with_the_time_in_which_it_was_seen_there() -> None:
    world = World(free("a", "b"))
    world.go(30, {0: "a", 1: "b"})
    world.go(8, {1: "b"}, heard="b")  # a is away; its GPU stays its own
    world.go(30, {2: "a", 1: "b"})
    joules = world.per_engine()
    assert joules["b"] == pytest.approx(68 * 200)
    assert joules["a"] == pytest.approx(38 * 300 + 30 * 70, abs=3 * 370)
    assert sum(joules.values()) == pytest.approx(68 * 570, rel=1e-9)


def test_an_engine_that_does_not_run_yet_holds_up_nobodys_books() -> None:
    world = World(free("a", "b"), silent="b")
    world.go(100, {0: "a"}, heard="a")
    world.go(30, {0: "a", 1: "b"})
    assert world.per_engine() == {
        "a": pytest.approx(130 * 300),
        "b": pytest.approx(30 * 200, abs=3 * 200),
        "": pytest.approx(130 * 70 + 100 * 200, abs=3 * 200),
    }
    uses = by_use(books.finish(world.state, world.policy).ledger)
    assert sum(j for (_, _, use), j in uses.items() if use == "unattributed") == 0.0


@pytest.mark.parametrize("loading_s", [3, 30])
def test_an_engine_that_was_awaited_in_vain_takes_no_joule_of_those_that_are_found_along(loading_s: int) -> None:
    """Till somebody is seen, both are taken to be everywhere, and nothing can be closed without the silent one."""
    world = World(free("a", "b"), silent="b")
    world.go(loading_s, NOWHERE, heard="a")
    world.go(60, {0: "a"}, heard="a")
    total_s = loading_s + 60
    assert world.per_engine() == {"a": pytest.approx(total_s * 300), "": pytest.approx(total_s * 270)}
    uses = by_use(books.finish(world.state, world.policy).ledger, DeviceKind.GPU)
    assert {use for _, _, use in uses} == {"decode", "unassigned"}


def test_an_engine_that_computes_on_the_processor_takes_no_part_in_the_gpus_of_another_one() -> None:
    world = World(free("a", "b"))
    world.go(60, {0: "a"}, without="b")
    assert world.per_engine() == {"a": pytest.approx(60 * 300), "": pytest.approx(60 * 270)}
    assert set(world.state.settlement.accounts) == {frozenset(), frozenset("a"), frozenset("b")}
    _, b = books.snapshot(world.state, world.policy).engines
    assert (b.gpus, b.gpus_found) == ((), "unclaimed")


def test_prices_of_other_gpus_are_forgotten_and_no_account_of_a_group_that_is_gone_stays() -> None:
    world = World(free("a", "b"))
    world.go(60, {0: "a", 1: "b"})
    assert world.state.settlement.accounts[frozenset("a")].fit.blocks > 0
    world.go(9, {0: "a", 1: "ab"})
    assert set(world.state.settlement.accounts) == {frozenset("a"), frozenset("ab"), frozenset()}
    assert world.state.settlement.accounts[frozenset("a")].floor.busy_w in (None, pytest.approx(300.0))
    world.go(20, {0: "b", 1: "a"})
    assert set(world.state.settlement.accounts) == {frozenset("a"), frozenset("b"), frozenset()}
    assert world.state.settlement.accounts[frozenset("a")].floor.busy_w == pytest.approx(200.0)


def test_nothing_is_learned_from_a_time_with_two_arrangements() -> None:
    world = World(free("a"))
    world.go(90, {0: "a"})
    before = world.state.settlement.accounts[frozenset("a")]
    assert before.fit.blocks > 0
    world.go(3, {0: "a", 1: "a"})
    after = world.state.settlement.accounts[frozenset("a")]
    assert (after.fit, after.moved) == (Fit(), True)
    while world.state.settlement.accounts[frozenset("a")].moved:
        world.go(1, {0: "a", 1: "a"})
    first = world.state.settlement.accounts[frozenset("a")]
    assert (first.fit, first.gathered) == (Fit(), Block()), "what was measured on both is not learned from"
    world.go(150, {0: "a", 1: "a"})
    again = world.state.settlement.accounts[frozenset("a")]
    assert again.fit.blocks > 0
    assert again.floor.busy_w == pytest.approx(500.0)


def test_a_configured_engine_stays_where_it_is_configured() -> None:
    rules = Rules(engines={"a": ("GPU-0",), "b": None}, finds=frozenset("b"))
    world = World(Policy(rules=rules))
    world.go(20, {1: "a", 2: "b"})
    assert world.per_engine() == {"a": pytest.approx(6000), "b": pytest.approx(1400), "": pytest.approx(4000)}


def test_the_snapshot_says_where_an_engine_is_and_how_that_is_known() -> None:
    world = World(free("a", "b"))
    world.go(2, {0: "a", 1: "a"})
    a, b = books.snapshot(world.state, world.policy).engines
    assert (a.gpus, a.gpus_found) == ((EngineGpu("GPU-0"), EngineGpu("GPU-1")), "processes")
    assert (b.gpus, b.gpus_found) == (tuple(EngineGpu(f"GPU-{n}") for n in range(3)), "not_seen")


def page(world: World, engine: str) -> str:
    """What the engine of that name would have answered, as a trace keeps it."""
    told = {q: v for (e, _, q), v in world.service.tokens.items() if e == engine}
    return PAGE.format(
        model="m", running=1, prompt=told[Quantity.PROMPT], cached=0.0, generated=told[Quantity.GENERATED], requests=0.0
    )


def test_a_trace_leads_its_replay_to_the_same_places_and_joules() -> None:
    world = World(free("a", "b"))
    ticks = []

    def keep(seconds: int, held: Mapping[int, str]) -> None:
        for _ in range(seconds):
            before = world.state
            world.go(1, held)
            seen = world.last
            replies = tuple(replace(r, page=page(world, r.engine)) for r in seen.engines if isinstance(r, EngineSample))
            ticks.append(recorded(replace(seen, engines=replies)))
            assert world.state is not before

    keep(20, {0: "a", 1: "b"})
    keep(20, {2: "a", 1: "b"})
    lines = [encode_tick(t) for t in ticks]
    *_, end = replay(read_trace(lines), free("a", "b"), {})
    assert {e: p.gpus for e, p in end.books.places.items()} == {"a": ("GPU-2",), "b": ("GPU-1",)}
    again, live = by_use(end.books.ledger, DeviceKind.GPU), by_use(books.finish(world.state, world.policy).ledger)
    first = sum(POWER_W.values())  # the first reading of a trace only begins its counters
    assert sum(again.values()) == pytest.approx(world.used_j - 40 * 50.0 - first)
    assert again["a", "m", "decode"] == pytest.approx(live["a", "m", "decode"], rel=0.2)
    *_, free_again = replay(read_trace(lines), Policy(), {})
    assert free_again.books.places == end.books.places, "engines that only the trace names are found, too"


def test_a_trace_leads_its_replay_to_an_engine_without_a_gpu() -> None:
    world = World(free("a", "b"))
    ticks = []
    for _ in range(30):
        world.go(1, {0: "a"}, without="b")
        seen = world.last
        replies = tuple(replace(r, page=page(world, r.engine)) for r in seen.engines if isinstance(r, EngineSample))
        ticks.append(recorded(replace(seen, engines=replies)))
    *_, end = replay(read_trace([encode_tick(t) for t in ticks]), free("a", "b"), {})
    assert end.books.places["b"].unclaimed


def test_a_restart_of_the_agent_knows_where_engines_were() -> None:
    world = World(free("a", "b"))
    world.go(10, {0: "a", 1: "b"})
    same = Identity("boot", "driver")
    kept = memory_of(world.state, same)
    back = Codecs().loads(Codecs().dumps(kept, Memory), Memory)
    at_s = Instant(world.state.at.mono_s + 1.0, world.state.at.wall_s + 1.0)
    state = resume(world.state.ledger, back, at_s, same, world.policy)
    assert {e: p.gpus for e, p in state.places.items()} == {"a": ("GPU-0",), "b": ("GPU-1",)}
    assert resume(world.state.ledger, back, at_s, Identity("other", "driver"), world.policy).places == {}


WITHOUT = st.sampled_from(["", "a", "b", "ab"])
HELD = st.none() | st.dictionaries(st.sampled_from([0, 1, 2]), st.sampled_from(["a", "b", "ab"]))
MOMENTS = st.lists(
    st.tuples(
        st.integers(1, 9), HELD, st.sampled_from(["ab", "a", "b", ""]), st.sampled_from([0.5, 1.0, 3.0]), WITHOUT
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(MOMENTS, st.sampled_from([("a",), ("a", "b")]), st.sampled_from([8.0, 60.0]), st.sampled_from(["", "b"]))
def test_wherever_engines_are_seen_no_joule_is_lost_or_invented(
    moments: list[tuple[int, dict[int, str] | None, str, float, str]],
    engines: tuple[str, ...],
    max_pending_s: float,
    silent: str,
) -> None:
    world = World(free(*engines, max_pending_s=max_pending_s), silent=silent)
    for seconds, held, heard, each, without in moments:
        there = None if held is None else {n: "".join(e for e in who if e in engines) for n, who in held.items()}
        world.go(seconds, there, heard, each=each, without=without)
        groups = world.state.settlement.accounts.keys()
        assert len(groups) <= 4, "at most one for each set of engines"
    uses = by_use(books.finish(world.state, world.policy).ledger)
    assert sum(uses.values()) == pytest.approx(world.used_j, rel=1e-9)
    assert min(uses.values()) >= 0.0
