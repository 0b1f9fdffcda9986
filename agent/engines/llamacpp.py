"""llama.cpp's server. Prompt tokens exclude cached ones; generated tokens are booked when a request ends.

Numbers have six significant digits, so above a million a counter moves in steps of 10 and more: the sums stay
right, single steps are coarse. Its seconds counters are slot-seconds: each request's own. Its rate gauges are reset by
every scrape and not read. Sources: tools/server of b9093 to b11434, pages of b11434.
"""

from __future__ import annotations

from agent.engines.spec import Alternative, EngineSpec, Metric, Need, one
from agent.model import Quantity

SPEC = EngineSpec(
    kind="llamacpp",
    title="llama.cpp server",
    prefixes=("llamacpp:", "llamacpp_"),
    counters={
        Quantity.PROMPT_COMPUTED: one("prompt_tokens_total"),
        Quantity.PROMPT_CACHED: one("prompt_tokens_cached_total", versions="b10830 or newer"),
        Quantity.GENERATED: one("tokens_predicted_total"),
        Quantity.INFERENCE_S: (
            Alternative((Metric("prompt_seconds_total"), Metric("tokens_predicted_seconds_total"))),
        ),
    },
    running=(Metric("requests_processing"),),
    waiting=(Metric("requests_deferred"),),
    needs=(
        Need((Quantity.PROMPT_COMPUTED,), "prompt_tokens_total", "llama-server with --metrics"),
        Need((Quantity.GENERATED,), "tokens_predicted_total", "llama-server with --metrics"),
        Need((), "requests_processing", "llama-server with --metrics"),
    ),
    note="b9093 to b11434 with --metrics; its API key guards the page too. No model label: set the engine's model. "
    "No request counter.",
)
