"""A recorded trace through the very functions that the live loop uses, as fast as it goes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from agent import books
from agent.books import Books, Observed, Policy
from agent.engines.page import read_page
from agent.errors import ReadFailed
from agent.model import EnergyPrice, EngineFailure, EngineSample, GridIntensity, Snapshot
from agent.settings import EngineSettings
from agent.trace import Tick, TraceEngine

PEEK_S = 60.0
KEPT_S = 86_400.0  # intensities are kept this long after their time: joules are priced at most minutes late


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
    prices: tuple[EnergyPrice, ...] = (),
    *,
    opened: Books | None = None,
) -> Iterator[Replayed]:
    """The state after every tick; the last one is after the end, with nothing left pending.

    Engines that the trace names and the configuration does not are taken as configured with defaults. grid and prices
    hold for all times for which the trace brings none of its own. opened: the books before the first tick, of a trace
    that an agent wrote; its ticks tell all that was known, so that nothing told before holds beside it.
    """
    state = opened
    ahead, ticks = _peek(iter(ticks))
    for tick in ahead:
        policy = _with_engines(policy, tick)
    told = Told()
    count = 0
    for tick in ticks:
        count += 1
        told = hear(told, tick) if opened is None else Told(tick.grid or told.known)
        policy = _with_engines(policy, tick)
        state = state or books.begin(tick.at, policy)
        prices = tick.prices or prices
        known = told.with_fallback(grid) if opened is None else told.known or grid
        seen = replace(observed(tick, engines, known), prices=prices)
        state = books.tick(state, seen, policy)
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
    return Observed(tick.at, tick.readings, tuple(replies), grid, cpu_s, pids, spans=tick.spans)


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


@dataclass(frozen=True, slots=True)
class Told:
    """The intensities that the trace has told so far. A tick without any leaves them as they are."""

    known: tuple[GridIntensity, ...] = ()
    last: tuple[GridIntensity, ...] = ()  # as the last tick that told some had them

    def with_fallback(self, grid: tuple[GridIntensity, ...]) -> tuple[GridIntensity, ...]:
        """These, and the configured ones for the time that they leave open."""
        always = any(e.valid_from_s == -math.inf and e.valid_to_s == math.inf for e in self.known)
        return self.known if always else (*self.known, *grid)


def hear(told: Told, tick: Tick) -> Told:
    """What is told later of the same time replaces what was told before. Where nothing says when it began, it began
    now, unless it is the first; and another zone holds from now on: the machine is where the last word says."""
    if not tick.grid or tick.grid == told.last:
        return told
    now_s = tick.at.wall_s
    moved = bool(told.known) and {e.zone for e in tick.grid}.isdisjoint(e.zone for e in told.last)
    new = [e for e in tick.grid if e not in told.last]
    if told.known and (moved or all(e.valid_from_s == -math.inf for e in tick.grid)):
        new = [replace(e, valid_from_s=max(now_s, e.valid_from_s)) for e in new if now_s < e.valid_to_s]
    known = [rest for e in told.known for rest in _less(e, new) if rest.valid_to_s > now_s - KEPT_S]
    if moved:
        known = [replace(e, valid_to_s=min(e.valid_to_s, now_s)) for e in known if e.valid_from_s < now_s]
    return Told((*known, *new), tick.grid)


def _less(old: GridIntensity, new: Sequence[GridIntensity]) -> list[GridIntensity]:
    """What an older statement still says: nothing of the time that newer ones of its kind speak of. Constants speak
    of no time in particular; they give way to whatever does, and to each other."""
    rivals = [e for e in new if (e.zone, e.signal) == (old.zone, old.signal)]
    if _is_constant(old):
        return [] if any(_is_constant(e) for e in rivals) else [old]
    rivals = [e for e in rivals if not _is_constant(e)]
    begin_s = min((e.valid_from_s for e in rivals), default=math.inf)
    end_s = max((e.valid_to_s for e in rivals), default=-math.inf)
    if end_s <= old.valid_from_s or old.valid_to_s <= begin_s:
        return [old]
    rest = []
    if old.valid_from_s < begin_s:
        rest.append(replace(old, valid_to_s=begin_s))
    if end_s < old.valid_to_s:
        rest.append(replace(old, valid_from_s=end_s))
    return rest


def _is_constant(e: GridIntensity) -> bool:
    return e.valid_from_s == -math.inf and e.valid_to_s == math.inf


def _with_engines(policy: Policy, tick: Tick) -> Policy:
    new = {e.engine: None for e in tick.engines if e.engine not in policy.rules.engines}
    if not new:
        return policy
    finds = policy.rules.finds | new.keys()
    return replace(policy, rules=replace(policy.rules, engines={**policy.rules.engines, **new}, finds=finds))
