"""The energy of single requests: spans and posted windows in, joules of each request out. Pure.

A span waits until the books of its engine are closed beyond its end; then its prompt and its generated tokens have
taken their parts of the windows that it ran in (agent/request_till.py). What no span claims stays with the model, so
that the counters' truth is untouched by whatever a span says:

    sum over requests + what is left in the windows == energy booked to prefill and decode
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from agent.accounts import Settlement
from agent.done import Who
from agent.learn import Learned
from agent.model import Instant, RequestEnergy, RequestOutcome, RequestSpan, RequestTotals, Work
from agent.request_checks import Clocks
from agent.request_figures import average, of_windows
from agent.request_intake import Intake, Limits, Outcomes, receive
from agent.request_life import life_of
from agent.request_posts import Tick, posted
from agent.request_shares import Says
from agent.request_till import Till
from agent.request_totals import note
from agent.request_windows import Given, Past, added, moved
from agent.timeline import CLOCKS_AGREE_S
from agent.work import OTHER_MODEL

MAX_WAITING = 20_000
RECENT = 1000

SpanKey = tuple[str, str]  # trace id, span id


@dataclass(frozen=True, slots=True)
class RequestRules:
    """memory_s: windows are kept so long, and no request may be longer. patience_s: a span waits no longer for the
    books of its engine. grace_s: spans come so long after the end of their request. A window is shared out so long
    after its own end, and as much later as requests of its engine last, but never later than max_grace_s."""

    memory_s: float = 900.0
    patience_s: float = 75.0
    grace_s: float = 10.0
    max_grace_s: float = 60.0
    group_by: tuple[str, ...] = ()
    max_groups: int = 100


@dataclass(frozen=True, slots=True)
class Waiting:
    """A span whose time is not settled, and what it got so far."""

    since_s: float  # mono_s: nobody sets that clock
    span: RequestSpan
    model: str | None = None  # None: not known yet
    is_late: bool = False  # windows of it are gone, or never were
    given: Given = field(default_factory=Given)

    @property
    def who(self) -> Who:
        return self.span.engine, self.model or ""


@dataclass(frozen=True, slots=True)
class Requests:
    """All that is remembered of requests from tick to tick."""

    began_s: float  # Unix seconds; what ran before was not measured
    totals: RequestTotals
    at: Instant | None = None  # of the last tick
    pasts: Mapping[Who, Past] = field(default_factory=dict)
    works: Mapping[str, tuple[Work, ...]] = field(default_factory=dict)  # told, by engine
    waiting: tuple[Waiting, ...] = ()
    intake: Intake = field(default_factory=Intake)
    recent: tuple[RequestEnergy, ...] = ()
    done: tuple[RequestEnergy, ...] = ()  # at the last tick
    refused: tuple[SpanKey, ...] = ()  # spans that will get no joules, likewise

    @property
    def taught(self) -> dict[Who, Learned]:
        """By model: what its spans taught of prices, where they did."""
        return {who: taught for who, past in self.pasts.items() if (taught := past.fit.taught(who)) is not None}

    @property
    def left_j(self) -> float:
        """Energy of prefill and decode that no request took."""
        return sum(p.left_j for p in self.pasts.values())

    @property
    def clocks(self) -> Clocks:
        return self.intake.clocks


def begin(at: Instant, rules: RequestRules) -> Requests:
    return Requests(at.wall_s, RequestTotals(group_by=rules.group_by), at)


def advance(state: Requests, tick: Tick, rules: RequestRules) -> Requests:
    """Take in what was posted and which spans came, and attribute those whose time is settled."""
    state = _by_todays_clock(state, tick.at)
    pasts, works = posted(state.pasts, state.works, tick, memory_s=rules.memory_s, patience_s=rules.patience_s)
    state, outcomes = _receive(replace(state, at=tick.at, pasts=pasts, works=works), tick, rules)
    tills: dict[Who, Till] = {}
    waiting = [_named(one, state, tick, tills) for one in state.waiting]
    _share(waiting, state, tick, tills, rules)
    done: list[RequestEnergy] = []
    still: list[Waiting] = []
    refused = _not_taken(state, tick)
    ends = Ends(tick, state.pasts, tills)
    for one in waiting:
        if not _is_ready(one, tick, ends, rules):
            still.append(one)
            continue
        found, outcome = _attribute(state, tick, tills, one)
        outcomes.append((one.span.engine, outcome))
        if found is not None:
            done.append(found)
        else:
            refused.append((one.span.trace_id, one.span.span_id))
    if tills:
        state = replace(state, pasts={**state.pasts, **{who: till.past() for who, till in tills.items()}})
    state = replace(state, waiting=tuple(still), done=tuple(done), refused=tuple(refused))
    if not outcomes:
        return state
    totals = note(state.totals, done, outcomes, at_s=tick.at.wall_s, max_groups=rules.max_groups)
    totals = replace(totals, clock_shift_s=state.clocks.shifts_s())
    return replace(state, totals=totals, recent=(*state.recent, *done)[-RECENT:])


def _not_taken(state: Requests, tick: Tick) -> list[SpanKey]:
    """Of the spans that came, those that nothing waits for. One that came twice may wait all the same."""
    if not tick.spans:
        return []
    waiting = {(w.span.trace_id, w.span.span_id) for w in state.waiting}
    came = ((s.trace_id, s.span_id) for s in tick.spans if s.is_request)
    return [key for key in came if key not in waiting]


def _by_todays_clock(state: Requests, at: Instant) -> Requests:
    """A wall clock that was set since the last tick changes what all that is remembered is called, not when it was."""
    if state.at is None:
        return state
    by_s = (at.wall_s - state.at.wall_s) - (at.mono_s - state.at.mono_s)
    if abs(by_s) <= CLOCKS_AGREE_S:
        return state
    spans = (replace(w.span, start_s=w.span.start_s + by_s, end_s=w.span.end_s + by_s) for w in state.waiting)
    return replace(
        state,
        began_s=state.began_s + by_s,
        pasts={who: moved(past, by_s) for who, past in state.pasts.items()},
        waiting=tuple(replace(w, span=span) for w, span in zip(state.waiting, spans, strict=True)),
        intake=replace(state.intake, clocks=Clocks()),
    )


def _receive(state: Requests, tick: Tick, rules: RequestRules) -> tuple[Requests, Outcomes]:
    if not tick.spans:
        return state, []
    limits = Limits(rules.memory_s, MAX_WAITING - len(state.waiting), bool(rules.group_by))
    intake, spans, outcomes = receive(state.intake, tick.spans, tick.settlement, tick.at.wall_s, limits)
    waiting = (*state.waiting, *(Waiting(tick.at.mono_s, span) for span in spans))
    return replace(state, intake=intake, waiting=waiting), outcomes


# -- whose time is settled --------------------------------------------------------------------------------------


def _named(one: Waiting, state: Requests, tick: Tick, tills: dict[Who, Till]) -> Waiting:
    """With its model, once that is known, and with its part of windows that were shared out by then."""
    if one.model is not None:
        return one
    model = _model(one.span, tick.settlement)
    if model is None:
        return one
    till = _till(state, tills, (one.span.engine, model))
    if one.span.start_s < max(state.began_s, till.before.gone_to_s):
        return replace(one, model=model, is_late=True)
    return replace(one, model=model, given=till.take(life_of(one.span, tick.kinds.get(one.span.engine))))


def _share(waiting: list[Waiting], state: Requests, tick: Tick, tills: dict[Who, Till], rules: RequestRules) -> None:
    """Share out the windows whose time has come among the spans that are there."""
    many = len(waiting) > MAX_WAITING / 2
    last_s = math.inf if tick.last or many else tick.at.wall_s - rules.max_grace_s
    due: dict[Who, float] = {}
    for who, past in state.pasts.items():
        longest_s = 0.0 if many else state.intake.longest_s(who[0])
        grace_s = min(rules.grace_s + longest_s, rules.max_grace_s)
        now_s = math.inf if tick.last else tick.at.wall_s - grace_s
        if any(not w.shared and w.end_s <= now_s for w in reversed(past.windows)):
            due[who] = now_s
    mine: dict[Who, list[int]] = {who: [] for who in due}
    for n, one in enumerate(waiting if due else ()):
        if one.model is not None and not one.is_late and one.who in due:
            mine[one.who].append(n)
    for who, now_s in due.items():
        lives = [life_of(waiting[n].span, tick.kinds.get(who[0])) for n in mine[who]]
        given = _till(state, tills, who).share(now_s, lives, _says(tick, who), last_s)
        for n, more in zip(mine[who], given, strict=True):
            waiting[n] = replace(waiting[n], given=added(waiting[n].given, more))


def _says(tick: Tick, who: Who) -> Says:
    says = tick.learned.get(who)
    if says is None or not tick.learning:
        return Says(learning=tick.learning)
    return Says(says.prices.get(who), says.weight)


def _is_ready(one: Waiting, tick: Tick, ends: Ends, rules: RequestRules) -> bool:
    if tick.last or tick.at.mono_s - one.since_s > rules.patience_s:
        return True
    return one.model is not None and ends.of(one.who) >= one.span.end_s


@dataclass(slots=True)
class Ends:
    """Up to when (Unix seconds) everything of a model is posted and shared out. Looked up once for each."""

    _tick: Tick
    _pasts: Mapping[Who, Past]
    _tills: Mapping[Who, Till]
    _known: dict[Who, float] = field(default_factory=dict)

    def of(self, who: Who) -> float:
        if who not in self._known:
            held = self._tills.get(who) or self._pasts.get(who)
            open_from_s = math.inf if held is None else held.open_from_s
            at = self._tick.at
            ago_s = at.mono_s - settled_to_s(self._tick.settlement, who[0])
            self._known[who] = min(at.wall_s - ago_s, open_from_s)
        return self._known[who]


def settled_to_s(settlement: Settlement, engine: str) -> float:
    """Up to when (mono_s) all work of an engine is posted."""
    mine = [account for group, account in settlement.accounts.items() if engine in group]
    ends = [a.waiting[0].since.mono_s if a.waiting else a.closed_to.mono_s for a in mine]
    return min(ends, default=-math.inf)


# -- whose joules -----------------------------------------------------------------------------------------------


def _attribute(
    state: Requests, tick: Tick, tills: dict[Who, Till], one: Waiting
) -> tuple[RequestEnergy | None, RequestOutcome]:
    if one.model is None:
        return None, RequestOutcome.UNKNOWN_MODEL
    till = _till(state, tills, one.who)
    if till.before.energy_j <= 0:
        return None, RequestOutcome.NO_ENERGY
    group = state.intake.callers.group(one.span)
    if one.is_late:
        return replace(average(one.span, one.model, till), group=group), RequestOutcome.AVERAGE
    if one.given.is_nothing:  # of its time nothing was booked: to say 0 J would be to know
        return None, RequestOutcome.NO_ENERGY
    found = of_windows(one.span, one.model, one.given, till.before)
    outcome = RequestOutcome.SCALED_DOWN if one.given.is_short else RequestOutcome.ATTRIBUTED
    return replace(found, group=group), outcome


def _model(span: RequestSpan, settlement: Settlement) -> str | None:
    """The model under which the engine counts the span's tokens: an adapter's are the one base model's."""
    book = settlement.books.get(span.engine)
    models = book.models if book is not None else ()
    if span.model in models:
        return span.model
    if len(models) == 1:
        return models[0]
    return OTHER_MODEL if OTHER_MODEL in models else None


def _till(state: Requests, tills: dict[Who, Till], who: Who) -> Till:
    if who not in tills:
        tills[who] = Till(state.pasts.get(who) or Past())
    return tills[who]
