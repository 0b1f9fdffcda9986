"""The measuring thread: reads on absolute deadlines, accounts, publishes one snapshot by a reference swap."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from agent import books
from agent.books import Books, Observed, Policy
from agent.health import Health
from agent.model import (
    EnergyPrice,
    EngineFailure,
    EngineSample,
    GridIntensity,
    Instant,
    Located,
    Part,
    Reading,
    RequestEnergy,
    RequestSpan,
    Snapshot,
)
from agent.own_energy import OwnEnergy
from agent.places import said
from agent.poll import Cell, next_deadline
from agent.ports import Clock
from agent.pricing import Tariffs, tariffs
from agent.sources.selfshare import CpuSeconds
from agent.trace import Tick, TraceEngine

log = logging.getLogger("joulecar")

SLOW_S = 60.0  # spans come within seconds; where even the quickest takes longer, the engine's clock may be behind

EngineReply = EngineSample | EngineFailure


class Sensing(Protocol):
    """What reads the machine: agent.sensors.Sensors, or a fake."""

    def read(self) -> tuple[Reading, ...]: ...

    def close(self) -> None: ...


class Keeping(Protocol):
    """What outlives the agent: agent.keeper.Keeper. None of it raises."""

    self_energy_j: float | None

    def begin(self, at: Instant, tariffs: Tariffs, readings: Sequence[Reading]) -> Books: ...

    def keep(self, books: Books, self_energy_j: float | None) -> None: ...

    def shown(self, snapshot: Snapshot) -> Snapshot: ...


class World:
    """Where a tick's inputs come from. grid gives every intensity known now, average and marginal, prices every price;
    own_cpu the CPU seconds so far of the agent and of the machine (None: not known). cpu_s gives those of each engine's
    processes, pids their numbers: dear, so they are told the tick's readings and answer nothing where these leave
    nothing to share by them."""

    def __init__(
        self,
        sensors: Sensing,
        engines: Sequence[Cell[EngineReply]] = (),
        *,
        grid: Callable[[Instant], tuple[GridIntensity, ...]] = lambda _: (),
        cpu_s: Callable[[Sequence[Reading]], Mapping[str, float]] = lambda _: {},
        pids: Callable[[Sequence[Reading]], Mapping[str, frozenset[int]]] = lambda _: {},
        own_cpu: Callable[[], CpuSeconds | None] = lambda: None,
        prices: Callable[[Instant], tuple[EnergyPrice, ...]] = lambda _: (),
        located: Callable[[], Located | None] = lambda: None,
        spans: Callable[[], tuple[RequestSpan, ...]] = lambda: (),
        end: Callable[[], None] = lambda: None,
    ) -> None:
        """end: is called before the last tick, for those who would keep something for later."""
        self.sensors = sensors
        self.engines = tuple(engines)
        self.grid = grid
        self.cpu_s = cpu_s
        self.pids = pids
        self.own_cpu = own_cpu
        self.prices = prices
        self.located = located
        self.spans = spans
        self.end = end

    def observe(self, at: Instant) -> Observed:
        replies = [reply for cell in self.engines if (reply := cell.take()) is not None]
        readings = self.sensors.read()
        cpu_s, pids = self.cpu_s(readings), self.pids(readings)
        return Observed(at, readings, tuple(replies), self.grid(at), cpu_s, pids, self.prices(at), self.spans())


class Loop:
    """Runs ticks until the clock is stopped. Never raises after start: a part may fail, the agent may not."""

    def __init__(
        self,
        clock: Clock,
        world: World,
        policy: Policy,
        health: Health,
        *,
        interval_s: float,
        urls: Mapping[str, str] | None = None,
        record: Callable[[Tick, Books], None] | None = None,
        keeper: Keeping | None = None,
        attributed: Callable[[Sequence[RequestEnergy]], None] | None = None,
        refused: Callable[[Sequence[tuple[str, str]]], None] | None = None,
    ) -> None:
        """attributed: is told every request whose energy is known, after the tick that found it; refused: the trace and
        span of every one that gets none."""
        self._clock = clock
        self._world = world
        self._policy = policy
        self._health = health
        self._interval_s = interval_s
        self._urls = dict(urls or {})
        self._record = record
        self._keeper = keeper
        self._attributed = attributed
        self._refused = refused
        self._own = OwnEnergy(world.own_cpu, interval_s)
        self._ending = False
        self._fault = ""  # why the last tick failed, if it did
        self._books: Books | None = None  # begun with the first tick, as a replay's are
        self._snapshot = Snapshot(at=clock.now(), pue=policy.site.pue, node_overhead_w=policy.site.node_overhead_w)

    def snapshot(self) -> Snapshot:
        return self._snapshot

    def recent_requests(self) -> tuple[RequestEnergy, ...]:
        """The last ones whose energy is known, oldest first."""
        state = None if self._books is None else self._books.requests
        return () if state is None else state.recent

    def run(self) -> None:
        """Tick on absolute deadlines; an overrun skips whole ticks. On stop, everything that waits is booked."""
        deadline_s = self._clock.now().mono_s
        while self._clock.wait_until(deadline_s):
            self.tick()
            deadline_s = next_deadline(deadline_s, self._clock.now().mono_s, self._interval_s)
        self.finish()

    def tick(self) -> None:
        try:
            seen = self._world.observe(self._clock.now())
            self._note_engines(seen.engines)
            if self._books is None:
                self._books = self._begin(seen)
            if self._record is not None:
                self._record(recorded(seen, self._urls), self._books)
            self._account(seen, self._books)
            self._fault = ""
        except Exception as fault:
            # What a tick could not digest is lost to the log, not to the books: counters carry the energy on.
            self._tell(fault)

    def _tell(self, fault: Exception) -> None:
        """The traceback once, not at every tick; and on the page, whose time stands still."""
        text = f"{type(fault).__name__}: {fault}"
        if text != self._fault:
            log.error("a tick failed", exc_info=fault)
        self._fault = text
        self._health.failed(Part.LEDGER, "tick", "a tick failed; see the log")
        self._snapshot = replace(self._snapshot, parts=self._health.states(), refused_payloads=self._health.refusals())

    def finish(self) -> None:
        """One last reading, then nothing is left pending."""
        self._world.end()
        self._ending = True
        self.tick()
        if self._books is not None:
            self._books = books.finish(self._books, self._policy)
            self._publish(self._books)
            self._tell_requests(self._books)
        self._world.sensors.close()

    def _account(self, seen: Observed, before: Books) -> None:
        self._books = now = books.tick(before, seen, self._policy)
        for line in said(before.places, now.places):
            log.info(line)
        self._own.count(now, is_last=self._ending)
        self._health.ok(Part.LEDGER, "tick", seen.at.wall_s)
        self._publish(now)
        self._tell_requests(now)

    def _tell_requests(self, now: Books) -> None:
        if now.requests is None:
            return
        if self._refused is not None and now.requests.refused:
            self._refused(now.requests.refused)
        if not now.requests.done:
            return
        clocks = now.requests.clocks
        for engine in clocks.delays_s:
            if clocks.quickest_s(engine) > SLOW_S:
                reason = f"all end more than {SLOW_S:.0f} s before they come"
                self._health.failed(Part.OTLP, f"spans of {engine}", reason, "set the engine's clock, or send sooner")
            else:
                told = "its clock is ahead; set right here" if clocks.ahead_s(engine) else ""
                self._health.ok(Part.OTLP, f"spans of {engine}", now.at.wall_s, told)
        if self._attributed is not None:
            self._attributed(now.requests.done)

    def _begin(self, seen: Observed) -> Books:
        if self._keeper is None:
            return books.begin(seen.at, self._policy)
        found = self._keeper.begin(seen.at, tariffs(seen.grid, seen.prices), seen.readings)
        self._own.total_j = self._keeper.self_energy_j
        return found

    def _publish(self, now: Books) -> None:
        # Kept before it is shown: after a crash no counter stands lower than a scrape has seen it.
        if self._keeper is not None:
            self._keeper.keep(now, self._own.total_j)
        fresh = books.snapshot(now, self._policy, self._urls)
        if self._keeper is not None:
            fresh = self._keeper.shown(fresh)
        self._snapshot = replace(
            fresh,
            parts=self._health.states(),
            refused_payloads=self._health.refusals(),
            self_energy_j=self._own.total_j,
            located=self._world.located(),
        )

    def _note_engines(self, replies: Sequence[EngineReply]) -> None:
        for r in replies:
            if isinstance(r, EngineFailure):
                self._health.failed(Part.ENGINE, r.engine, r.reason)
            elif r.missing:
                self._health.failed(Part.ENGINE, r.engine, f"{r.kind} page lacks {', '.join(r.missing)}")
            else:
                self._health.ok(Part.ENGINE, r.engine, r.at.wall_s, f"{r.kind} {r.version}".strip())


def recorded(seen: Observed, order: Iterable[str] = ()) -> Tick:
    """A tick as the trace format has it. order: of the engines, wherever the tick tells of them."""
    replies = {r.engine: r for r in seen.engines}
    told = dict.fromkeys((*replies, *seen.cpu_s, *seen.pids))
    names = dict.fromkeys((*(name for name in order if name in told), *told))
    engines = tuple(_engine(name, replies.get(name), seen) for name in names)
    return Tick(seen.at, seen.readings, engines, seen.grid, seen.spans, seen.prices)


def _engine(name: str, reply: EngineReply | None, seen: Observed) -> TraceEngine:
    pids = seen.pids.get(name)
    entry = TraceEngine(
        name,
        reply.at if reply else seen.at,
        cpu_s=seen.cpu_s.get(name),
        pids=None if pids is None else tuple(sorted(pids)),
    )
    if isinstance(reply, EngineFailure):
        return replace(entry, error=reply.reason, not_serving=reply.not_serving)
    return replace(entry, page=reply.page) if reply is not None else entry
