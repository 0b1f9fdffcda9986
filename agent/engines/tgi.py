"""Hugging Face Text Generation Inference. Its counters carry no _total and its pages no model label.

Input tokens are booked when a request is validated, generated ones when it succeeds. Source: router/src/server.rs
and backends/v3/src/backend.rs, January 2026.
"""

from __future__ import annotations

from agent.engines.spec import Alternative, EngineSpec, Metric, Need, one
from agent.model import Quantity

SPEC = EngineSpec(
    kind="tgi",
    title="Text Generation Inference",
    prefixes=("tgi_",),
    counters={
        Quantity.PROMPT: one("request_input_length_sum"),
        Quantity.GENERATED: one("request_generated_tokens_sum"),
        Quantity.INFERENCE_S: one("request_inference_duration_sum"),
        Quantity.REQUESTS: (
            Alternative((Metric("request_success", outcome="success"), Metric("request_failure", outcome="failure"))),
        ),
    },
    running=(Metric("batch_current_size"),),
    waiting=(Metric("queue_size"),),
    needs=(
        Need((Quantity.PROMPT,), "request_input_length_sum", "TGI 3; appears with the first request"),
        Need((Quantity.GENERATED,), "request_generated_tokens_sum", "TGI 3; appears with the first request"),
        Need((), "batch_current_size", "TGI 3; appears with the first request"),
    ),
    note="3.x. No model label: set the engine's model. It does not tell cached prompt tokens from computed ones.",
)
