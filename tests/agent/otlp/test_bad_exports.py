"""What a sender may do on purpose, or by a fault of its own: it is refused or counted, and nothing breaks."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.health import Health
from agent.model import RequestOutcome, RequestSpan
from agent.otlp.decode import JSON, PROTOBUF
from agent.otlp.receiver import Receiver
from agent.request_checks import fault
from tests.agent.otlp.bodies import VLLM, as_json, as_protobuf, edited, receiver, span


def test_a_bomb_is_refused_long_before_it_has_grown() -> None:
    r = receiver(max_body=100_000)
    bomb = gzip.compress(b"\0" * 50_000_000)
    assert len(bomb) < 100_000
    said = r.receive(PROTOBUF, "gzip", bomb)
    assert said.status == 413 and b"100000 bytes" in said.body


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
