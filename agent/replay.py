"""A recorded trace through the very functions that the live loop uses, as fast as it goes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain

from agent import books
from agent.books import Books, Observed, Policy
from agent.engines.page import read_page
from agent.errors import ReadFailed
from agent.model import EngineFailure, EngineSample, GridIntensity, Snapshot
from agent.settings import EngineSettings
from agent.trace import Tick, TraceEngine

PEEK_S = 60.0


@dataclass(frozen=True, slots=True)
class Replayed:
    """Where a replay stands after a tick."""

    books: Books
    policy: Policy
    ticks: int

    def snapshot(self) -> Snapshot:
        return books.snapshot(self.books, self.policy)


def replay(
    ticks: Iterable[Tick],
    policy: Policy,
    engines: Mapping[str, EngineSettings],
    grid: tuple[GridIntensity, ...] = (),
) -> Iterator[Replayed]:
    """The state after every tick; the last one is after the end, with nothing left pending.

    Engines that the trace names and the configuration does not are taken as configured with defaults. grid is what
    prices the joules unless the trace brings its own intensities, which then are the only ones.
    """
    state: Books | None = None
    ahead, ticks = _peek(iter(ticks))
    for tick in ahead:
        policy = _with_engines(policy, tick)
    told: tuple[GridIntensity, ...] = ()
    count = 0
    for tick in ticks:
        count += 1
        told = _heard(told, tick)
        policy = _with_engines(policy, tick)
        state = state or books.begin(tick.at, policy)
        state = books.tick(state, observed(tick, engines, told or grid), policy)
        yield Replayed(state, policy, count)
    if state is not None:
        yield Replayed(books.finish(state, policy), policy, count)


def _peek(ticks: Iterator[Tick]) -> tuple[list[Tick], Iterator[Tick]]:
    """The trace's first minute, and all of it again: the live agent knew its engines before their first page."""
    ahead: list[Tick] = []
    for tick in ticks:
        ahead.append(tick)
        if tick.at.mono_s - ahead[0].at.mono_s > PEEK_S:
            break
    return ahead, chain(ahead, ticks)


def observed(tick: Tick, engines: Mapping[str, EngineSettings], grid: tuple[GridIntensity, ...]) -> Observed:
    """What the live loop saw at this tick."""
    replies = [_reply(e, engines.get(e.engine)) for e in tick.engines if e.page is not None or e.error is not None]
    cpu_s = {e.engine: e.cpu_s for e in tick.engines if e.cpu_s is not None}
    pids = {e.engine: frozenset(e.pids) for e in tick.engines if e.pids is not None}
    return Observed(tick.at, tick.readings, tuple(replies), grid, cpu_s, pids)


def _reply(seen: TraceEngine, settings: EngineSettings | None) -> EngineSample | EngineFailure:
    if seen.page is None:
        return EngineFailure(seen.engine, seen.at, seen.error or "no page", seen.not_serving)
    settings = settings or EngineSettings(name=seen.engine, url="")
    try:
        return read_page(
            seen.page.encode("utf-8", "surrogateescape"),
            engine=seen.engine,
            at=seen.at,
            kind=settings.kind,
            model=settings.model,
            custom=settings.custom,
        )
    except ReadFailed as e:
        return EngineFailure(seen.engine, seen.at, e.reason)


def _heard(told: tuple[GridIntensity, ...], tick: Tick) -> tuple[GridIntensity, ...]:
    return told if not tick.grid else tuple(dict.fromkeys((*told, *tick.grid)))


def _with_engines(policy: Policy, tick: Tick) -> Policy:
    new = {e.engine: None for e in tick.engines if e.engine not in policy.rules.engines}
    if not new:
        return policy
    return replace(policy, rules=replace(policy.rules, engines={**policy.rules.engines, **new}))
