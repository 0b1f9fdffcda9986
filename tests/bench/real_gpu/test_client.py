"""The span of a request, as the agent reads it."""

from __future__ import annotations

import pytest

from agent.otlp.decode import from_protobuf
from tests.agent.otlp.bodies import as_protobuf
from tests.bench.real_gpu.asked import Asked
from tests.bench.real_gpu.client import as_span

ASKED = Asked("ab" * 16, "mixed_2", 1_790_000_000.0, 1_790_000_000.5, 1_790_000_002.0, 100, 40, prefill_s=0.3)


def test_the_phases_of_a_span_are_those_that_the_client_saw() -> None:
    wanted = {
        "gen_ai.latency.time_in_queue": 0.2,
        "gen_ai.latency.time_in_model_prefill": 0.3,
        "gen_ai.latency.time_in_model_decode": 1.5,
        "gen_ai.usage.prompt_tokens": 100.0,
        "gen_ai.usage.completion_tokens": 40.0,
    }
    (raw,) = from_protobuf(as_protobuf(as_span(ASKED, "llama")), frozenset(wanted))
    assert {key: raw.number(key) for key in wanted} == pytest.approx(wanted)
    assert raw.trace_id == ASKED.trace_id
