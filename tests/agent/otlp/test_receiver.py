"""The receiver: what is taken, what is refused, and what is never looked at."""

from __future__ import annotations

import gzip
import json
import logging
import zlib
from typing import Any

import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.json_format import MessageToJson
from google.protobuf.unknown_fields import UnknownFieldSet
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from agent.health import Health
from agent.model import Part, RequestOutcome, RequestSpan
from agent.otlp.decode import JSON, PROTOBUF, from_json, from_protobuf
from agent.otlp.raw import TRACE_BYTES, hex_id
from agent.otlp.receiver import LONGEST_S, MAX_WAITING, PER_S, Receiver
from agent.otlp.reply import Reply, refusal
from agent.request_checks import fault
from agent.settings import EngineSettings
from tests.agent.otlp.bodies import VLLM, as_json, as_protobuf, edited, recorded, span

CANARY = "the-secret-prompt-of-a-person"


def receiver(*engines: EngineSettings, **changed: Any) -> Receiver:
    return Receiver(engines or (EngineSettings("vllm-tiny", "http://h:8000"),), Health(), lambda: 5.0, **changed)


def test_protobuf_and_json_say_the_same() -> None:
    a, b = receiver(), receiver()
    said = a.receive(PROTOBUF, "", as_protobuf(*recorded()))
    assert (said.status, said.content_type, said.body) == (200, PROTOBUF, b"")
    said = b.receive(f"{JSON}; charset=utf-8", "", as_json(*recorded()))
    assert (said.status, said.content_type, said.body) == (200, JSON, b"{}")
    spans = a.drain()
    assert spans == b.drain()
    assert [s.engine for s in spans] == ["vllm-tiny", "vllm-tiny"]
    assert a.drain() == ()


