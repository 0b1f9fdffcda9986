"""The body of an OTLP/HTTP export as raw spans, from protobuf or JSON. Only attributes in `wanted` are looked at, and
spans that have none of these, nor their resource, are passed by: of a trace they are most.

Raises ReadFailed for a body that is none, Unavailable where protobuf cannot be read here.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from agent.errors import ReadFailed, Unavailable
from agent.otlp.raw import MAX_TEXT, SPAN_BYTES, TRACE_BYTES, RawSpan, Value, hex_id

if TYPE_CHECKING:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
SERVICE = "service.name"
EXTRA = "pip install 'joulecar[otlp]'"
NANO = 1e9
WRONG = -1.0  # no count and no time is below 0
MAX_DIGITS = 40
MAX_ID = 32  # bytes; a trace has 16, a span 8
LARGEST = 1 << 63  # of an attribute that is an integer
_INTEGER = re.compile(r"-?[0-9]{1,19}")
_KINDS = {"SPAN_KIND_SERVER": 2, "SPAN_KIND_CLIENT": 3}  # as protobuf's own JSON writes them, against OTLP's rule
_WBITS = {"gzip": 31, "deflate": 15}  # zlib's: OpenTelemetry's exporter for Python knows these two
_STEP = 1 << 16


class UnfitError(ReadFailed):
    """A body that is not taken. status: HTTP's word for why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def inflate(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """The body without its compression, never more than max_bytes of it in memory. Raises ReadFailed."""
    if encoding in ("", "identity"):
        return body
    if encoding not in _WBITS:
        raise UnfitError(415, "a content-encoding other than gzip and deflate")
    out = bytearray()
    rest = body
    while True:  # gzip files one after the other are a gzip file
        unpack = zlib.decompressobj(_WBITS[encoding])
        try:
            while rest and not unpack.eof:
                out += unpack.decompress(rest, _STEP)
                if len(out) > max_bytes:
                    raise UnfitError(413, f"more than {max_bytes} bytes once decompressed, which is otlp.max_body")
                rest = unpack.unconsumed_tail
        except zlib.error:
            raise ReadFailed(f"{encoding} data that cannot be read") from None
        if not unpack.eof:
            raise ReadFailed(f"{encoding} data that is cut off")
        rest = unpack.unused_data
        if not rest:
            return bytes(out)


def protobuf_message() -> type[ExportTraceServiceRequest]:
    """The message's class. Raises Unavailable without opentelemetry-proto."""
    try:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # noqa: PLC0415 - optional, and 10 MB
            ExportTraceServiceRequest as Message,
        )
    except ImportError:
        raise Unavailable("protobuf cannot be read without opentelemetry-proto", EXTRA) from None
    return Message


def parse_protobuf(body: bytes) -> ExportTraceServiceRequest:
    message = protobuf_message()
    from google.protobuf.message import DecodeError  # noqa: PLC0415 - optional

    try:
        return message.FromString(body)
    except (DecodeError, RecursionError):
        raise ReadFailed("not an OTLP trace export in protobuf") from None


def parse_json(body: bytes) -> dict[str, Any]:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        raise ReadFailed("not JSON") from None
    if not isinstance(data, dict):
        raise ReadFailed("not an OTLP trace export in JSON")
    return data


def from_protobuf(body: bytes, wanted: frozenset[str]) -> Iterator[RawSpan]:
    for resource in parse_protobuf(body).resource_spans:
        shared = _protobuf_values(resource.resource.attributes, wanted | {SERVICE})
        for scope in resource.scope_spans:
            for span in scope.spans:
                own = _protobuf_values(span.attributes, wanted)
                if not own and shared.keys() <= {SERVICE}:
                    continue
                yield RawSpan(
                    span.name[:MAX_TEXT],
                    span.trace_id[:MAX_ID].hex(),
                    span.span_id[:MAX_ID].hex(),
                    span.start_time_unix_nano / NANO,
                    span.end_time_unix_nano / NANO,
                    int(span.kind),
                    str(shared.get(SERVICE, "")),
                    scope.scope.name[:MAX_TEXT],
                    shared | own,
                )


def _protobuf_values(attributes: Iterable[Any], wanted: frozenset[str]) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for attribute in attributes:
        if attribute.key not in wanted:
            continue
        kind = attribute.value.WhichOneof("value")
        if kind == "string_value":
            found[attribute.key] = attribute.value.string_value[:MAX_TEXT]
        elif kind == "bool_value":
            found[attribute.key] = _said(attribute.value.bool_value)
        elif kind == "int_value":
            found[attribute.key] = attribute.value.int_value
        elif kind == "double_value":
            found[attribute.key] = _number(attribute.value.double_value)
    return found


def from_json(body: bytes, wanted: frozenset[str]) -> Iterator[RawSpan]:
    for resource in _objects(parse_json(body), "resourceSpans"):
        shared = _json_values(_object(resource, "resource"), wanted | {SERVICE})
        for scope in _objects(resource, "scopeSpans"):
            scope_name = _text(_object(scope, "scope"), "name")
            for span in _objects(scope, "spans"):
                own = _json_values(span, wanted)
                if not own and shared.keys() <= {SERVICE}:
                    continue
                kind = _KINDS.get(str(span.get("kind")), span.get("kind"))
                yield RawSpan(
                    _text(span, "name"),
                    hex_id(span.get("traceId"), TRACE_BYTES),
                    hex_id(span.get("spanId"), SPAN_BYTES),
                    _number(span.get("startTimeUnixNano")) / NANO,
                    _number(span.get("endTimeUnixNano")) / NANO,
                    kind if type(kind) is int else 0,
                    str(shared.get(SERVICE, "")),
                    scope_name,
                    shared | own,
                )


def _json_values(holder: dict[str, Any], wanted: frozenset[str]) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for attribute in _objects(holder, "attributes"):
        key = attribute.get("key")
        if not isinstance(key, str) or key not in wanted:
            continue
        value = _object(attribute, "value")
        if isinstance(text := value.get("stringValue"), str):
            found[key] = text[:MAX_TEXT]
        elif isinstance(flag := value.get("boolValue"), bool):
            found[key] = _said(flag)
        elif (told := value.get("intValue")) is not None:
            found[key] = _integer(told)
        elif (told := value.get("doubleValue")) is not None:
            found[key] = _number(told)
    return found


def _said(flag: bool) -> str:
    return "true" if flag else "false"


def _objects(data: dict[str, Any], key: str) -> list[dict[str, Any]]:
    value = data.get(key) or []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ReadFailed(f"{key} is not a list of objects")
    return value


def _object(data: dict[str, Any], key: str) -> dict[str, Any]:
    value = data.get(key) or {}
    if not isinstance(value, dict):
        raise ReadFailed(f"{key} is not an object")
    return value


def _text(data: dict[str, Any], key: str) -> str:
    value = data.get(key)
    return value[:MAX_TEXT] if isinstance(value, str) else ""


def _integer(value: object) -> int | float:
    """Every digit of it: JSON has the 64 bits as text."""
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    if type(value) is int and abs(value) < LARGEST:
        return value
    return _number(value)


def _number(value: object) -> float:
    """WRONG for what is no number: whoever reads it refuses the span, not the body."""
    if isinstance(value, bool) or not isinstance(value, int | float | str) or len(str(value)) > MAX_DIGITS:
        return WRONG
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return WRONG
    return number if math.isfinite(number) else WRONG
