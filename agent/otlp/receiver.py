"""Takes exports of spans, keeps the requests among them until the loop asks, and refuses what is too much.

A body is taken whole or not at all. The loop fetches no more than it can attribute beside its measuring. Where more
comes than that, it waits; while much waits, senders are told 429 before their bodies are even unpacked. They try again,
each refusal is counted, and a flood costs little more than its answers.
What is in a span beside the attributes of agent/otlp/dialects.py and those to group by is never read.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

from agent.errors import ReadFailed, Unavailable
from agent.health import Health
from agent.model import Part, RequestSpan, SpanGroup
from agent.otlp.decode import JSON, PROTOBUF, UnfitError, from_json, from_protobuf, inflate
from agent.otlp.dialects import READ, SERVED_BY, request_of
from agent.otlp.raw import RawSpan
from agent.otlp.reply import Reply, refusal, taken
from agent.settings import EngineSettings

PATH = "/v1/traces"
GRPC = "application/grpc"
OVER_HTTP = (
    "set OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf for the engine, and the path /v1/traces in its endpoint"
)
FEWER = "send fewer spans at a time, OTEL_BSP_MAX_EXPORT_BATCH_SIZE"
LARGER = f"raise otlp.max_body, or {FEWER}"
LATER = {"retry-after": "2"}
NAME = "receiver"
MAX_SPANS = 20_000  # in one export
PER_S = 800  # that the loop fetches: it attributes those of five seconds in one tick, which may not take a second
MAX_WAITING = 5 * PER_S  # for the loop: what waits for longer comes after its windows were shared out
QUIET_S = 60.0  # without a refusal, until all is called well again
LONGEST_S = 2.0  # between two ticks, as far as it counts


class Names:
    """Which engine of the configuration a span is from, by what the span says of itself. "": it does not say."""

    def __init__(self, engines: Sequence[EngineSettings]) -> None:
        self._services = {e.span_service or e.name: e.name for e in engines}
        self._addresses = {a: e.name for e in engines if (a := _address(e.url))}

    def engine(self, raw: RawSpan) -> str:
        if (name := self._services.get(raw.service)) is not None:
            return name
        host, port = (raw.text(key) for key in SERVED_BY)
        return self._addresses.get((host.lower(), port), "")


def _address(url: str) -> tuple[str, str] | None:
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None
    return (parts.hostname.lower(), str(port)) if parts.hostname and port else None


class Receiver:
    """receive() is called by the server's thread, drain() by the loop's."""

    def __init__(
        self,
        engines: Sequence[EngineSettings],
        health: Health,
        now_s: Callable[[], float],
        *,
        group_by: tuple[str, ...] = (),
        max_body: int = 4_000_000,
        max_spans: int = MAX_SPANS,
        max_waiting: int = MAX_WAITING,
        keep: Callable[[str, bytes, Sequence[RequestSpan]], None] | None = None,
        mono_s: Callable[[], float] | None = None,
    ) -> None:
        """now_s: Unix seconds. keep: gets every body that was taken, its type and its requests, to pass it on. mono_s:
        by which drain() is paced; None: it gives all."""
        self._names = Names(engines)
        self._health = health
        self._now_s = now_s
        self._group_by = group_by
        self._wanted = READ | frozenset(group_by)
        self._max_body = max_body
        self._max_spans = max_spans
        self._max_waiting = max_waiting
        self._keep = keep
        self._mono_s = mono_s
        self._drained_s: float | None = None
        self._refused_s = -math.inf
        self._ended = False
        self._waiting: list[RequestSpan] = []
        self._lock = threading.Lock()

    def receive(self, content_type: str, encoding: str, body: bytes | None) -> Reply:
        """Answer one export. Never raises for what a sender may do. body: None if it is larger than may be."""
        kind = content_type.partition(";")[0].strip().lower()
        if kind == GRPC:
            return self._refused(kind, 415, "spans are sent over gRPC, which is not taken", OVER_HTTP)
        if body is None:
            return self._refused(kind, 413, f"an export of more than {self._max_body} bytes", LARGER)
        if kind not in (PROTOBUF, JSON):
            return self._refused(kind, 415, f"content-type must be {PROTOBUF} or {JSON}")
        if self._ended:
            return self._refused(kind, 503, "the agent is stopping", headers=LATER)
        if len(self._waiting) >= self._max_waiting:
            return self._refused(kind, 429, "more spans than can be taken now", headers=LATER)
        try:
            plain = inflate(body, encoding.strip().lower(), self._max_body)
            spans = self._requests(kind, plain)
        except Unavailable as e:
            return self._refused(kind, 415, e.reason, e.fix)
        except ReadFailed as e:
            return self._refused(kind, e.status if isinstance(e, UnfitError) else 400, e.reason)
        if len(spans) > self._max_spans:
            return self._refused(kind, 413, f"more than {self._max_spans} requests in one export", FEWER)
        with self._lock:
            self._waiting += spans
        if self._keep is not None:
            self._keep(kind, plain, [span for span in spans if span.is_request])
        if self._now_s() - self._refused_s >= QUIET_S:  # one bad sender among good ones is one trouble, told once
            self._health.ok(Part.OTLP, NAME, self._now_s())
        return taken(kind)

    def drain(self) -> tuple[RequestSpan, ...]:
        """The requests that came since the last call, oldest first, and at most as many as the pace allows."""
        with self._lock:
            count = self._allowed()
            found, self._waiting = tuple(self._waiting[:count]), self._waiting[count:]
        return found

    def end(self) -> None:
        """Nothing is taken any more, and the next drain() gives all that was."""
        self._ended = True

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def _allowed(self) -> int:
        if self._mono_s is None or self._ended:
            return len(self._waiting)
        now_s = self._mono_s()
        since_s = 1.0 if self._drained_s is None else min(now_s - self._drained_s, LONGEST_S)
        self._drained_s = now_s
        return math.ceil(PER_S * since_s)

    def _requests(self, kind: str, body: bytes) -> list[RequestSpan]:
        raws = from_json(body, self._wanted) if kind == JSON else from_protobuf(body, self._wanted)
        found = []
        callers: set[tuple[str, SpanGroup]] = set()  # one word of each is enough
        for raw in raws:
            span = request_of(raw, self._group_by, self._names.engine)
            if span is None or (not span.is_request and (span.trace_id, span.group) in callers):
                continue
            if not span.is_request:
                callers.add((span.trace_id, span.group))
            found.append(span)
        return found

    def _refused(
        self, kind: str, status: int, reason: str, fix: str = "", headers: Mapping[str, str] | None = None
    ) -> Reply:
        self._refused_s = self._now_s()
        self._health.failed(Part.OTLP, NAME, reason, fix)
        return refusal(status, f"{reason}: {fix}" if fix else reason, kind, headers)
