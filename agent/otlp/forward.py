"""Passes traces on to the user's own collector, with the joules of their requests as attributes.

A body waits, compressed, until all requests in it are attributed or refused, or for as long as that may take; then it
is sent with

    joulecar.energy.joules   joulecar.emissions.gco2e   joulecar.energy.method

on its request spans, and nothing else in it changed. What waits is bounded: where it is much, the oldest goes without
waiting for its joules, and what the collector does not take is dropped; both are counted. A collector that does not
answer, or is busy, is asked again with growing pauses. Nothing here ever blocks the receiver.
"""

from __future__ import annotations

import json
import threading
import zlib
from collections.abc import Callable, Mapping, Sequence

from agent.errors import ReadFailed
from agent.health import Health
from agent.model import Part, RequestEnergy, RequestSpan
from agent.otlp.decode import JSON, parse_json, parse_protobuf
from agent.otlp.held import Held, Key, Waiting
from agent.otlp.raw import SPAN_BYTES, TRACE_BYTES, hex_id
from agent.ports import Clock

NAME = "forward"
ENERGY, EMISSIONS, METHOD = "joulecar.energy.joules", "joulecar.emissions.gco2e", "joulecar.energy.method"
OURS = frozenset((ENERGY, EMISSIONS, METHOD))  # another agent may have told them before: a key is there once
MAX_KNOWN = 20_000  # attributed requests whose body has not been sent
PATIENCE_S = 120.0  # longer than any span waits for its joules
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
FINISH_S = 1.0  # that sending the rest may take at the end, so that nobody kills the agent first
AGAIN = frozenset((429, 502, 503, 504))  # OTLP's statuses for "later"


class Forwarder:
    """keep() is called by the receiver's thread, attributed(), refused() and finish() by the loop's, step() by one of
    its own."""

    def __init__(self, post: Callable[[str, bytes], int], clock: Clock, health: Health) -> None:
        """post: sends a body of that type and gives the status; raises ReadFailed."""
        self._post = post
        self._clock = clock
        self._health = health
        self._held = Waiting()
        self._known: dict[Key, RequestEnergy | None] = {}  # None: it gets no joules
        self._lock = threading.Lock()
        self._pause_s = 0.0
        self._not_before_s = 0.0
        self._ended = False
        self._sending = threading.Lock()

    @property
    def held_bytes(self) -> int:
        return self._held.bytes

    def keep(self, content_type: str, body: bytes, spans: Sequence[RequestSpan]) -> None:
        """A body that came. What there is no room for is the oldest."""
        packed = zlib.compress(body, 1)
        keys = tuple(dict.fromkeys((s.trace_id, s.span_id) for s in spans if s.span_id))
        held = Held(content_type, packed, keys, self._clock.now().mono_s + PATIENCE_S)
        with self._lock:
            dropped = self._held.add(held)
        for _ in range(dropped):
            self._health.failed(Part.OTLP, NAME, "more waits than may: the oldest export is dropped")

    def attributed(self, found: Sequence[RequestEnergy]) -> None:
        with self._lock:
            self._known.update({(r.trace_id, r.span_id): r for r in found if r.span_id})
            self._bound()

    def refused(self, keys: Sequence[Key]) -> None:
        """These spans get no joules: nothing waits for them."""
        with self._lock:
            for key in keys:
                self._known.setdefault(key, None)
            self._bound()

    def _bound(self) -> None:
        for key in list(self._known)[: max(0, len(self._known) - MAX_KNOWN)]:
            del self._known[key]

    def step(self) -> None:
        """Send what is due, oldest first, until something fails."""
        with self._sending:
            while self._is_time() and (held := self._next()) is not None:
                if not self._send(held):
                    return

    def finish(self, within_s: float = FINISH_S) -> None:
        """No joules come any more: all that waits is sent as it is. What a collector does not take within_s is lost,
        and told."""
        self._ended, self._not_before_s = True, 0.0
        sending = threading.Thread(target=self.step, name="forward-the-rest", daemon=True)
        sending.start()
        sending.join(within_s)
        with self._lock:
            left = len(self._held)
        if left:
            reason = f"{left} exports that waited for joules are lost: the collector did not take them"
            self._health.failed(Part.OTLP, NAME, reason, "check otlp.forward_to")

    def _is_time(self) -> bool:
        return self._clock.now().mono_s >= self._not_before_s

    def _next(self) -> Held | None:
        """The oldest one that is complete, or has waited long enough. It stays until it is sent."""
        with self._lock:
            return self._held.due(self._clock.now().mono_s, self._known, all_are=self._ended)

    def _send(self, held: Held) -> bool:
        with self._lock:
            known = {key: found for key in held.keys if (found := self._known.get(key)) is not None}
            is_early = self._held.is_crowded and not all(key in self._known for key in held.keys)
        body = zlib.decompress(held.packed)
        try:
            body = annotated(held.content_type, body, known)
        except (ReadFailed, RecursionError):
            # Hardly ever, since the receiver could read it: nested as deep as may be. As it came it holds up none.
            self._health.failed(Part.OTLP, NAME, "an export cannot be written with its joules: it goes without them")
        try:
            status = self._post(held.content_type, body)
        except ReadFailed as e:
            return self._later(e.reason)
        if status in AGAIN:
            return self._later(f"http {status}")
        self._pause_s = 0.0
        self._forget(held)
        if not 200 <= status < 300:
            self._health.failed(Part.OTLP, NAME, f"http {status}: the collector refused an export, which is dropped")
        elif is_early:
            self._health.failed(Part.OTLP, NAME, "more waits for joules than may: the oldest exports go without")
        else:
            self._health.ok(Part.OTLP, NAME, self._clock.now().wall_s)
        return True

    def _later(self, reason: str) -> bool:
        self._pause_s = min(LONGEST_PAUSE_S, 2 * self._pause_s or FIRST_PAUSE_S)
        self._not_before_s = self._clock.now().mono_s + self._pause_s
        self._health.failed(Part.OTLP, NAME, reason, "check otlp.forward_to")
        return False

    def _forget(self, held: Held) -> None:
        with self._lock:
            for key in self._held.remove(held):
                self._known.pop(key, None)


