"""Whatever order spans and postings come in: each joule is somebody's once, and nobody waits for ever."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.accounts import Account, EngineBook, Settlement
from agent.learn import Learned, Price
from agent.model import DeviceKind, Instant, ModelWork, Posting, RequestEnergy, RequestSpan, Share, Use, Work
from agent.request_posts import Tick
from agent.requests import RequestRules, Requests, advance, begin

WALL_S = 1.79e9
ENGINES, MODELS = ("a", "b"), ("m", "n")
TICK_S = 5.0
RULES = RequestRules(memory_s=120.0)
OVERHANG_S = 2 * TICK_S  # a span's patience ends between two ticks


@dataclass
class World:
    """Two engines with two models each, on two groups of devices that are closed when they like."""

    chance: random.Random
    now_s: float = 0.0
    wall_s: float = WALL_S
    posted_j: list[float] = field(default_factory=list)
    closed_s: dict[str, float] = field(default_factory=lambda: dict.fromkeys("12", 0.0))
    sent: int = 0

    def at(self, mono_s: float) -> Instant:
        return Instant(mono_s, self.wall_s + mono_s)

    def tick(self, learned: Mapping[tuple[str, str], Learned], *, last: bool = False) -> Tick:
        begin_s, self.now_s = self.now_s, self.now_s + TICK_S
        self.wall_s += self.chance.choice([0.0] * 20 + [-500.0, -2.0, 30.0, 5000.0])
        works = tuple(self._work(engine, begin_s) for engine in ENGINES if self.chance.random() < 0.5)
        closing = [g for g in "12" if last or self.now_s - self.closed_s[g] > 60 or self.chance.random() < 0.5]
        postings = tuple(p for g in closing for p in self._postings(g))
        accounts = {frozenset(ENGINES[:n]): Account(self.at(self.closed_s[g])) for n, g in ((1, "1"), (2, "2"))}
        books = {e: EngineBook(self.at(self.now_s), models=MODELS) for e in ENGINES}
        spans = tuple(self._span() for _ in range(self.chance.randint(0, 4)))
        settlement = Settlement(self.at(self.now_s), accounts, books)
        return Tick(
            self.at(self.now_s), settlement, postings, works=works, learned=learned, spans=spans, last=last,
            kinds={"a": "vllm", "b": "llamacpp"},
        )  # fmt: skip

    def _work(self, engine: str, begin_s: float) -> Work:
        counts = (0.0, 1.0, 50.0, 1e6)
        models = {
            m: ModelWork(self.chance.choice(counts), self.chance.choice(counts), self.chance.choice(counts), steps=50.0)
            for m in MODELS
        }
        return Work(engine, self.at(begin_s), self.at(self.now_s), models, 1.0, 1.0)

    def _postings(self, group: str) -> list[Posting]:
        energies = (0.0, 1e-6, 1.0, 300.0, 1e6)
        begin_s, self.closed_s[group] = self.closed_s[group], self.now_s
        engines = ENGINES[: int(group)]
        shares = [
            Share(DeviceKind.GPU, use, engine, model, self.chance.choice(energies))
            for engine in engines
            for model in MODELS
            for use in (Use.PREFILL, Use.DECODE)
        ]
        self.posted_j += [s.energy_j for s in shares]
        return [Posting(self.at(begin_s), self.at(self.now_s), tuple(shares))]

    def _span(self) -> RequestSpan:
        pick = self.chance.choice
        end_s = self.wall_s + self.now_s + pick([-300.0, -100.0, -40.0, -5.0, -1.0, 0.0, 20.0])
        length_s = pick([0.0, 0.1, 3.0, 30.0, 120.0])
        part = (None, 0.0, length_s / 3, length_s)
        self.sent += 1
        return RequestSpan(
            pick(ENGINES), end_s - length_s, end_s, pick(MODELS),
            span_id=str(self.chance.randint(max(0, self.sent - 3), self.sent)), trace_id="t",
            queue_s=pick(part), prefill_s=pick(part), decode_s=pick(part),
            prompt_tokens=pick((None, 0.0, 10.0, 1e6)),
            cached_tokens=pick((None, 0.0)),
            generated_tokens=pick((None, 0.0, 1.0, 40.0)),
        )  # fmt: skip


def check(found: RequestEnergy) -> None:
    assert all(math.isfinite(j) and j >= 0.0 for j in (found.energy_j, found.prefill_j, found.decode_j))
    if found.low_j is not None and found.high_j is not None:
        assert 0.0 <= found.low_j <= found.energy_j <= found.high_j < math.inf


def nobody_waits(state: Requests, now_s: float) -> None:
    assert all(0.0 <= now_s - w.since_s <= RULES.patience_s + OVERHANG_S for w in state.waiting)
    assert state.at is not None
    for past in state.pasts.values():
        waiting = [w for w in past.windows if not w.shared]
        assert all(state.at.wall_s - w.end_s <= RULES.max_grace_s + OVERHANG_S for w in waiting)


price = st.builds(Price, *(st.sampled_from([0.0, 0.01, 5.0]) for _ in range(4)))
learning = st.dictionaries(
    st.tuples(st.sampled_from(ENGINES), st.sampled_from(MODELS)),
    st.builds(lambda p, c: Learned({(e, m): p for e in ENGINES for m in MODELS}, c, None), price, st.floats(0.0, 1.0)),
)


@settings(max_examples=60, deadline=None)
@given(st.integers().map(random.Random), st.integers(1, 40), learning)
def test_in_any_order_each_joule_is_somebodys_once_and_nobody_waits_for_ever(
    chance: random.Random, ticks: int, learned: Mapping[tuple[str, str], Learned]
) -> None:
    world = World(chance)
    state = begin(world.at(0.0), RULES)
    given_j: list[float] = []
    for n in range(ticks):
        state = advance(state, world.tick(learned, last=n == ticks - 1), RULES)
        for found in state.done:
            check(found)
            given_j.append(found.energy_j)
        held_j = math.fsum(w.given.energy_j for w in state.waiting)
        posted_j = math.fsum(world.posted_j)
        assert math.fsum(given_j) + held_j + state.left_j == pytest.approx(posted_j, rel=1e-9, abs=1e-9)
        nobody_waits(state, world.now_s)
    assert not state.waiting
    assert sum(state.totals.spans.values()) == world.sent
