"""LMDeploy. num_requests_succeeded and num_requests_failed are gauges that only rise: they are not read.

Prompt tokens are booked at the first token, generated ones at every step. Source: lmdeploy/metrics of 0.18.0.
"""

from __future__ import annotations

from agent.engines.spec import Alternative, EngineSpec, Metric, Need, one
from agent.model import Quantity

SPEC = EngineSpec(
    kind="lmdeploy",
    title="LMDeploy",
    prefixes=("lmdeploy:", "lmdeploy_"),
    counters={
        Quantity.PROMPT: one("prompt_tokens_total"),
        Quantity.PROMPT_CACHED: one("request_cached_tokens_sum"),
        Quantity.GENERATED: one("generation_tokens_total"),
        Quantity.REQUESTS: (Alternative((Metric("request_success_total", outcome_labels=("finished_reason",)),)),),
        Quantity.FIRST_TOKENS: one("time_to_first_token_seconds_count"),
        Quantity.INFERENCE_S: one("request_inference_time_seconds_sum"),
    },
    running=(Metric("num_requests_running"),),
    waiting=(Metric("num_requests_waiting"),),
    needs=(
        Need((Quantity.PROMPT,), "prompt_tokens_total", "LMDeploy 0.18, without --disable-metrics"),
        Need((Quantity.GENERATED,), "generation_tokens_total", "LMDeploy 0.18, without --disable-metrics"),
        Need((), "num_requests_running", "LMDeploy 0.18, without --disable-metrics"),
    ),
    model_labels=("model_name", "model"),
    note="0.18; on by default.",
)
