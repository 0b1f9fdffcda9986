"""The energy of single requests: spans and posted windows in, joules of each request out. Pure.

A span waits until the books of its engine are closed beyond its end; then its prompt and its generated tokens take
their parts of the windows that it ran in (agent/request_windows.py). What no span claims stays with the model, so that
the counters' truth is untouched by whatever a span says:

    sum over requests + what is left in the windows == energy booked to prefill and decode

The error band of a request: what it would have got if a prompt token cost half or twice as much against a generated one
as the books took it to, and 5% more to either side, by which the sensors may be off; and what it would have got of its
steps, had more or fewer of the requests without a span been in them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from agent import request_checks as checks
from agent.accounts import Settlement
from agent.done import Who
from agent.model import (
    Instant,
    RequestEnergy,
    RequestMethod,
    RequestOutcome,
    RequestSpan,
    RequestTotals,
    Work,
)
from agent.request_groups import Callers
from agent.request_pace import Life
from agent.request_posts import Tick, posted
from agent.request_shares import Says
from agent.request_totals import note
from agent.request_windows import Given, Past, Till, added
from agent.work import OTHER_MODEL

MAX_WAITING = 20_000
RECENT = 1000
LASTED = 64  # requests by which it is told how long a window waits
SENSORS = 0.05  # relative
# Engines that count a request's tokens when it ends: there, and not while it ran, its tokens meet the counters.
COUNTS_AT_END = frozenset({"llamacpp", "tgi", "trtllm", "triton"})


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

    since_s: float  # Unix seconds
    span: RequestSpan
    model: str | None = None  # None: not known yet
    is_late: bool = False  # windows of it are gone, or never were
    late_to_s: float = -math.inf  # windows up to here were shared out before it came
    given: Given = field(default_factory=Given)


@dataclass(frozen=True, slots=True)
class Requests:
    """All that is remembered of requests from tick to tick."""

    began_s: float  # Unix seconds; what ran before was not measured
    totals: RequestTotals
    pasts: Mapping[Who, Past] = field(default_factory=dict)
    works: Mapping[str, tuple[Work, ...]] = field(default_factory=dict)  # told, by engine
    waiting: tuple[Waiting, ...] = ()
    seen: checks.Seen = field(default_factory=checks.Seen)
    clocks: checks.Clocks = field(default_factory=checks.Clocks)
    lasted_s: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # by engine: its last requests
    speaking: frozenset[str] = frozenset()  # engines that send spans of their own
    callers: Callers = field(default_factory=Callers)
    recent: tuple[RequestEnergy, ...] = ()
    done: tuple[RequestEnergy, ...] = ()  # at the last tick

    @property
    def left_j(self) -> float:
        """Energy of prefill and decode that no request took."""
        return sum(p.left_j for p in self.pasts.values())


def begin(at: Instant, rules: RequestRules) -> Requests:
    return Requests(at.wall_s, RequestTotals(group_by=rules.group_by))


def advance(state: Requests, tick: Tick, rules: RequestRules) -> Requests:
    """Take in what was posted and which spans came, and attribute those whose time is settled."""
    outcomes: list[tuple[str, RequestOutcome]] = []
    pasts, works = posted(state.pasts, state.works, tick, memory_s=rules.memory_s, patience_s=rules.patience_s)
    state = replace(state, pasts=pasts, works=works)
    state = _receive(state, tick, rules, outcomes)
    tills: dict[Who, Till] = {}
    waiting = _share(state, tick, tills, rules)
    done: list[RequestEnergy] = []
    still: list[Waiting] = []
    ends = Ends(tick, state.pasts, tills)
    for one in waiting:
        if not _is_ready(one, tick, ends, rules):
            still.append(one)
            continue
        found, outcome = _attribute(state, tick, tills, one)
        outcomes.append((one.span.engine, outcome))
        if found is not None:
            done.append(found)
    if tills:
        state = replace(state, pasts={**state.pasts, **{who: till.past() for who, till in tills.items()}})
    state = replace(state, waiting=tuple(still), done=tuple(done))
    if not outcomes:
        return state
    totals = note(state.totals, done, outcomes, at_s=tick.at.wall_s, max_groups=rules.max_groups)
    totals = replace(totals, clock_shift_s=state.clocks.shifts_s())
    return replace(state, totals=totals, recent=(*state.recent, *done)[-RECENT:])


# -- which spans came -------------------------------------------------------------------------------------------


def _receive(state: Requests, tick: Tick, rules: RequestRules, outcomes: list[tuple[str, RequestOutcome]]) -> Requests:
    if not tick.spans:
        return state
    good: list[RequestSpan] = []
    new: set[tuple[str, str]] = set()
    for told in tick.spans:
        if not told.is_request:
            continue
        span, why = _known(told, tick.settlement), checks.fault(told, rules.memory_s)
        key = checks.key_of(span)
        if why is None and not span.engine:
            why = RequestOutcome.UNKNOWN_ENGINE
        elif why is None and tick.at.wall_s - span.end_s < -checks.MAX_AHEAD_S:
            why = RequestOutcome.IN_THE_FUTURE
        elif why is None and key is not None and (key in state.seen or key in new):
            why = RequestOutcome.DUPLICATE
        if why is not None:
            outcomes.append((span.engine, why))
            continue
        if key is not None:
            new.add(key)
        good.append(span)
    speaking = state.speaking | {span.engine for span in good if span.own}
    clocks, lasted_s, waiting = state.clocks, dict(state.lasted_s), list(state.waiting)
    kept: list[RequestSpan] = []
    for span in good:
        if not span.own and span.engine in speaking:
            outcomes.append((span.engine, RequestOutcome.GATEWAY))
        elif len(waiting) + len(kept) >= MAX_WAITING:
            outcomes.append((span.engine, RequestOutcome.DROPPED))
        else:  # a gateway's clock says nothing of the engine's
            clocks = clocks.note(span.engine, tick.at.wall_s - span.end_s)
            ran_s = max(0.0, span.end_s - span.start_s - (span.queue_s or 0.0))
            lasted_s[span.engine] = (*lasted_s.get(span.engine, ()), ran_s)[-LASTED:]
            kept.append(span)
    waiting += [Waiting(tick.at.wall_s, checks.shifted(span, clocks.ahead_s(span.engine))) for span in kept]
    return replace(
        state,
        waiting=tuple(waiting),
        seen=state.seen.plus(new),
        clocks=clocks,
        lasted_s=lasted_s,
        speaking=speaking,
        callers=state.callers.note(tick.spans) if rules.group_by else state.callers,
    )


def _known(span: RequestSpan, settlement: Settlement) -> RequestSpan:
    """A span that names no engine of ours is that of the one engine which serves its model, or of the only one."""
    books = settlement.books
    if span.engine in books:
        return span
    serving = [engine for engine, book in books.items() if span.model and span.model in book.models]
    if not serving and not span.engine:
        serving = list(books)
    return replace(span, engine=serving[0] if len(serving) == 1 else "")


# -- whose time is settled --------------------------------------------------------------------------------------


def _share(state: Requests, tick: Tick, tills: dict[Who, Till], rules: RequestRules) -> list[Waiting]:
    """Share out the windows whose time has come among the spans that are there."""
    waiting = [_named(one, state, tick, rules) for one in state.waiting]
    many = len(waiting) > MAX_WAITING / 2
    for who, past in state.pasts.items():
        longest_s = 0.0 if many else max(state.lasted_s.get(who[0], ()), default=0.0)
        grace_s = min(rules.grace_s + longest_s, rules.max_grace_s)
        now_s = math.inf if tick.last else tick.at.wall_s - grace_s
        if not past.windows or not _is_due(past, now_s):
            continue
        last_s = math.inf if tick.last or many else tick.at.wall_s - rules.max_grace_s
        mine = [n for n, w in enumerate(waiting) if (w.span.engine, w.model) == who and not w.is_late]
        at_end = tick.kinds.get(who[0]) in COUNTS_AT_END
        lives = [life_of(waiting[n].span, at_end=at_end) for n in mine]
        given = _till(state, tills, who).share(now_s, lives, _says(tick, who), last_s)
        for n, more in zip(mine, given, strict=True):
            waiting[n] = replace(waiting[n], given=added(waiting[n].given, more))
    return waiting


def _says(tick: Tick, who: Who) -> Says:
    says = tick.learned.get(who)
    if says is None or not tick.learning:
        return Says(learning=tick.learning)
    return Says(says.prices.get(who), says.confidence)


def _is_due(past: Past, now_s: float) -> bool:
    return any(not w.shared and w.end_s <= now_s for w in reversed(past.windows))


def _named(one: Waiting, state: Requests, tick: Tick, rules: RequestRules) -> Waiting:
    if one.model is not None:
        return one
    model = _model(one.span, tick.settlement)
    if model is None:
        return one
    past = state.pasts.get((one.span.engine, model)) or Past()
    is_late = one.span.start_s < max(state.began_s, past.gone_to_s)
    return replace(one, model=model, is_late=is_late, late_to_s=past.shared_to_s)


def _is_ready(one: Waiting, tick: Tick, ends: Ends, rules: RequestRules) -> bool:
    if tick.last or tick.at.wall_s - one.since_s > rules.patience_s:
        return True
    return one.model is not None and ends.of(one.span.engine, one.model) >= one.span.end_s


@dataclass(slots=True)
class Ends:
    """Up to when (Unix seconds) everything of a model is posted and shared out. Looked up once for each."""

    _tick: Tick
    _pasts: Mapping[Who, Past]
    _tills: Mapping[Who, Till]
    _known: dict[tuple[str, str], float] = field(default_factory=dict)

    def of(self, engine: str, model: str) -> float:
        if (engine, model) not in self._known:
            held = self._tills.get((engine, model)) or self._pasts.get((engine, model))
            open_from_s = math.inf if held is None else held.open_from_s
            self._known[engine, model] = min(settled_to_s(self._tick.settlement, engine), open_from_s)
        return self._known[engine, model]


def settled_to_s(settlement: Settlement, engine: str) -> float:
    """Up to when (Unix seconds) all work of an engine is posted."""
    mine = [account for group, account in settlement.accounts.items() if engine in group]
    ends = [a.waiting[0].since.wall_s if a.waiting else a.closed_to.wall_s for a in mine]
    return min(ends, default=-math.inf)


# -- whose joules -----------------------------------------------------------------------------------------------


def _attribute(
    state: Requests, tick: Tick, tills: dict[Who, Till], one: Waiting
) -> tuple[RequestEnergy | None, RequestOutcome]:
    span, model = one.span, one.model
    if model is None:
        return None, RequestOutcome.UNKNOWN_MODEL
    till = _till(state, tills, (span.engine, model))
    past = till.before
    if past.energy_j <= 0:
        return None, RequestOutcome.NO_ENERGY
    if one.is_late:
        average = replace(_average(span, model, till), group=state.callers.group(span))
        return average, RequestOutcome.AVERAGE
    life = life_of(span, at_end=tick.kinds.get(span.engine) in COUNTS_AT_END)
    given = added(one.given, till.take(life, one.late_to_s))
    low_j, high_j = band(given.prefill_j, given.decode_j, past.prefill_j, past.decode_j)
    method = RequestMethod.WINDOWS if _tells_all(span) else RequestMethod.COARSE
    low_j, high_j = max(0.0, low_j - given.less_j), high_j + given.more_j
    energy = replace(_energy(span, model, given, method), low_j=low_j, high_j=high_j, group=state.callers.group(span))
    short = given.missing_j > SENSORS * given.energy_j
    return energy, RequestOutcome.SCALED_DOWN if short else RequestOutcome.ATTRIBUTED


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


def life_of(span: RequestSpan, *, at_end: bool) -> Life:
    """When a request's prompt was computed and when its tokens were generated. at_end: its engine counts these at the
    request's end, and not as they come."""
    prompt, generated = span.prompt_tokens or 0.0, span.generated_tokens or 0.0
    begin_s = min(span.start_s + (span.queue_s or 0.0), span.end_s)
    first_s = span.start_s if span.prefill_s is None else min(begin_s + span.prefill_s, span.end_s)
    last_s = span.end_s if span.decode_s is None else min(first_s + span.decode_s, span.end_s)
    return Life(
        min(begin_s, first_s),
        first_s,
        last_s,
        max(0.0, prompt - (span.cached_tokens or 0.0)),
        generated,
        context=prompt,
        with_cached=span.cached_tokens is None,
        at_end=at_end,
    )


