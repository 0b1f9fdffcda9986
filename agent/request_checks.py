"""Which spans are believed: what no request can be is refused by a closed list of reasons, and told once.

A clock that is ahead of the agent's shows in spans that end before they can have: the smallest shift by which the last
spans of the engine are all in the past is taken off. One span alone, far from all others, is wrong itself and sets no
clock: it would take the others to times in which they did not run. A clock that is behind cannot be told from a slow
way here; spans that come very late are told of, and nothing is shifted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from agent.model import RequestOutcome, RequestSpan

MAX_TOKENS = 20_000_000.0  # of one request
MAX_TOKENS_PER_S = 200_000.0  # generated, of one request
MAX_AHEAD_S = 300.0  # a clock further ahead is no clock
MIN_START_S = 1e9  # September 2001: a clock that was never set begins in 1970
SHIFT_SPANS = 64
MIN_SHIFT_S = 0.05
LONE_S = 10.0  # further ahead than the next: spans of one clock come within an exporter's 5 s or so of each other
REMEMBERED = 20_000  # spans by their identity, at least


@dataclass(frozen=True, slots=True)
class Seen:
    """Spans that came: two generations, of which the older is forgotten when the younger is full."""

    young: frozenset[tuple[str, str]] = frozenset()
    old: frozenset[tuple[str, str]] = frozenset()

    def plus(self, new: set[tuple[str, str]]) -> Seen:
        if not new:
            return self
        young = self.young | new
        return Seen(frozenset(), young) if len(young) > REMEMBERED else Seen(young, self.old)

    def __contains__(self, key: object) -> bool:
        return key in self.young or key in self.old


@dataclass(frozen=True, slots=True)
class Clocks:
    """By engine: how long before the agent saw them its last spans ended. Below 0: its clock is ahead."""

    delays_s: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def note(self, engine: str, delay_s: float) -> Clocks:
        last = (*self.delays_s.get(engine, ()), delay_s)[-SHIFT_SPANS:]
        return Clocks({**self.delays_s, engine: last})

    def ahead_s(self, engine: str) -> float:
        ahead_s = -self.quickest_s(engine)
        return ahead_s if ahead_s > MIN_SHIFT_S else 0.0

    def quickest_s(self, engine: str) -> float:
        """What even the quickest of the last spans took to come: much of it, and a clock may be behind; below 0, and
        it is ahead. A span that is alone far ahead of the next counts for nothing."""
        first_s, *others_s = sorted(self.delays_s.get(engine, (0.0,)))[:2]
        is_lone = bool(others_s) and first_s < 0 and others_s[0] - first_s > LONE_S
        return others_s[0] if is_lone else first_s

    def shifts_s(self) -> dict[str, float]:
        """How far each clock is ahead; below 0: how late even the quickest of its last spans came."""
        return {engine: self.ahead_s(engine) or -max(0.0, self.quickest_s(engine)) for engine in self.delays_s}


def keys_of(span: RequestSpan) -> tuple[tuple[str, str], ...]:
    """What tells a span from all others; nothing: it does not say. A gateway and its client both tell of a request: in
    one trace it is one by its id. An engine's own spans are a request's sequences, each with work of its own."""
    if not span.span_id:
        return (("", span.request_id),) if span.request_id else ()
    own = (span.trace_id, span.span_id)
    if span.own or not span.request_id or not span.trace_id:
        return (own,)
    return own, (span.trace_id, f"request {span.request_id}")


def fault(span: RequestSpan, memory_s: float) -> RequestOutcome | None:
    """Why a span is refused; None: it may be."""
    lasted_s = span.end_s - span.start_s
    if not MIN_START_S < span.start_s < math.inf or not 0 <= lasted_s <= memory_s:  # NaN compares false
        return RequestOutcome.BAD_TIMES
    for told_s in (span.queue_s, span.prefill_s, span.decode_s):
        if told_s is not None and not 0 <= told_s <= memory_s:
            return RequestOutcome.BAD_TIMES
    prompt, cached, generated = span.prompt_tokens, span.cached_tokens, span.generated_tokens
    for count in (prompt, cached, generated):
        if count is not None and not 0 <= count <= MAX_TOKENS:
            return RequestOutcome.BAD_TOKENS
    if cached and prompt is not None and cached > prompt:
        return RequestOutcome.BAD_TOKENS
    if generated and generated > 1000 + MAX_TOKENS_PER_S * lasted_s:
        return RequestOutcome.BAD_TOKENS
    return None if prompt or cached or generated else RequestOutcome.NO_TOKENS


def shifted(span: RequestSpan, ahead_s: float) -> RequestSpan:
    return replace(span, start_s=span.start_s - ahead_s, end_s=span.end_s - ahead_s) if ahead_s else span
