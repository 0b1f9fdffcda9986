"""Answers over HTTP as OTLP has them: a refusal is a google.rpc.Status in the sender's own encoding, its message alone.

https://opentelemetry.io/docs/specs/otlp/#failures; whoever speaks neither encoding gets plain text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from agent.otlp.decode import JSON, PROTOBUF

_MESSAGE = b"\x12"  # field 2, with a length


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer over HTTP."""

    status: int
    content_type: str = "text/plain; charset=utf-8"
    body: bytes = b""
    headers: Mapping[str, str] | None = None


def taken(kind: str) -> Reply:
    return Reply(200, kind, b"{}" if kind == JSON else b"")


def refusal(status: int, text: str, kind: str, headers: Mapping[str, str] | None = None) -> Reply:
    """kind: the content type of what is refused."""
    if kind == JSON:
        return Reply(status, kind, json.dumps({"message": text}).encode(), headers)
    if kind == PROTOBUF:
        said = text.encode()
        return Reply(status, kind, _MESSAGE + _varint(len(said)) + said, headers)
    return Reply(status, body=f"{text}\n".encode(), headers=headers)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
