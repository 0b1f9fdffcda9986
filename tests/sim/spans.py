"""The spans that a made-up engine would send, as vLLM does: a request's at its end, a batch every few seconds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from agent import books
from agent.books import Books, Observed, Policy
from agent.model import RequestEnergy, RequestSpan
from tests.sim.engine import Engine, Served
from tests.sim.machine import WALL_S

BATCH_S = 5.0  # OpenTelemetry's exporters send every 5 s


def span_of(engine: str, n: int, served: Served) -> RequestSpan:
    return RequestSpan(
        engine=engine,
        start_s=WALL_S + served.arrival_s,
        end_s=WALL_S + served.end_s,
        request_id=f"{engine}-{n}",
        trace_id=f"{engine.encode().hex():0>8}{n:024x}",
        span_id=f"{n:016x}",
        queue_s=served.admitted_s - served.arrival_s,
        prefill_s=served.first_token_s - served.admitted_s,
        decode_s=served.end_s - served.first_token_s,
        prompt_tokens=float(served.prompt),
        cached_tokens=float(served.cached),
        generated_tokens=float(served.generated),
    )


def with_spans(
    ticks: Iterable[Observed], engines: Sequence[Engine], *, every: int = 1, offset_s: float = 0.0
) -> Iterator[Observed]:
    """The same ticks with the spans that came. every: of n requests one has a span. offset_s: of the engine's clock."""
    sent = {e.name: 0 for e in engines}
    for n, seen in enumerate(ticks):
        spans: list[RequestSpan] = []
        if n % BATCH_S == 0:
            for e in engines:
                new = list(enumerate(e.served))[sent[e.name] :]
                sent[e.name] = len(e.served)
                spans += [span_of(e.name, k, s) for k, s in new if k % every == 0]
        shifted = [replace(s, start_s=s.start_s + offset_s, end_s=s.end_s + offset_s) for s in spans]
        yield replace(seen, spans=tuple(shifted))


@dataclass(slots=True)
class Found:
    """What came out of a run."""

    books: Books
    requests: dict[str, RequestEnergy] = field(default_factory=dict)


def run(ticks: Iterable[Observed], policy: Policy) -> Found:
    """The last books and every request's energy, by its id."""
    state: Books | None = None
    found: dict[str, RequestEnergy] = {}
    for seen in ticks:
        state = books.tick(state or books.begin(seen.at, policy), seen, policy)
        assert state.requests is not None
        found.update({r.request_id: r for r in state.requests.done})
    assert state is not None
    state = books.finish(state, policy)
    assert state.requests is not None
    found.update({r.request_id: r for r in state.requests.done})
    return Found(state, found)
