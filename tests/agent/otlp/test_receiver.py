"""The receiver: what is taken, what is refused, and what is never looked at."""

from __future__ import annotations

import gzip
import json
import logging
import zlib
from typing import Any

import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.unknown_fields import UnknownFieldSet

from agent.health import Health
from agent.model import Part, RequestSpan
from agent.otlp.decode import JSON, PROTOBUF
from agent.otlp.receiver import LONGEST_S, MAX_WAITING, PER_S, Receiver
from agent.otlp.reply import Reply, refusal
from agent.settings import EngineSettings
from tests.agent.otlp.bodies import VLLM, as_json, as_protobuf, receiver, span

CANARY = "the-secret-prompt-of-a-person"


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


def test_what_a_trace_was_for_is_told_once_and_is_nothing_to_wait_for() -> None:
    kept: list[RequestSpan] = []
    r = receiver(group_by=("tenant.id",), keep=lambda _kind, _body, spans: kept.extend(spans))
    spans = [span({"tenant.id": "blue"}, span_id=f"{n:016x}", trace="ab" * 16) for n in range(50)]
    assert r.receive(JSON, "", as_json(*spans, span(VLLM))).status == 200
    caller, request = r.drain()
    assert (caller.is_request, caller.group) == (False, (("tenant.id", "blue"),))
    assert request.is_request and kept == [request]


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
