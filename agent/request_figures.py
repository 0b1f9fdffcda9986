"""What is told of a request: its joules, how they are known, and how far they may be off.

The error band: what the request would have got if a prompt token cost half or twice as much against a generated one as
the books took it to, and 5% more to either side, by which the sensors may be off; and what it would have got of its
steps, had more or fewer of the requests without a span been in them.
"""

from __future__ import annotations

from dataclasses import replace

from agent.model import RequestEnergy, RequestMethod, RequestSpan
from agent.request_life import tells_all
from agent.request_till import Till
from agent.request_windows import Given, Past

SENSORS = 0.05  # relative


def of_windows(span: RequestSpan, model: str, given: Given, past: Past) -> RequestEnergy:
    """Of what windows gave it. past: the model's, whose mix of prefill and decode the band needs."""
    low_j, high_j = band(given.prefill_j, given.decode_j, past.prefill_j, past.decode_j)
    method = RequestMethod.WINDOWS if tells_all(span) else RequestMethod.COARSE
    found = _energy(span, model, given, method)
    return replace(found, low_j=max(0.0, low_j - given.less_j), high_j=high_j + given.more_j)


def average(span: RequestSpan, model: str, till: Till) -> RequestEnergy:
    """Its tokens at the model's mean energy of one, of what no request took."""
    means = till.before.means
    prompt = max(0.0, (span.prompt_tokens or 0.0) - (span.cached_tokens or 0.0))
    generated = span.generated_tokens or 0.0
    given = till.take_average(prompt * means.prompt_j, generated * means.generated_j)
    return _energy(span, model, given, RequestMethod.AVERAGE)


def band(prefill_j: float, decode_j: float, all_prefill_j: float, all_decode_j: float) -> tuple[float, float]:
    """The error band of the module's docstring, without its last part. all_...: the model's, of which the request's
    are a part."""
    total_j = all_prefill_j + all_decode_j
    found = []
    for factor in (0.5, 1.0, 2.0):
        scale = total_j / (factor * all_prefill_j + all_decode_j) if total_j > 0 else 1.0
        found.append((factor * prefill_j + decode_j) * scale)
    return min(found) * (1 - SENSORS), max(found) * (1 + SENSORS)


def _energy(span: RequestSpan, model: str, given: Given, method: RequestMethod) -> RequestEnergy:
    return RequestEnergy(
        span.engine,
        model,
        span.request_id,
        span.trace_id,
        span.span_id,
        span.start_s,
        span.end_s,
        given.energy_j,
        given.prefill_j,
        given.decode_j,
        given.grams,
        method,
    )
