"""vLLM: V1 and V0, and those that carry its metrics under another prefix (Aphrodite, Ray Serve LLM, NVIDIA NIM).

Prompt tokens step when a request's first token comes out, generated tokens at every engine step. Tokens of
requests that the client left are counted, the requests themselves are not. Sources: vllm/v1/metrics/loggers.py
of 0.8.5 to 0.33.0, pages of 0.32.0.
"""

from __future__ import annotations

from agent.engines.spec import Alternative, EngineSpec, Metric, Need, one
from agent.model import Quantity

SPEC = EngineSpec(
    kind="vllm",
    title="vLLM (also Aphrodite, Ray Serve LLM, NVIDIA NIM)",
    prefixes=("vllm:", "aphrodite:", "ray_vllm_", "vllm_"),
    bare_marks=("generation_tokens_total", "num_requests_running"),  # NIM
    counters={
        Quantity.PROMPT: one("prompt_tokens_total"),
        Quantity.PROMPT_COMPUTED: one(
            "prompt_tokens_by_source_total", source="local_compute", versions="0.18 or newer"
        ),
        Quantity.PROMPT_CACHED: (
            *one("prompt_tokens_cached_total", versions="0.18 or newer"),
            # Tokens, not requests. Booked when a request is scheduled, so before its prompt is.
            *one("prefix_cache_hits_total", versions="0.10 to 0.17"),
            *one("gpu_prefix_cache_hits_total", versions="0.8 to 0.10"),
        ),
        Quantity.GENERATED: one("generation_tokens_total"),
        Quantity.REQUESTS: (
            Alternative((Metric("request_success_total", outcome_labels=("finished_reason",)),)),
            Alternative((Metric("request_finish_total", outcome_labels=("finished_reason", "finish_reason")),)),
        ),
        # Counts of histograms. The first skips steps that gave no token: chunks of a prompt with nothing beside them.
        Quantity.STEPS: one("iteration_tokens_total_count"),
        Quantity.FIRST_TOKENS: one("time_to_first_token_seconds_count"),
        Quantity.INFERENCE_S: one("request_inference_time_seconds_sum"),  # of a request, when it ends
    },
    running=(Metric("num_requests_running"),),
    waiting=(Metric("num_requests_waiting"),),
    needs=(
        Need(
            (Quantity.PROMPT, Quantity.PROMPT_COMPUTED),
            "prompt_tokens_total",
            "vLLM 0.8 or newer, without --disable-log-stats",
        ),
        Need((Quantity.GENERATED,), "generation_tokens_total", "vLLM 0.8 or newer, without --disable-log-stats"),
        Need((), "num_requests_running", "with several API processes it appears with the first request", is_late=True),
    ),
    model_labels=("model_name", "model"),
    metrics_paths=("/metrics", "/v1/metrics"),
    note="0.8 to 0.33, V0 too; on by default; the page needs no key. Cached prompt tokens are told from 0.8 on "
    "(V1); a V0 page only has a hit rate, so there every prompt token counts as computed.",
)
