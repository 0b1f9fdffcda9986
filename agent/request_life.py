"""A request's life as its span tells it: when its prompt was computed, and when its tokens came."""

from __future__ import annotations

from agent.model import RequestSpan
from agent.request_pace import Life

# Engines that count a request's tokens when it ends: there, and not while it ran, its tokens meet the counters.
COUNTS_AT_END = frozenset({"llamacpp", "tgi", "trtllm", "triton"})


def life_of(span: RequestSpan, kind: str | None) -> Life:
    """When a request's prompt was computed and when its tokens were generated. kind: of its engine; None: not known."""
    prompt, generated = span.prompt_tokens or 0.0, span.generated_tokens or 0.0
    begin_s = min(span.start_s + (span.queue_s or 0.0), span.end_s)
    first_s = span.start_s if span.prefill_s is None else min(begin_s + span.prefill_s, span.end_s)
    last_s = span.end_s if span.decode_s is None else min(first_s + span.decode_s, span.end_s)
    return Life(
        min(begin_s, first_s),
        first_s,
        last_s,
        max(0.0, prompt - (span.cached_tokens or 0.0)),
        generated,
        context=prompt,
        with_cached=span.cached_tokens is None,
        at_end=kind in COUNTS_AT_END,
    )


def tells_all(span: RequestSpan) -> bool:
    """The times of both phases, and all tokens."""
    told = (span.prefill_s, span.decode_s, span.prompt_tokens, span.generated_tokens)
    return all(value is not None for value in told)
