"""Traces that are passed on: with their joules, bounded, and never lost to a busy collector."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from google.protobuf.json_format import MessageToJson
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from agent.errors import ReadFailed
from agent.health import Health
from agent.model import RequestEnergy, RequestMethod, RequestSpan
from agent.otlp.decode import JSON, PROTOBUF, from_json, from_protobuf
from agent.otlp.forward import EMISSIONS, ENERGY, METHOD, PATIENCE_S, Forwarder, annotated
from agent.otlp.held import CROWDED_BYTES, MAX_BYTES
from tests.agent.otlp.bodies import VLLM, as_json, as_protobuf, span
from tests.fakes.clock import FakeClock

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "00f067aa0ba902b7"


def energy(gco2e: float | None = 0.5) -> RequestEnergy:
    return RequestEnergy(
        "a", "m", "r", TRACE, SPAN, 1.0, 2.0, 12.5, 2.5, 10.0, gco2e, RequestMethod.WINDOWS
    )  # fmt: skip


def request() -> RequestSpan:
    return RequestSpan("a", 1.0, 2.0, trace_id=TRACE, span_id=SPAN)


class Collector:
    """Answers as told, and remembers what it took."""

    def __init__(self) -> None:
        self.status: int | None = 200
        self.asked = 0
        self.taken: list[tuple[str, bytes]] = []

    def post(self, content_type: str, body: bytes) -> int:
        self.asked += 1
        if self.status is None:
            raise ReadFailed("connection refused")
        if self.status == 200:
            self.taken.append((content_type, body))
        return self.status


def forwarder() -> tuple[Forwarder, Collector, FakeClock, Health]:
    collector, clock, health = Collector(), FakeClock(), Health()
    return Forwarder(collector.post, clock, health), collector, clock, health


@pytest.mark.parametrize(("kind", "make", "read"), [(JSON, as_json, from_json), (PROTOBUF, as_protobuf, from_protobuf)])
def test_request_spans_get_their_joules_and_nothing_else_changes(kind: str, make: Any, read: Any) -> None:
    body = make(span(VLLM), span({"http.route": "/"}, span_id="1111111111111111"))
    out = annotated(kind, body, {(TRACE, SPAN): energy()})
    wanted = frozenset((*VLLM, "http.route", ENERGY, EMISSIONS, METHOD))
    one, other = read(out, wanted)
    before, other_before = read(body, wanted)
    assert other == other_before
    assert one.attributes == {**before.attributes, ENERGY: 12.5, EMISSIONS: 0.5, METHOD: "windows"}
    (plain, _) = read(annotated(kind, body, {(TRACE, SPAN): energy(None)}), wanted)
    assert EMISSIONS not in plain.attributes


@pytest.mark.parametrize(("kind", "make", "read"), [(JSON, as_json, from_json), (PROTOBUF, as_protobuf, from_protobuf)])
def test_what_another_agent_told_before_is_told_once(kind: str, make: Any, read: Any) -> None:
    once = annotated(kind, make(span(VLLM)), {(TRACE, SPAN): energy()})
    again = annotated(kind, once, {(TRACE, SPAN): replace(energy(None), energy_j=3.0)})
    assert again.count(ENERGY.encode()) == 1
    (one,) = read(again, frozenset((*VLLM, ENERGY, EMISSIONS, METHOD)))
    assert one.attributes == {**VLLM, "service.name": "vllm", ENERGY: 3.0, METHOD: "windows"}


def test_spans_with_ids_in_base64_get_their_joules() -> None:
    body = MessageToJson(ExportTraceServiceRequest.FromString(as_protobuf(span(VLLM)))).encode()
    (one,) = from_json(annotated(JSON, body, {(TRACE, SPAN): energy()}), frozenset((ENERGY,)))
    assert one.number(ENERGY) == 12.5


def test_a_trace_waits_for_the_joules_of_its_requests() -> None:
    f, collector, _, _ = forwarder()
    f.keep(JSON, as_json(span(VLLM)), [request()])
    f.step()
    assert collector.taken == []
    f.attributed([energy()])
    f.step()
    ((kind, body),) = collector.taken
    assert kind == JSON and ENERGY in body.decode()
    f.keep(JSON, as_json(span(VLLM)), [request()])  # the same once more: what was known is forgotten with the trace
    f.step()
    assert len(collector.taken) == 1


def test_a_trace_without_requests_goes_at_once_and_one_whose_joules_never_come_goes_without() -> None:
    f, collector, clock, _ = forwarder()
    f.keep(JSON, b'{"resourceSpans": []}', [])
    f.keep(JSON, as_json(span(VLLM)), [request()])
    f.step()
    assert collector.taken == [(JSON, b'{"resourceSpans": []}')]
    clock.advance(PATIENCE_S + 1)
    f.step()
    assert len(collector.taken) == 2 and ENERGY not in collector.taken[1][1].decode()


def test_a_trace_does_not_wait_for_joules_that_a_span_will_not_get() -> None:
    f, collector, _, _ = forwarder()
    gateway = RequestSpan("", 1.0, 2.0, trace_id=TRACE, span_id="ab" * 8, own=False)
    f.keep(JSON, as_json(span(VLLM), span(VLLM, span_id="ab" * 8)), [request(), gateway])
    f.refused([(TRACE, "ab" * 8)])
    f.step()
    assert collector.taken == []
    f.attributed([energy()])
    f.refused([(TRACE, SPAN)])  # it came twice; the first one has its joules
    f.step()
    ((_, body),) = collector.taken
    assert body.decode().count(ENERGY) == 1


def test_at_the_end_all_that_waits_is_sent() -> None:
    """Traces are their owner's: a restart of the agent must not cost a minute of them."""
    f, collector, _, health = forwarder()
    collector.status = 503
    f.keep(JSON, b"{}", [])
    f.step()  # and now there is a pause
    collector.status = 200
    other = replace(request(), span_id="ab" * 8)
    f.keep(JSON, as_json(span(VLLM)), [request()])
    f.keep(JSON, as_json(span(VLLM, span_id="ab" * 8)), [other])
    f.attributed([energy()])
    f.finish()
    assert [ENERGY in body.decode() for _, body in collector.taken] == [False, True, False]
    assert health.states()[0].up


