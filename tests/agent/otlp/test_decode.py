"""Bodies of every kind that senders write say the same."""

from __future__ import annotations

import gzip
import zlib
from typing import Any

import pytest
from google.protobuf.json_format import MessageToJson
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from agent.otlp.decode import JSON, PROTOBUF, from_json, from_protobuf
from agent.otlp.raw import TRACE_BYTES, hex_id
from tests.agent.otlp.bodies import VLLM, as_json, as_protobuf, receiver, recorded, span


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