def annotated(content_type: str, body: bytes, known: Mapping[Key, RequestEnergy]) -> bytes:
    """The same export with the joules of its requests."""
    if not known:
        return body
    return _json(body, known) if content_type == JSON else _protobuf(body, known)


def _protobuf(body: bytes, known: Mapping[Key, RequestEnergy]) -> bytes:
    message = parse_protobuf(body)
    for resource in message.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                found = known.get((span.trace_id.hex(), span.span_id.hex()))
                if found is None:
                    continue
                if any(attribute.key in OURS for attribute in span.attributes):
                    others = [attribute for attribute in span.attributes if attribute.key not in OURS]
                    del span.attributes[:]
                    span.attributes.extend(others)
                for name, value in _attributes(found).items():
                    attribute = span.attributes.add()
                    attribute.key = name
                    if isinstance(value, str):
                        attribute.value.string_value = value
                    else:
                        attribute.value.double_value = value
    return message.SerializeToString()


def _json(body: bytes, known: Mapping[Key, RequestEnergy]) -> bytes:
    data = parse_json(body)
    for resource in data.get("resourceSpans") or []:
        for scope in resource.get("scopeSpans") or []:
            for span in scope.get("spans") or []:
                ids = (hex_id(span.get("traceId"), TRACE_BYTES), hex_id(span.get("spanId"), SPAN_BYTES))
                if (found := known.get(ids)) is not None:
                    more = [
                        {"key": name, "value": {"stringValue" if isinstance(value, str) else "doubleValue": value}}
                        for name, value in _attributes(found).items()
                    ]
                    others = [a for a in span.get("attributes") or [] if a.get("key") not in OURS]
                    span["attributes"] = [*others, *more]
    return json.dumps(data).encode()


def _attributes(found: RequestEnergy) -> dict[str, str | float]:
    out: dict[str, str | float] = {ENERGY: found.energy_j, METHOD: str(found.method)}
    if found.gco2e is not None:
        out[EMISSIONS] = found.gco2e
    return out
