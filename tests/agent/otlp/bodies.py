"""Exports of spans as senders write them: protobuf and JSON of the same spans."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from agent.health import Health
from agent.otlp.receiver import Receiver
from agent.settings import EngineSettings

RECORDED = Path(__file__).parents[2] / "data" / "otlp" / "vllm_llm_request_spans.jsonl"


def recorded() -> list[dict[str, Any]]:
    """Spans as vLLM 0.32.0 sent them."""
    return [json.loads(line) for line in RECORDED.read_text().splitlines()]


def span(
    attributes: dict[str, Any],
    *,
    name: str = "llm_request",
    service: str = "vllm",
    scope: str = "vllm.tracing.otel",
    start: int = 1_790_000_000_000_000_000,
    end: int = 1_790_000_002_000_000_000,
    trace: str = "0af7651916cd43dd8448eb211c80319c",
    kind: int = 2,
    span_id: str = "00f067aa0ba902b7",
) -> dict[str, Any]:
    """In the form of the recorded ones."""
    return {
        "name": name, "scope": scope, "kind": kind, "start": start, "end": end, "trace": trace, "span": span_id,
        "attrs": attributes, "resource": {"service.name": service},
    }  # fmt: skip


VLLM = {
    "gen_ai.usage.prompt_tokens": 100,
    "gen_ai.usage.completion_tokens": 20,
    "gen_ai.latency.time_in_queue": 0.1,
    "gen_ai.latency.time_in_model_prefill": 0.3,
    "gen_ai.latency.time_in_model_decode": 1.5,
    "gen_ai.request.id": "cmpl-1-0",
}


def as_protobuf(*spans: dict[str, Any]) -> bytes:
    message = ExportTraceServiceRequest()
    for n, one in enumerate(spans):
        resource = message.resource_spans.add()
        for key, value in one["resource"].items():
            _put(resource.resource.attributes.add(), key, value)
        scope = resource.scope_spans.add()
        scope.scope.name = one["scope"]
        out = scope.spans.add()
        out.name, out.kind = one["name"], one["kind"]
        out.trace_id = bytes.fromhex(one["trace"])
        out.span_id = bytes.fromhex(one.get("span") or f"{n + 1:016x}")
        out.start_time_unix_nano, out.end_time_unix_nano = one["start"], one["end"]
        for key, value in one["attrs"].items():
            _put(out.attributes.add(), key, value)
    return message.SerializeToString()


def edited(body: bytes, change: Callable[[Any], None]) -> bytes:
    """The same export after a change to each of its spans."""
    message = ExportTraceServiceRequest.FromString(body)
    for resource in message.resource_spans:
        for scope in resource.scope_spans:
            for one in scope.spans:
                change(one)
    return message.SerializeToString()


def _put(attribute: Any, key: str, value: Any) -> None:
    attribute.key = key
    if isinstance(value, str):
        attribute.value.string_value = value
    elif isinstance(value, bool):
        attribute.value.bool_value = value
    elif isinstance(value, int):
        attribute.value.int_value = value
    else:
        attribute.value.double_value = value


def as_json(*spans: dict[str, Any]) -> bytes:
    def attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
        kinds = {str: "stringValue", int: "intValue", float: "doubleValue", bool: "boolValue"}
        return [{"key": k, "value": {kinds[type(v)]: str(v) if type(v) is int else v}} for k, v in values.items()]

    resources = [
        {
            "resource": {"attributes": attributes(one["resource"])},
            "scopeSpans": [
                {
                    "scope": {"name": one["scope"]},
                    "spans": [
                        {
                            "name": one["name"],
                            "kind": one["kind"],
                            "traceId": one["trace"],
                            "spanId": one.get("span") or f"{n + 1:016x}",
                            "startTimeUnixNano": str(one["start"]),
                            "endTimeUnixNano": str(one["end"]),
                            "attributes": attributes(one["attrs"]),
                        }
                    ],
                }
            ],
        }
        for n, one in enumerate(spans)
    ]
    return json.dumps({"resourceSpans": resources}).encode()


def receiver(*engines: EngineSettings, **changed: Any) -> Receiver:
    """One that takes them."""
    return Receiver(engines or (EngineSettings("vllm-tiny", "http://h:8000"),), Health(), lambda: 5.0, **changed)
