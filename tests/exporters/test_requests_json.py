"""/requests.json: the energy of recent requests, by trace or by request."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.model import RequestEnergy, RequestMethod
from exporters.requests_json import requests_json

RECENT = tuple(
    RequestEnergy(
        "a", "m", f"cmpl-{n}-0", f"{n // 2:032x}", f"{n:016x}", 1.0, 2.0, 3.0 + n, 1.0, 2.0 + n, 0.25,
        RequestMethod.WINDOWS, 2.5, 4.5, (("tenant.id", "blue"),),
    )
    for n in range(4)
)  # fmt: skip


def ask(**query: str) -> list[dict[str, Any]]:
    status, body = requests_json(RECENT, query)
    data = json.loads(body)
    assert data["schema"] == "joulecar/requests/1"
    assert status == (200 if data["requests"] else 404) and ("error" in data) == (status == 404)
    found: list[dict[str, Any]] = data["requests"]
    return found


def test_without_a_query_all_come_newest_first() -> None:
    assert [r["request_id"] for r in ask()] == ["cmpl-3-0", "cmpl-2-0", "cmpl-1-0", "cmpl-0-0"]


def test_by_trace_and_by_request() -> None:
    assert [r["request_id"] for r in ask(trace_id=f"{1:032X}")] == ["cmpl-3-0", "cmpl-2-0"]
    assert [r["request_id"] for r in ask(request_id="cmpl-2-0")] == ["cmpl-2-0"]
    assert [r["request_id"] for r in ask(request_id="cmpl-2")] == ["cmpl-2-0"]
    assert ask(request_id="cmpl") == [] and ask(trace_id="f" * 32) == []


def test_before_there_is_any_request_all_are_none() -> None:
    status, body = requests_json((), {})
    assert (status, json.loads(body)["requests"]) == (200, [])


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"trace_id": "nobody"}, "hexadecimal"),
        ({"trace_id": ""}, "empty"),
        ({"request_id": ""}, "empty"),
        ({"traceid": "ab"}, "trace_id, request_id"),
        ({"trace_id": "ab", "limit": "5"}, "'limit'"),
    ],
)
def test_a_query_that_can_find_nothing_is_told_so_and_never_gets_all(query: dict[str, str], says: str) -> None:
    status, body = requests_json(RECENT, query)
    data = json.loads(body)
    assert (status, data["requests"]) == (400, []) and says in data["error"]


def test_everything_is_told() -> None:
    (found,) = ask(request_id="cmpl-1")
    assert found == {
        "engine": "a", "model": "m", "request_id": "cmpl-1-0", "trace_id": f"{0:032x}", "span_id": f"{1:016x}",
        "start_s": 1.0, "end_s": 2.0, "energy_j": 4.0, "prefill_j": 1.0, "decode_j": 3.0, "gco2e": 0.25,
        "method": "windows", "low_j": 2.5, "high_j": 4.5, "group": {"tenant.id": "blue"},
    }  # fmt: skip