def test_what_a_collector_does_not_take_at_the_end_is_told() -> None:
    f, collector, _, health = forwarder()
    collector.status = None
    f.keep(JSON, b"{}", [])
    f.keep(JSON, b"{}", [request()])
    f.finish()
    assert collector.asked == 1
    assert not health.states()[0].up and "2 exports" in health.states()[0].message


@pytest.mark.parametrize("status", [None, 429, 503])
def test_a_collector_that_is_down_is_asked_again_with_growing_pauses(status: int | None) -> None:
    f, collector, clock, health = forwarder()
    collector.status = status
    f.keep(JSON, b"{}", [])
    for _ in range(100):
        f.step()
        clock.advance(1.0)
    assert 5 <= collector.asked <= 8
    assert not health.states()[0].up
    collector.status = 200
    clock.advance(60.0)
    f.step()
    assert collector.taken == [(JSON, b"{}")] and health.states()[0].up


def test_what_the_collector_refuses_for_good_is_dropped_and_counted() -> None:
    f, collector, clock, health = forwarder()
    collector.status = 400
    f.keep(JSON, b"{}", [])
    f.step()
    clock.advance(100.0)
    f.step()
    assert collector.asked == 1
    assert health.states()[0].errors_total == 1


def test_what_waits_is_bounded_and_the_oldest_goes() -> None:
    f, collector, _, health = forwarder()
    collector.status = None
    noise = [json.dumps({"x": [hash((n, k)) for k in range(50_000)]}).encode() for n in range(40)]
    for body in noise:
        f.keep(JSON, body, [])
    assert f.held_bytes <= MAX_BYTES
    assert health.states()[0].errors_total > 0
    collector.status = 200
    f.step()
    assert collector.taken[-1][1] == noise[-1] and collector.taken[0][1] != noise[0]


def test_where_much_waits_the_oldest_goes_without_its_joules_and_none_is_lost() -> None:
    f, collector, _, health = forwarder()
    spans = [[replace(request(), span_id=f"{n:08x}{k:08x}") for k in range(1000)] for n in range(60)]
    for n, some in enumerate(spans):
        f.keep(JSON, json.dumps({"n": n}).encode(), some)
        f.step()
    assert CROWDED_BYTES - 500_000 < f.held_bytes <= CROWDED_BYTES
    sent = [json.loads(body)["n"] for _, body in collector.taken]
    assert sent == list(range(len(sent))) and 20 < len(sent) < 40
    (part,) = health.states()
    assert not part.up and part.errors_total == len(sent) and "go without" in part.message
    for some in spans:
        f.refused([(s.trace_id, s.span_id) for s in some])
        f.step()
    assert [json.loads(body)["n"] for _, body in collector.taken] == list(range(60))
    assert health.states()[0].up


def test_an_export_that_is_sent_twice_has_its_joules_twice() -> None:
    """As after an answer that was lost: whichever a backend keeps, the joules are there."""
    f, collector, _, _ = forwarder()
    for _ in range(2):
        f.keep(JSON, as_json(span(VLLM)), [request()])
    f.attributed([energy()])
    f.step()
    assert [ENERGY in body.decode() for _, body in collector.taken] == [True, True]


def test_many_small_spans_are_counted_by_what_they_take() -> None:
    """Bodies that compress to nothing, whose spans all must be remembered."""
    f, collector, _, health = forwarder()
    collector.status = None
    spans = [replace(request(), span_id=f"{n:016x}") for n in range(20_000)]
    for _ in range(20):
        f.keep(JSON, b"{}", spans)
    assert f.held_bytes <= MAX_BYTES
    assert health.states()[0].errors_total >= 17
    f.keep(JSON, b"{}", [request()] * 20_000)  # one span, said often, is one
    assert f.held_bytes <= MAX_BYTES


def test_what_cannot_be_written_anew_goes_as_it_came_and_holds_up_nothing() -> None:
    f, collector, _, health = forwarder()
    f.keep(JSON, b"no JSON", [request()])
    f.keep(JSON, b"{}", [])
    f.attributed([energy()])
    f.step()
    assert collector.taken == [(JSON, b"no JSON"), (JSON, b"{}")]
    assert health.states()[0].errors_total == 1
