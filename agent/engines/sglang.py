"""SGLang. Its scheduler counts tokens as they are made (realtime_tokens_total), its tokenizer when a request ends.

The scheduler's families carry tensor- and pipeline-parallel ranks that each report the same work, and, with
data parallelism, dp_rank, which is work of its own. Sources: sglang/srt metrics_collector.py of 0.4.6 to 0.5.23.
"""

from __future__ import annotations

from agent.engines.spec import Alternative, EngineSpec, Metric, Need, one
from agent.model import Quantity


def _realtime(mode: str, *instead_of: Quantity) -> Alternative:
    return Alternative((Metric("realtime_tokens_total", (("mode", mode),)),), "0.5.9 or newer", instead_of)


SPEC = EngineSpec(
    kind="sglang",
    title="SGLang",
    prefixes=("sglang:", "sglang_"),
    counters={
        Quantity.PROMPT_COMPUTED: (_realtime("prefill_compute", Quantity.PROMPT),),
        Quantity.PROMPT: one("prompt_tokens_total"),
        Quantity.PROMPT_CACHED: (_realtime("prefill_cache"), *one("cached_tokens_total")),
        Quantity.GENERATED: (_realtime("decode"), *one("generation_tokens_total", versions="before 0.5.9")),
        Quantity.REQUESTS: (
            Alternative(
                (
                    Metric("num_requests_total", outcome="finished"),
                    Metric("num_aborted_requests_total", outcome="abort"),
                )
            ),
        ),
        Quantity.FIRST_TOKENS: one("time_to_first_token_seconds_count"),
        # With their queueing, but it is read where nothing runs before and after: there hardly any request waits.
        Quantity.INFERENCE_S: one("e2e_request_latency_seconds_sum"),
    },
    running=(Metric("num_running_reqs"),),
    waiting=(Metric("num_queue_reqs"),),
    needs=(
        Need(
            (Quantity.PROMPT, Quantity.PROMPT_COMPUTED),
            "prompt_tokens_total",
            "SGLang with --enable-metrics; appears with the first request",
        ),
        Need(
            (Quantity.GENERATED,),
            "generation_tokens_total",
            "SGLang with --enable-metrics; appears with the first request",
        ),
        Need((), "num_running_reqs", "SGLang with --enable-metrics"),
    ),
    model_labels=("model_name", "model"),
    replica_labels=("tp_rank", "pp_rank", "moe_ep_rank"),
    note="0.4.6 to 0.5.23 with --enable-metrics. From 0.5.9 on tokens are counted at every iteration, before that "
    "when a request ends.",
)
