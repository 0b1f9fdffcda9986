"""Whom a request was for: what any span of its trace says of the attributes to group by.

An engine knows nothing of its callers. What called it does, a gateway or a server with a span of its own in the same
trace; such a span gives its values to the engine's, whichever comes first. The first value of a trace holds, and an
engine's own goes before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from agent.model import RequestSpan, SpanGroup

REMEMBERED = 20_000  # traces, at least; their values are bounded where they are read


@dataclass(frozen=True, slots=True)
class Callers:
    """By trace. Two generations, of which the older is forgotten when the younger is full."""

    young: Mapping[str, SpanGroup] = field(default_factory=dict)
    old: Mapping[str, SpanGroup] = field(default_factory=dict)

    def note(self, spans: Iterable[RequestSpan]) -> Callers:
        """With what these spans say."""
        new: dict[str, SpanGroup] = {}
        for span in spans:
            if span.trace_id and any(value for _, value in span.group):
                known = new.get(span.trace_id) or self._of(span.trace_id)
                new[span.trace_id] = filled(known, span.group)
        if not new:
            return self
        young = {**self.young, **new}
        return Callers({}, young) if len(young) > REMEMBERED else Callers(young, self.old)

    def group(self, span: RequestSpan) -> SpanGroup:
        """The span's own values, and for those that it lacks its callers'."""
        return filled(span.group, self._of(span.trace_id)) if span.group and span.trace_id else span.group

    def _of(self, trace_id: str) -> SpanGroup:
        return self.young.get(trace_id) or self.old.get(trace_id) or ()


def filled(first: SpanGroup, then: SpanGroup) -> SpanGroup:
    """first, with then's values where it has none."""
    if not first:
        return then
    more = dict(then)
    return tuple((name, value or more.get(name, "")) for name, value in first)
