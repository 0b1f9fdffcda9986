"""A span as it came, with the few attributes that anybody asked for. No others are ever looked at."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field

EXACT = 2.0**53  # below it every whole number is a float of its own
MAX_TEXT = 256  # characters of an attribute; no id and no name needs more
TRACE_BYTES, SPAN_BYTES = 16, 8

Value = str | int | float


def hex_id(told: object, size: int) -> str:
    """An id as JSON has it, in small hex. OTLP writes hex; protobuf's own JSON, which some send, writes base64."""
    text = told[:MAX_TEXT] if isinstance(told, str) else ""
    if len(text) != -(-size // 3) * 4:
        return text.lower()
    try:
        read = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return text.lower()
    return read.hex() if len(read) == size else text.lower()


@dataclass(frozen=True, slots=True)
class RawSpan:
    """Times in Unix seconds; ids in hex, as the trace's other tools show them. attributes: the span's, and those of
    its resource beside them."""

    name: str
    trace_id: str
    span_id: str
    start_s: float
    end_s: float
    kind: int = 0  # OTLP's: 2 server, 3 client
    service: str = ""  # service.name of who sent it
    scope: str = ""
    attributes: Mapping[str, Value] = field(default_factory=dict)

    def number(self, *names: str) -> float | None:
        """The first of these attributes that is a number."""
        for name in names:
            value = self.attributes.get(name)
            if isinstance(value, int | float):
                return float(value)
        return None

    def text(self, *names: str) -> str:
        """The first of these attributes that is there; "": none is."""
        for name in names:
            value = self.attributes.get(name)
            if isinstance(value, str) and value:
                return value
            if isinstance(value, float) and value.is_integer() and abs(value) < EXACT:
                value = int(value)
            if isinstance(value, int | float):
                return str(value)  # every digit: two tenants must not become one
        return ""
