"""NVIDIA Dynamo's frontend: the requests of all its workers, by model.

The workers pass their own engine's metrics through (vllm:, sglang:, trtllm_) on DYN_SYSTEM_PORT; such a page is
read as that engine's. Measure the workers for energy, or the frontend where one machine runs it all, never both.
Sources: prometheus_names.rs, docs/reference/observability/metrics-catalog.mdx.
"""

from __future__ import annotations

from agent.engines.spec import Alternative, EngineSpec, Metric, Need, one
from agent.model import Quantity

SPEC = EngineSpec(
    kind="dynamo",
    title="NVIDIA Dynamo frontend",
    prefixes=("dynamo_frontend_",),
    counters={
        Quantity.PROMPT: one("input_sequence_tokens_sum"),
        Quantity.PROMPT_CACHED: one("cached_tokens_sum"),
        Quantity.GENERATED: (*one("output_tokens_total"), *one("output_sequence_tokens_sum")),
        Quantity.REQUESTS: (Alternative((Metric("requests_total", outcome_labels=("status",)),)),),
    },
    running=(Metric("active_requests"), Metric("inflight_requests")),
    waiting=(Metric("queued_requests"),),
    needs=(
        Need((Quantity.PROMPT,), "input_sequence_tokens_sum", "Dynamo frontend; appears with the first request"),
        Need((Quantity.GENERATED,), "output_tokens_total", "Dynamo frontend; appears with the first request"),
        Need((), "active_requests", "Dynamo frontend; older ones say inflight_requests"),
    ),
    model_labels=("model", "model_name"),
    note="the frontend's page on port 8000; workers are read as the engine they run.",
)
