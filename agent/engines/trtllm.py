"""TensorRT-LLM's own server (trtllm-serve). Tokens are booked when a request ends.

Its /metrics is JSON; the exposition page is /prometheus/metrics. Source: tensorrt_llm/metrics/collector.py.
num_requests_completed_total is not read: it adds a per-iteration value and counts no requests.
"""

from __future__ import annotations

from agent.engines.spec import Alternative, EngineSpec, Metric, Need, one
from agent.model import Quantity

SPEC = EngineSpec(
    kind="trtllm",
    title="TensorRT-LLM (trtllm-serve)",
    prefixes=("trtllm_",),
    counters={
        Quantity.PROMPT: one("prompt_tokens_total"),
        Quantity.PROMPT_CACHED: one("prompt_cached_tokens_total"),
        Quantity.GENERATED: one("generation_tokens_total"),
        Quantity.REQUESTS: (
            Alternative(
                (
                    Metric("request_success_total", outcome_labels=("finished_reason",)),
                    Metric("request_error_total", outcome="error"),
                )
            ),
        ),
        Quantity.FIRST_TOKENS: one("time_to_first_token_seconds_count"),
        Quantity.INFERENCE_S: one("request_inference_time_seconds_sum"),
    },
    running=(Metric("num_requests_running"),),
    waiting=(Metric("num_requests_waiting"),),
    needs=(
        Need((Quantity.PROMPT,), "prompt_tokens_total", "trtllm-serve with return_perf_metrics: true"),
        Need((Quantity.GENERATED,), "generation_tokens_total", "trtllm-serve with return_perf_metrics: true"),
        Need((), "num_requests_running", "trtllm-serve with enable_iter_perf_stats: true"),
    ),
    model_labels=("model_name", "model"),
    metrics_paths=("/prometheus/metrics", "/metrics"),
    note="trtllm-serve with return_perf_metrics: true, and enable_iter_perf_stats: true for running requests.",
)
