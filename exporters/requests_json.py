"""The energy of recent requests as JSON, for whoever holds a trace id or a request id.

    GET /requests.json                    the last ones, newest first
    GET /requests.json?trace_id=4bf9...   those of one trace (hex, 32 digits)
    GET /requests.json?request_id=cmpl-1  one request, as the engine or the client named it

    schema     "joulecar/requests/1"
    error      what is wrong, beside a status that is not 200
    requests   [{engine, model, request_id, trace_id, span_id, start_s, end_s, energy_j, prefill_j, decode_j, gco2e,
                method, low_j, high_j, group: {attribute: value}}]

method: windows, coarse or average, as README.md says. How low_j and high_j are computed is in agent/request_figures.py.
What is not known is null. Keys are only ever added. Status: 200; 404 where a query finds nothing, or nothing yet; 400
for one that cannot find anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from agent.model import RequestEnergy

PATH = "/requests.json"
SCHEMA = "joulecar/requests/1"


KEYS = ("trace_id", "request_id")
_HEX = re.compile(r"[0-9a-fA-F]{1,64}")


def requests_json(recent: Sequence[RequestEnergy], query: Mapping[str, str]) -> tuple[int, bytes]:
    """The status, and the document. recent: oldest first. A query without a match is an empty list."""
    if (wrong := _fault(query)) is not None:
        return 400, _document((), wrong)
    trace, request = query.get("trace_id", "").lower(), query.get("request_id", "")
    found = [
        as_object(r)
        for r in reversed(recent)
        if (not trace or r.trace_id == trace) and (not request or _names(r.request_id, request))
    ]
    if query and not found:
        return 404, _document(
            (), f"not among the last {len(recent)} requests; one is told of when its windows are closed"
        )
    return 200, _document(found)


def _fault(query: Mapping[str, str]) -> str | None:
    for key, value in query.items():
        if key not in KEYS:
            return f"{key[:64]!r} is none of {', '.join(KEYS)}"
        if not value:
            return f"{key} is empty"
    trace = query.get("trace_id")
    return None if trace is None or _HEX.fullmatch(trace) else "trace_id is not hexadecimal"


def _document(found: Sequence[Mapping[str, object]], error: str = "") -> bytes:
    data = {"schema": SCHEMA, "requests": found} | ({"error": error} if error else {})
    return json.dumps(data, allow_nan=False).encode() + b"\n"


def _names(request_id: str, asked: str) -> bool:
    """vLLM numbers the prompts of a request: cmpl-1-0 is of what the client knows as cmpl-1."""
    base, dash, number = request_id.rpartition("-")
    return request_id == asked or (bool(dash) and number.isdigit() and base == asked)


def as_object(r: RequestEnergy) -> dict[str, object]:
    return {
        "engine": r.engine,
        "model": r.model,
        "request_id": r.request_id,
        "trace_id": r.trace_id,
        "span_id": r.span_id,
        "start_s": r.start_s,
        "end_s": r.end_s,
        "energy_j": r.energy_j,
        "prefill_j": r.prefill_j,
        "decode_j": r.decode_j,
        "gco2e": r.gco2e,
        "method": r.method,
        "low_j": r.low_j,
        "high_j": r.high_j,
        "group": dict(r.group),
    }
