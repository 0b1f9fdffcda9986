"""What the agent holds once its windows are full is all that it holds an hour later: nothing grows with time."""

from __future__ import annotations

import gc
import sys

import pytest

from agent.accounts import Rules
from agent.books import Policy
from agent.health import Health
from agent.keeper import Keeper
from agent.learned import MANY, learned
from agent.loop import EngineReply, Loop, World
from agent.model import Reading, RequestSpan
from agent.poll import Cell
from agent.remember import Identity
from agent.requests import RequestRules
from agent.store.database import Database
from agent.store.ledger_store import LedgerStore
from exporters.prometheus import Exposition
from tests.fakes.clock import FakeClock
from tests.fakes.service import CPU, WALL_S, Service, gpu

SETTLED_S = 2400  # the windows are full by then, and so are the last requests that are told
HOUR_S = 3600
TICK_S, PAGE_S, SCRAPE_S = 2, 10, 30
REQUEST_S = 16.0
PER_PAGE = 10
POLICY = Policy(
    rules=Rules(engines={"a": None}, window_s=10.0),
    windows=(("1m", 60.0), ("5m", 300.0)),
    requests=RequestRules(memory_s=300.0, group_by=("team",), max_groups=10),
)


class Day:
    """An agent on a machine that serves the same load all day, and is scraped."""

    def __init__(self, *, spans: bool) -> None:
        self.clock = FakeClock(mono_s=0.0, wall_s=WALL_S)
        self.service = Service()
        self.cell: Cell[EngineReply] = Cell()
        self.spans: list[RequestSpan] = []
        self.sends = spans
        self.attributed = 0
        health = Health()
        keeper = Keeper(LedgerStore(Database(None, 0.0), Identity()), Identity(), health, POLICY)
        world = World(self, [self.cell], spans=self._drain)
        self.loop = Loop(
            self.clock, world, POLICY, health, interval_s=1.0, keeper=keeper, attributed=self._note_attributed
        )
        self.page = Exposition(self.loop, process=False)

    def read(self) -> tuple[Reading, ...]:
        return self.service.tick().readings

    def close(self) -> None: ...

    def _drain(self) -> tuple[RequestSpan, ...]:
        spans, self.spans = tuple(self.spans), []
        return spans

    def _note_attributed(self, done: object) -> None:
        assert isinstance(done, tuple)
        self.attributed += len(done)

    def run(self, seconds: int) -> None:
        until_s = self.clock.now().mono_s + seconds
        while (now_s := self.clock.now().mono_s) < until_s:
            self.clock.advance(TICK_S)
            load = 1.0 + 0.5 * (now_s % 14) / 14
            self.service.go_on(TICK_S, {gpu(0): 300.0 * load, gpu(1): 250.0 * load, CPU: 60.0})
            self.service.running["a"] = 4.0
            self.service.book("a", generated=100 * load, computed=200 * load)
            if now_s % PAGE_S == 0:
                self.cell.put(self.service.sample("a"))
                self.spans += [self._span(now_s + n) for n in range(PER_PAGE)] if self.sends else []
            self.loop.tick()
            if now_s % SCRAPE_S == 0:
                self.page.render()

    def _span(self, number: float) -> RequestSpan:
        """Without a trace: of those the last 20,000 are remembered, which takes more than an hour."""
        end_s = self.clock.now().wall_s - 1.0
        return RequestSpan(
            engine="a",
            start_s=end_s - REQUEST_S,
            end_s=end_s,
            model="m",
            prompt_tokens=100.0,
            generated_tokens=50.0,
            group=(("team", f"team {number:.0f}"),),
        )


def held() -> int:
    """Blocks of memory, without the fits whose prices are remembered: as many as that may be take hours to come."""
    assert learned.cache_info().currsize <= MANY
    learned.cache_clear()
    gc.collect()
    return sys.getallocatedblocks()


@pytest.mark.parametrize("spans", [False, True])
def test_nothing_is_held_an_hour_later_that_was_not_held_before(*, spans: bool) -> None:
    day = Day(spans=spans)
    day.run(SETTLED_S)
    before = held()
    day.run(HOUR_S)
    grown = held() - before
    assert (day.attributed > 0.9 * (SETTLED_S + HOUR_S) / PAGE_S * PER_PAGE) is spans
    assert day.loop.snapshot().ledger.energy_j
    assert grown < HOUR_S / TICK_S / 10, "blocks of memory"