def _tells_all(span: RequestSpan) -> bool:
    told = (span.prefill_s, span.decode_s, span.prompt_tokens, span.generated_tokens)
    return all(value is not None for value in told)


def _average(span: RequestSpan, model: str, till: Till) -> RequestEnergy:
    past = till.before
    prompt = max(0.0, (span.prompt_tokens or 0.0) - (span.cached_tokens or 0.0))
    prefill_j = prompt * past.prefill_j / past.done.prompt if past.done.prompt > 0 else 0.0
    generated = span.generated_tokens or 0.0
    decode_j = generated * past.decode_j / past.done.generated if past.done.generated > 0 else 0.0
    return _energy(span, model, till.take_average(prefill_j, decode_j), RequestMethod.AVERAGE)


def _energy(span: RequestSpan, model: str, given: Given, method: RequestMethod) -> RequestEnergy:
    return RequestEnergy(
        span.engine,
        model,
        span.request_id,
        span.trace_id,
        span.span_id,
        span.start_s,
        span.end_s,
        given.energy_j,
        given.prefill_j,
        given.decode_j,
        given.grams,
        method,
    )


def band(prefill_j: float, decode_j: float, all_prefill_j: float, all_decode_j: float) -> tuple[float, float]:
    """The error band of the module's docstring. all_...: the model's, of which the request's are a part."""
    total_j = all_prefill_j + all_decode_j
    found = []
    for factor in (0.5, 1.0, 2.0):
        scale = total_j / (factor * all_prefill_j + all_decode_j) if total_j > 0 else 1.0
        found.append((factor * prefill_j + decode_j) * scale)
    return min(found) * (1 - SENSORS), max(found) * (1 + SENSORS)
