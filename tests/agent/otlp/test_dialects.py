"""What each engine's and gateway's span says of a request."""

from __future__ import annotations

from typing import Any

import pytest

from agent.otlp.decode import from_json
from agent.otlp.dialects import READ, duration_s, request_of
from agent.request_life import tells_all
from tests.agent.otlp.bodies import VLLM, as_json, recorded, span


def read(one: dict[str, Any], group_by: tuple[str, ...] = ()) -> Any:
    found = [request_of(raw, group_by) for raw in from_json(as_json(one), READ | frozenset(group_by))]
    return found[0] if found else None


def test_vllm_as_recorded() -> None:
    short, long = (read(one) for one in recorded())
    assert (short.prompt_tokens, short.generated_tokens, short.cached_tokens) == (19, 2, None)
    assert (long.prompt_tokens, long.generated_tokens) == (860, 40)
    assert long.request_id == "cmpl-b0758750c6e5593c-0"
    assert long.trace_id == "73a16fdcdf1bdc377492229b0b8bb544"
    assert long.prefill_s == pytest.approx(0.464, abs=0.001)
    assert long.decode_s == pytest.approx(0.434, abs=0.001)
    assert long.queue_s == pytest.approx(0.46858 - 0.46439, abs=1e-5)  # its first token, less its time in prefill
    assert long.end_s - long.start_s == pytest.approx(0.903, abs=0.001)
    assert long.own and long.model == ""


@pytest.mark.parametrize(
    ("to_first_s", "queue_s"),
    [
        (0.9, 0.6),  # half a second went by before it was queued
        (0.35, 0.1),  # clocks of two processes: never less than its time in the queue
        (2.1, 0.1),  # after its end: no time of this request
        (None, 0.1),
    ],
)
def test_what_comes_before_the_queue_is_known_by_the_first_token(to_first_s: float | None, queue_s: float) -> None:
    told = VLLM if to_first_s is None else {**VLLM, "gen_ai.latency.time_to_first_token": to_first_s}
    found = read(span(told))
    assert (found.queue_s, found.prefill_s, found.decode_s) == (pytest.approx(queue_s), 0.3, 1.5)


def test_the_time_of_decoding_ends_with_the_span_where_the_engine_does_not_tell_it() -> None:
    told = {**VLLM, "gen_ai.latency.time_to_first_token": 0.5}
    del told["gen_ai.latency.time_in_model_decode"]
    found = read(span(told))
    assert (found.queue_s, found.prefill_s, found.decode_s) == (pytest.approx(0.2), 0.3, pytest.approx(1.5))
    assert tells_all(found)
    del told["gen_ai.latency.time_in_model_prefill"]  # when the prompt was computed is not known then
    assert read(span(told)).decode_s is None
    del told["gen_ai.latency.time_to_first_token"]
    assert read(span({**told, "gen_ai.latency.time_in_model_prefill": 0.3})).decode_s is None


def test_sglang_tells_the_model_and_what_was_cached() -> None:
    found = read(span({**VLLM, "gen_ai.usage.cached_tokens": 64, "gen_ai.response.model": "qwen"}, scope="sglang"))
    assert (found.model, found.cached_tokens, found.own) == ("qwen", 64, True)


def test_tgi_tells_times_as_text_and_its_tokens_follow() -> None:
    told = {"queue_time": "1.5ms", "inference_time": "2.4s", "time_per_token": "24ms", "total_time": "2.5s"}
    found = read(span(told, name="generate", scope="text-generation-router"))
    assert (found.queue_s, found.generated_tokens, found.prompt_tokens) == (pytest.approx(0.0015), 100, None)
    assert found.own


@pytest.mark.parametrize("service", ["litellm", "gateway"])
def test_the_request_that_litellms_proxy_serves_is_a_gateways(service: str) -> None:
    """1.81 and newer write what a request used on the span of the proxy's own HTTP request."""
    told = {"gen_ai.usage.input_tokens": 7, "gen_ai.usage.output_tokens": 9, "gen_ai.response.model": "m"}
    found = read(span(told, name="Received Proxy Server Request", scope=service, service=service, kind=2))
    assert (found.prompt_tokens, found.generated_tokens, found.own) == (7, 9, False)


def test_litellm_counts_once_and_is_not_the_engine() -> None:
    told = {"gen_ai.usage.prompt_tokens": 7, "gen_ai.usage.completion_tokens": 9, "gen_ai.response.model": "m"}
    found = read(span(told, name="litellm_request", scope="litellm", service="proxy", kind=1))
    assert (found.prompt_tokens, found.generated_tokens, found.own, found.model) == (7, 9, False, "m")
    assert read(span(told, name="raw_gen_ai_request", scope="litellm", kind=1)) is None


def test_opentelemetrys_conventions() -> None:
    told = {
        "gen_ai.operation.name": "chat",
        "gen_ai.usage.input_tokens": 11,
        "gen_ai.usage.output_tokens": 12,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.request.model": "m",
    }
    found = read(span(told, name="chat m", scope="openai", kind=3))
    assert (found.prompt_tokens, found.cached_tokens, found.generated_tokens) == (11, 4, 12)
    assert (found.model, found.own, found.prefill_s) == ("m", False, None)


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"http.route": "/v1/completions"},
        {"gen_ai.operation.name": "embeddings", "gen_ai.usage.input_tokens": 5},
        {"queue_time": "soon", "inference_time": "2s", "time_per_token": "1ms"},
    ],
)
def test_everything_else_in_a_trace_is_passed_by(told: dict[str, Any]) -> None:
    assert read(span(told, name="GET /", scope="fastapi")) is None


def test_groups_are_the_attributes_asked_for_in_that_order() -> None:
    found = read(span({**VLLM, "tenant.id": "t1", "tier": 3}), ("tier", "tenant.id", "route"))
    assert found.group == (("tier", "3"), ("tenant.id", "t1"), ("route", ""))


@pytest.mark.parametrize(
    ("text", "seconds"), [("1.5ms", 0.0015), ("2s", 2.0), ("850µs", 850e-6), ("3ns", 3e-9), ("", None), ("-1s", None)]
)
def test_rusts_durations(text: str, seconds: float | None) -> None:
    assert duration_s(text) == (None if seconds is None else pytest.approx(seconds))


def test_any_other_span_says_no_more_than_whom_its_trace_was_for() -> None:
    served = span({"http.request.method": "POST", "tenant.id": "blue", "gen_ai.prompt": "secret"}, trace="ab" * 16)
    found = read(served, ("tenant.id", "route"))
    assert not found.is_request and not found.own
    assert (found.trace_id, found.group) == ("ab" * 16, (("tenant.id", "blue"), ("route", "")))
    assert "secret" not in repr(found)
    assert read(served) is None  # nobody groups by it
    assert read(span({"http.request.method": "POST"}), ("tenant.id",)) is None
    assert read(span({"tenant.id": "blue"}, trace=""), ("tenant.id",)) is None
