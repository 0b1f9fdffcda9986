"""Which of the spans that come are requests to attribute, and when by the agent's clock. What became of the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from agent import request_checks as checks
from agent.accounts import Settlement
from agent.model import RequestOutcome, RequestSpan
from agent.request_groups import Callers

LASTED = 64  # requests by which it is told how long a window waits

Outcomes = list[tuple[str, RequestOutcome]]  # by engine; "": none was found


@dataclass(frozen=True, slots=True)
class Intake:
    """What is remembered of spans that came."""

    seen: checks.Seen = field(default_factory=checks.Seen)
    clocks: checks.Clocks = field(default_factory=checks.Clocks)
    lasted_s: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # by engine: its last requests
    speaking: frozenset[str] = frozenset()  # engines that send spans of their own
    callers: Callers = field(default_factory=Callers)

    def longest_s(self, engine: str) -> float:
        """Of the engine's last requests."""
        return max(self.lasted_s.get(engine, ()), default=0.0)


@dataclass(frozen=True, slots=True)
class Limits:
    """longest_s: of a request. room: for so many more spans."""

    longest_s: float
    room: int
    grouped: bool = False  # callers are asked for


def receive(
    known: Intake, spans: Sequence[RequestSpan], settlement: Settlement, wall_s: float, limits: Limits
) -> tuple[Intake, list[RequestSpan], Outcomes]:
    """What is known then, the spans to attribute, and what became of all others. wall_s: now, Unix seconds."""
    believed, keys, outcomes = _believed(known.seen, spans, settlement, wall_s, limits.longest_s)
    speaking = known.speaking | {span.engine for span in believed if span.own}
    clocks, lasted_s = known.clocks, dict(known.lasted_s)
    kept: list[RequestSpan] = []
    for span in believed:
        if not span.own and span.engine in speaking:
            outcomes.append((span.engine, RequestOutcome.GATEWAY))
        elif len(kept) >= limits.room:
            outcomes.append((span.engine, RequestOutcome.DROPPED))
        else:  # a gateway's clock says nothing of the engine's
            clocks = clocks.note(span.engine, wall_s - span.end_s)
            ran_s = max(0.0, span.end_s - span.start_s - (span.queue_s or 0.0))
            lasted_s[span.engine] = (*lasted_s.get(span.engine, ()), ran_s)[-LASTED:]
            kept.append(span)
    callers = known.callers.note(spans) if limits.grouped else known.callers
    now = Intake(known.seen.plus(keys), clocks, lasted_s, speaking, callers)
    return now, [checks.shifted(span, clocks.ahead_s(span.engine)) for span in kept], outcomes


def _believed(
    seen: checks.Seen, spans: Sequence[RequestSpan], settlement: Settlement, wall_s: float, longest_s: float
) -> tuple[list[RequestSpan], set[tuple[str, str]], Outcomes]:
    """Requests that can be true and are new, with their engines; their keys; and why the others are none."""
    good: list[RequestSpan] = []
    new: set[tuple[str, str]] = set()
    outcomes: Outcomes = []
    for told in spans:
        if not told.is_request:
            continue
        span, why = _of_engine(told, settlement), checks.fault(told, longest_s)
        keys = checks.keys_of(span)
        if why is None and not span.engine:
            why = RequestOutcome.UNKNOWN_ENGINE
        elif why is None and wall_s - span.end_s < -checks.MAX_AHEAD_S:
            why = RequestOutcome.IN_THE_FUTURE
        elif why is None and any(key in seen or key in new for key in keys):
            why = RequestOutcome.DUPLICATE
        if why is not None:
            outcomes.append((span.engine, why))
            continue
        new.update(keys)
        good.append(span)
    return good, new, outcomes


def _of_engine(span: RequestSpan, settlement: Settlement) -> RequestSpan:
    """A span that names no engine is that of the one engine which serves its model, or of the only one. One that names
    an engine which was never heard is of none: another's joules are not its own."""
    books = settlement.books
    if span.engine in books:
        return span
    if span.engine:
        return replace(span, engine="")
    serving = [engine for engine, book in books.items() if span.model and span.model in book.models]
    serving = serving or list(books)
    return replace(span, engine=serving[0] if len(serving) == 1 else "")
