"""How engines and gateways write down a request: one table. Every attribute that is read stands here.

Sources: vLLM's attributes as its 0.32.0 exported them (tests/data/otlp), SGLang's and TGI's as their sources write
them, OpenTelemetry's semantic conventions for generative AI, and LiteLLM, which follows these in both their spellings.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from agent.model import RequestSpan, SpanGroup
from agent.otlp.raw import RawSpan

SERVER = 2

PROMPT = ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens")
CACHED = ("gen_ai.usage.cached_tokens", "gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens")
GENERATED = ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens")
MODEL = ("gen_ai.response.model", "gen_ai.request.model")
REQUEST = ("gen_ai.request.id", "gen_ai.response.id")
QUEUE = "gen_ai.latency.time_in_queue"
PREFILL = "gen_ai.latency.time_in_model_prefill"
DECODE = "gen_ai.latency.time_in_model_decode"
TO_FIRST = "gen_ai.latency.time_to_first_token"
OPERATION = "gen_ai.operation.name"
TGI = ("queue_time", "inference_time", "time_per_token")
SERVED_BY = ("server.address", "server.port")

READ = frozenset(
    (*PROMPT, *CACHED, *GENERATED, *MODEL, *REQUEST, QUEUE, PREFILL, DECODE, TO_FIRST, OPERATION, *TGI, *SERVED_BY)
)
_GENERATING = frozenset(("", "chat", "text_completion", "completion", "generate_content", "responses", "completions"))


@dataclass(frozen=True, slots=True)
class Dialect:
    """is_one: does a span speak it?"""

    name: str
    is_one: Callable[[RawSpan], bool]
    read: Callable[[RawSpan], RequestSpan]


def _usage(raw: RawSpan) -> bool:
    return raw.number(*PROMPT, *GENERATED) is not None


def _engine(raw: RawSpan) -> bool:
    """vLLM and SGLang alone tell how long a request was in the model."""
    return _usage(raw) and raw.number(PREFILL, DECODE, QUEUE, TO_FIRST) is not None


def _litellm(raw: RawSpan) -> bool:
    # raw_gen_ai_request is a child that says the same once more.
    is_its = "litellm" in (raw.scope, raw.service) or raw.name == "Received Proxy Server Request"
    return is_its and raw.name != "raw_gen_ai_request" and _usage(raw)


def _genai(raw: RawSpan) -> bool:
    return raw.name != "raw_gen_ai_request" and _usage(raw) and raw.text(OPERATION) in _GENERATING


def _read_litellm(raw: RawSpan) -> RequestSpan:
    """Its proxy writes the usage on the span of the HTTP request that it serves, which is a server's kind."""
    return _read(raw, own=False)


def _read_genai(raw: RawSpan) -> RequestSpan:
    return _read(raw, own=raw.kind == SERVER)


def _read(
    raw: RawSpan,
    *,
    own: bool,
    queue_s: float | None = None,
    prefill_s: float | None = None,
    decode_s: float | None = None,
) -> RequestSpan:
    return RequestSpan(
        engine="",
        start_s=raw.start_s,
        end_s=raw.end_s,
        model=raw.text(*MODEL),
        request_id=raw.text(*REQUEST),
        trace_id=raw.trace_id,
        span_id=raw.span_id,
        queue_s=queue_s,
        prefill_s=prefill_s,
        decode_s=decode_s,
        prompt_tokens=raw.number(*PROMPT),
        cached_tokens=raw.number(*CACHED),
        generated_tokens=raw.number(*GENERATED),
        own=own,
    )


def _read_engine(raw: RawSpan) -> RequestSpan:
    queue_s, prefill_s, first_s = raw.number(QUEUE), raw.number(PREFILL), raw.number(TO_FIRST)
    decode_s = raw.number(DECODE)
    if prefill_s is None and first_s is not None:
        prefill_s = max(0.0, first_s - (queue_s or 0.0)) if first_s >= 0 else first_s  # which no request can have
    elif prefill_s is not None and first_s is not None and first_s <= raw.end_s - raw.start_s:
        # Its times leave out what comes before its queue, as the tokenizer's work; the first token came at first_s.
        queue_s = max(queue_s or 0.0, first_s - prefill_s)
        if decode_s is None and first_s >= 0:  # as of an SGLang that wrote its times down before the request had ended
            decode_s = max(0.0, raw.end_s - raw.start_s - first_s)
    return _read(raw, own=True, queue_s=queue_s, prefill_s=prefill_s, decode_s=decode_s)


def _is_tgi(raw: RawSpan) -> bool:
    return all(duration_s(raw.text(name)) is not None for name in TGI)


def _read_tgi(raw: RawSpan) -> RequestSpan:
    """TGI tells times as text and no tokens; those generated follow from two of the times."""
    queue_s, inference_s, each_s = (duration_s(raw.text(name)) for name in TGI)
    generated = round(inference_s / each_s) if inference_s and each_s else None
    return RequestSpan(
        engine="",
        start_s=raw.start_s,
        end_s=raw.end_s,
        trace_id=raw.trace_id,
        span_id=raw.span_id,
        queue_s=queue_s,
        generated_tokens=None if generated is None else float(generated),
        own=True,
    )


# The first one that fits is taken: an engine's own before what a gateway says of the same request.
DIALECTS = (
    Dialect("vllm, sglang", _engine, _read_engine),
    Dialect("tgi", _is_tgi, _read_tgi),
    Dialect("litellm", _litellm, _read_litellm),
    Dialect("opentelemetry", _genai, _read_genai),
)

_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,12})?)(ns|µs|us|ms|s)")
_UNITS_S = {"ns": 1e-9, "µs": 1e-6, "us": 1e-6, "ms": 1e-3, "s": 1.0}


def duration_s(text: str) -> float | None:
    """Seconds of "12.3ms", as Rust writes a duration; None: it is none."""
    match = _DURATION.fullmatch(text)
    return float(match[1]) * _UNITS_S[match[2]] if match else None


def request_of(
    raw: RawSpan, group_by: tuple[str, ...] = (), engine_of: Callable[[RawSpan], str] = lambda _: ""
) -> RequestSpan | None:
    """The request that a span tells of, or whom its trace was for; None: it is something else. engine_of: which engine
    it is from, if it says."""
    for dialect in DIALECTS:
        if dialect.is_one(raw):
            span, engine = dialect.read(raw), engine_of(raw)
            return replace(span, engine=engine, group=_group(raw, group_by)) if engine or group_by else span
    if raw.trace_id and any(raw.text(name) for name in group_by):
        group = _group(raw, group_by)
        return RequestSpan("", raw.start_s, raw.end_s, trace_id=raw.trace_id, group=group, own=False, is_request=False)
    return None


def _group(raw: RawSpan, group_by: tuple[str, ...]) -> SpanGroup:
    return tuple((name, raw.text(name)) for name in group_by)