@pytest.mark.parametrize("make", [as_protobuf, as_json])
def test_gzip_is_understood(make: Any) -> None:
    r = receiver()
    kind = PROTOBUF if make is as_protobuf else JSON
    assert r.receive(kind, "gzip", gzip.compress(make(span(VLLM)))).status == 200
    assert len(r.drain()) == 1


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_gzip_may_come_in_several_parts(parts: int) -> None:
    r, body = receiver(), as_protobuf(span(VLLM))
    step = -(-len(body) // parts)
    packed = b"".join(gzip.compress(body[n : n + step]) for n in range(0, len(body), step))
    assert r.receive(PROTOBUF, "gzip", packed).status == 200
    assert len(r.drain()) == 1
    assert r.receive(PROTOBUF, "gzip", packed + b"more").status == 400


def test_deflate_is_understood() -> None:
    r = receiver()
    assert r.receive(PROTOBUF, "deflate", zlib.compress(as_protobuf(span(VLLM)))).status == 200
    assert len(r.drain()) == 1


def test_json_as_protobuf_itself_writes_it_says_the_same() -> None:
    """Ids in base64 and kinds by name, which OTLP forbids and some send."""
    body = as_protobuf(*recorded())
    a, b = receiver(), receiver()
    assert a.receive(PROTOBUF, "", body).status == 200
    assert b.receive(JSON, "", MessageToJson(ExportTraceServiceRequest.FromString(body)).encode()).status == 200
    assert a.drain() == b.drain()


@pytest.mark.parametrize("text", ["", "ABCDEF", "A" * 22, "A" * 24, "f" * 24, "!" * 22 + "==", "é" * 24])
def test_an_id_that_is_neither_hex_nor_base64_is_what_it_is(text: str) -> None:
    assert hex_id(text, TRACE_BYTES) == text.lower()


@pytest.mark.parametrize(("read", "make"), [(from_json, as_json), (from_protobuf, as_protobuf)])
def test_spans_that_say_nothing_anybody_asked_for_are_not_even_made(read: Any, make: Any) -> None:
    others = [span({"http.route": "/"}, span_id=f"{n:016x}") for n in range(3)]
    body = make(*others, span(VLLM))
    assert [raw.span_id for raw in read(body, frozenset(VLLM))] == ["00f067aa0ba902b7"]
    named = [{**one, "resource": {"tenant.id": "t"}} for one in others]
    assert len(list(read(make(*named), frozenset(("tenant.id",))))) == 3


def test_a_bomb_is_refused_long_before_it_has_grown() -> None:
    r = receiver(max_body=100_000)
    bomb = gzip.compress(b"\0" * 50_000_000)
    assert len(bomb) < 100_000
    said = r.receive(PROTOBUF, "gzip", bomb)
    assert said.status == 413 and b"100000 bytes" in said.body


@pytest.mark.parametrize(
    ("kind", "encoding", "body", "status"),
    [
        ("text/plain", "", b"", 415),
        (PROTOBUF, "br", b"", 415),
        (PROTOBUF, "gzip", None, 413),
        (PROTOBUF, "deflate", zlib.compress(b"")[:-3], 400),
        (PROTOBUF, "gzip", b"not gzip", 400),
        (PROTOBUF, "gzip", gzip.compress(b"")[:-3], 400),
        (PROTOBUF, "", b"\xff\xff\xff", 400),
        (JSON, "", b"{", 400),
        (JSON, "", b"[]", 400),
        (JSON, "", b'{"resourceSpans": 5}', 400),
        (JSON, "", b'{"resourceSpans": [{"scopeSpans": [5]}]}', 400),
        (JSON, "", b"[" * 100_000, 400),
        (JSON, "", b"{}", 200),
        (PROTOBUF, "", b"", 200),
    ],
)
def test_what_is_no_export_is_refused_and_counted(kind: str, encoding: str, body: bytes | None, status: int) -> None:
    health = Health()
    r = Receiver((), health, lambda: 5.0)
    said = r.receive(kind, encoding, body)
    assert said.status == status
    (part,) = health.states()
    assert (part.part, part.up, part.errors_total) == (Part.OTLP, status == 200, int(status != 200))
    if status != 200:
        assert part.message and part.message in reason_of(said)


def reason_of(said: Reply) -> str:
    """As a strict sender reads it: google.rpc.Status in the encoding of its export."""
    if said.content_type == JSON:
        return str(json.loads(said.body)["message"])
    if said.content_type != PROTOBUF:
        return said.body.decode()
    # A message of any type keeps the fields that it does not know; field 2 with a length is Status.message.
    fields = UnknownFieldSet(Empty.FromString(said.body))
    assert [(fields[n].field_number, fields[n].wire_type) for n in range(len(fields))] == [(2, 2)]
    return bytes(fields[0].data).decode()


@pytest.mark.parametrize("length", [0, 127, 128, 20_000])
def test_a_refusal_of_any_length_is_a_status(length: int) -> None:
    assert reason_of(refusal(400, "é" * length, PROTOBUF)) == "é" * length


def test_too_much_is_sent_back_to_be_sent_again() -> None:
    r = receiver(max_spans=3, max_waiting=3)
    body = as_json(span(VLLM), span(VLLM))
    assert [r.receive(JSON, "", body).status for _ in range(2)] == [200, 200]
    said = r.receive(JSON, "", body)
    assert said.status == 429 and said.headers == {"retry-after": "2"}
    assert len(r.drain()) == 4
    assert r.receive(JSON, "", body).status == 200
    assert r.receive(JSON, "", as_json(*[span(VLLM)] * 4)).status == 413


class Paced:
    """A receiver whose loop ticks when the test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.health = Health()
        self.receiver = Receiver((), self.health, lambda: 5.0, mono_s=lambda: self.now_s)

    def sent(self, spans: int) -> int:
        body = as_protobuf(*(span(VLLM, span_id=f"{n + 1:016x}") for n in range(spans)))
        return self.receiver.receive(PROTOBUF, "", body).status

    def fetched(self, after_s: float = 1.0) -> list[str]:
        self.now_s += after_s
        return [s.span_id for s in self.receiver.drain()]


def test_a_burst_is_fetched_at_the_loops_pace_in_its_order_and_none_of_it_is_lost() -> None:
    world = Paced()
    assert world.sent(2 * PER_S + 5) == 200
    ticks = [world.fetched() for _ in range(4)]
    assert [len(t) for t in ticks] == [PER_S, PER_S, 5, 0]
    assert [int(s, 16) for t in ticks for s in t] == list(range(1, 2 * PER_S + 6))
    assert world.receiver.waiting == 0


def test_quick_ticks_fetch_less_each_and_a_long_pause_makes_no_flood() -> None:
    world = Paced()
    assert world.sent(5 * PER_S) == 200
    world.fetched()
    assert len(world.fetched(0.25)) == PER_S / 4
    assert len(world.fetched(3600.0)) == LONGEST_S * PER_S


def test_while_much_waits_bodies_are_not_even_unpacked_and_each_refusal_is_counted() -> None:
    world = Paced()
    assert world.sent(MAX_WAITING) == 200
    assert world.receiver.receive(PROTOBUF, "gzip", b"no gzip at all").status == 429
    assert world.sent(1) == 429
    assert [p.errors_total for p in world.health.states()] == [2]
    world.fetched()
    assert world.sent(1) == 200


def test_at_the_end_all_that_was_taken_is_fetched_and_nothing_more_is_taken() -> None:
    world = Paced()
    assert world.sent(2 * PER_S) == 200
    world.receiver.end()
    assert world.sent(1) == 503
    assert len(world.fetched(0.1)) == 2 * PER_S


def test_prompts_and_completions_are_never_kept_and_never_logged(caplog: pytest.LogCaptureFixture) -> None:
    told = {**VLLM, "gen_ai.prompt.0.content": CANARY, "gen_ai.input.messages": CANARY, "inputs": CANARY}
    with caplog.at_level(logging.DEBUG):
        for kind, body in ((JSON, as_json(span(told))), (PROTOBUF, as_protobuf(span(told)))):
            r = receiver(group_by=("tenant.id",))
            assert r.receive(kind, "", body).status == 200
            (found,) = r.drain()
            assert CANARY not in repr(found) and CANARY not in repr(vars(r))
    assert CANARY not in caplog.text


ENGINES = (
    EngineSettings("a", "http://10.0.0.1:8000", span_service="chat-service"),
    EngineSettings("b", "https://gpu-2.internal/v1"),
)


@pytest.mark.parametrize(
    ("service", "attributes", "engine"),
    [
        ("chat-service", {}, "a"),
        ("b", {}, "b"),
        ("a", {}, ""),  # its spans have another name
        ("proxy", {"server.address": "10.0.0.1", "server.port": 8000}, "a"),
        ("proxy", {"server.address": "GPU-2.internal", "server.port": "443"}, "b"),
        ("proxy", {"server.address": "10.0.0.1", "server.port": 9000}, ""),
        ("unknown", {}, ""),
    ],
)
def test_the_engine_is_found_by_service_or_address(service: str, attributes: dict[str, Any], engine: str) -> None:
    r = receiver(*ENGINES)
    assert r.receive(JSON, "", as_json(span({**VLLM, **attributes}, service=service))).status == 200
    assert [s.engine for s in r.drain()] == [engine]


@pytest.mark.parametrize("wrong", ["x", "1e999", "NaN", "9" * 60, True, None, [1]])
def test_a_number_that_is_none_makes_a_span_that_will_be_refused(wrong: Any) -> None:
    data = json.loads(as_json(span(VLLM)))
    one = data["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    one["startTimeUnixNano"] = wrong
    r = receiver()
    assert r.receive(JSON, "", json.dumps(data).encode()).status == 200
    (found,) = r.drain()
    assert found.start_s <= 0


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(
    st.sampled_from(
        ["resource", "scopeSpans", "spans", "attributes", "value", "key", "traceId", "name", "kind", "scope"]
    ),
    json_values,
)
def test_anything_in_any_place_is_read_or_refused(key: str, value: Any) -> None:
    def changed(data: Any) -> Any:
        if isinstance(data, dict):
            return {k: value if k == key else changed(v) for k, v in data.items()}
        return [changed(v) for v in data] if isinstance(data, list) else data

    r = receiver()
    body = json.dumps(changed(json.loads(as_json(span(VLLM))))).encode()
    assert r.receive(JSON, "", body).status in (200, 400)
    assert all(isinstance(s, RequestSpan) for s in r.drain())


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    r = receiver()
    assert r.receive(PROTOBUF, "", body).status in (200, 400)
    assert r.receive(PROTOBUF, "gzip", body).status in (200, 400)


# -- what a sender may do on purpose, or by a fault of its own


def test_ids_and_texts_of_any_length_are_kept_short() -> None:
    long = "x" * 100_000
    told = {**VLLM, "gen_ai.request.model": long, "gen_ai.request.id": long, "tenant.id": long}

    def lengthen(one: Any) -> None:
        one.trace_id, one.span_id, one.name = long.encode(), long.encode(), long

    r = receiver(group_by=("tenant.id",))
    assert r.receive(PROTOBUF, "", edited(as_protobuf(span(told, service=long)), lengthen)).status == 200
    assert r.receive(JSON, "", as_json(span(told, service=long, name=long, trace=long, span_id=long))).status == 200
    found = r.drain()
    assert len(found) == 2
    assert all(len(repr(one)) < 2500 for one in found)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12345678, "12345678"),
        (9_007_199_254_740_993, "9007199254740993"),  # 2^53 + 1, which no float is
        (-1, "-1"),
        (0, "0"),
        (2.0, "2"),
        (0.1, "0.1"),
        (True, "true"),
        (False, "false"),
        ("", ""),
        ("Größe/模型", "Größe/模型"),
    ],
)
@pytest.mark.parametrize("make", [as_protobuf, as_json])
def test_groups_that_differ_stay_apart_whatever_their_type(make: Any, value: Any, text: str) -> None:
    r = receiver(group_by=("tenant.id",))
    kind = PROTOBUF if make is as_protobuf else JSON
    assert r.receive(kind, "", make(span({**VLLM, "tenant.id": value}))).status == 200
    (found,) = r.drain()
    assert found.group == (("tenant.id", text),)


@pytest.mark.parametrize("make", [as_protobuf, as_json])
def test_an_attribute_of_the_resource_is_one_of_its_spans_unless_they_say_otherwise(make: Any) -> None:
    r = receiver(group_by=("tenant.id", "route"))
    shared = {"service.name": "vllm", "tenant.id": "blue", "route": "/"}
    spans = [{**span(VLLM, span_id=f"{n:016x}"), "resource": shared} for n in range(2)]
    spans[1]["attrs"] = {**VLLM, "tenant.id": "red"}
    assert r.receive(PROTOBUF if make is as_protobuf else JSON, "", make(*spans)).status == 200
    assert [one.group for one in r.drain()] == [
        (("tenant.id", "blue"), ("route", "/")),
        (("tenant.id", "red"), ("route", "/")),
    ]


def test_what_a_trace_was_for_is_told_once_and_is_nothing_to_wait_for() -> None:
    kept: list[RequestSpan] = []
    r = receiver(group_by=("tenant.id",), keep=lambda _kind, _body, spans: kept.extend(spans))
    spans = [span({"tenant.id": "blue"}, span_id=f"{n:016x}", trace="ab" * 16) for n in range(50)]
    assert r.receive(JSON, "", as_json(*spans, span(VLLM))).status == 200
    caller, request = r.drain()
    assert (caller.is_request, caller.group) == (False, (("tenant.id", "blue"),))
    assert request.is_request and kept == [request]


@pytest.mark.parametrize("wrong", ["9" * 60, "1e999", "NaN", "x", 1.5e300, [1], {"a": 1}, None, True, -(10**18) * 100])
def test_tokens_that_are_no_number_are_refused_with_their_span_and_not_with_the_export(wrong: Any) -> None:
    data = json.loads(as_json(span(VLLM), span(VLLM, span_id="1" * 16)))
    attributes = data["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"]
    (tokens,) = [a for a in attributes if a["key"] == "gen_ai.usage.completion_tokens"]
    tokens["value"] = {"intValue": wrong}
    r = receiver()
    assert r.receive(JSON, "", json.dumps(data).encode()).status == 200
    first, second = r.drain()
    assert fault(second, 900.0) is None
    assert first.generated_tokens is None or fault(first, 900.0) is RequestOutcome.BAD_TOKENS


@pytest.mark.parametrize("depth", [50, 900, 100_000])
def test_attributes_in_attributes_are_passed_by_or_refused(depth: int) -> None:
    nested = b'{"x":' * depth + b"1" + b"}" * depth
    body = as_json(span(VLLM)).replace(b'"attributes": [{', b'"more": ' + nested + b', "attributes": [{', 1)
    assert receiver().receive(JSON, "", body).status == (200 if depth < 100_000 else 400)


@pytest.mark.parametrize("kind", [PROTOBUF, JSON])
def test_text_that_is_no_utf_8_is_refused_and_counted(kind: str) -> None:
    health = Health()
    body = as_protobuf(span(VLLM, name="abcdef")) if kind == PROTOBUF else as_json(span(VLLM, name="abcdef"))
    said = Receiver((), health, lambda: 5.0).receive(kind, "", body.replace(b"abcdef", b"ab\xff\xfeef"))
    assert said.status == 400
    assert health.states()[0].errors_total == 1


def test_a_first_token_before_the_beginning_is_no_time() -> None:
    told = {k: v for k, v in VLLM.items() if k != "gen_ai.latency.time_in_model_prefill"}
    r = receiver()
    told["gen_ai.latency.time_to_first_token"] = -4.0
    assert r.receive(JSON, "", as_json(span(told))).status == 200
    (found,) = r.drain()
    assert fault(found, 900.0) is RequestOutcome.BAD_TIMES


def test_one_bad_sender_among_good_ones_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "joulecar")
    health, now_s = Health(), [100.0]
    r = Receiver((), health, lambda: now_s[0])
    for _ in range(20):
        assert r.receive(JSON, "", b"no json").status == 400
        assert r.receive(JSON, "", as_json(span(VLLM))).status == 200
        now_s[0] += 5.0
    assert [part.up for part in health.states()] == [False]
    assert health.states()[0].errors_total == 20
    assert len(caplog.records) == 1
    now_s[0] += 60.0
    assert r.receive(JSON, "", as_json(span(VLLM))).status == 200
    assert [part.up for part in health.states()] == [True]
