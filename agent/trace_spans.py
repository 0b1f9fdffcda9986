"""Request spans as a trace has them, in both directions."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from agent.fields import FieldError, flag, needed, number, text
from agent.model import RequestSpan

_TEXTS = ("engine", "model", "request_id", "trace_id", "span_id")
_NUMBERS = ("queue_s", "prefill_s", "decode_s", "prompt_tokens", "cached_tokens", "generated_tokens")
_DEFAULTS = {f.name: f.default for f in fields(RequestSpan)}


def span_out(span: RequestSpan) -> dict[str, object]:
    """What it says; numbers that no request can have as well, so that a replay refuses them likewise."""
    data: dict[str, object] = {"engine": span.engine, "start_s": span.start_s, "end_s": span.end_s}
    for name in (*_TEXTS[1:], *_NUMBERS):
        value = getattr(span, name)
        if value != _DEFAULTS[name]:
            data[name] = value
    if span.group:
        data["group"] = dict(span.group)
    if not span.own:
        data["own"] = False
    if not span.is_request:
        data["is_request"] = False
    return data


def span_in(data: dict[str, Any], i: int) -> RequestSpan:
    where = f"spans[{i}]."
    group = data.get("group") or {}
    if not isinstance(group, dict) or not all(isinstance(value, str) for value in group.values()):
        raise FieldError(f"{where}group is not an object of texts")
    queue_s, prefill_s, decode_s, prompt, cached, generated = (number(data, name, where) for name in _NUMBERS)
    engine, model, request_id, trace_id, span_id = (text(data, name, where, default="") for name in _TEXTS)
    own, is_request = flag(data, "own", where), flag(data, "is_request", where)
    return RequestSpan(
        engine,
        needed(data, "start_s", where),
        needed(data, "end_s", where),
        model,
        request_id,
        trace_id,
        span_id,
        queue_s,
        prefill_s,
        decode_s,
        prompt,
        cached,
        generated,
        tuple(group.items()),
        own is None or own,
        is_request is None or is_request,
    )
