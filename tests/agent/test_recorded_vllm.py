"""A real vLLM's pages and spans, as they were: both count the same tokens, and every joule is given once."""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import pairwise

import pytest

from agent.accounts import Rules
from agent.books import Policy
from agent.model import EngineSample, Quantity, RequestMethod, RequestOutcome, Use
from agent.otlp.decode import from_protobuf
from agent.otlp.dialects import READ, TO_FIRST, request_of
from agent.otlp.forward import ENERGY, annotated
from agent.request_checks import fault
from agent.request_life import life_of
from agent.request_pace import Pace
from agent.requests import RequestRules
from tests.fakes.vllm import MODEL
from tests.fakes.vllm_recording import ENGINE, Told, recording
from tests.sim.spans import Found, run

TOLD = recording()
STAYED = [a for a in TOLD.answers if a.generated is not None]
LEFT = [a for a in TOLD.answers if a.generated is None]


def count(sample: EngineSample, quantity: Quantity) -> float:
    return math.fsum(value for key, value in sample.counters.items() if key.quantity is quantity)


def grown(quantity: Quantity) -> float:
    first, *_, last = TOLD.samples()
    return count(last, quantity) - count(first, quantity)


def test_the_recording_has_every_kind_of_request() -> None:
    assert len(STAYED) > 50 and len(LEFT) > 5
    assert any(a.n > 1 for a in STAYED)
    assert any(a.cached for a in STAYED) and any(a.asked > 1000 for a in STAYED)
    assert any(a.request_id.startswith("chatcmpl-") for a in STAYED)


def test_every_page_is_read_and_lacks_nothing() -> None:
    for sample in TOLD.samples():
        assert (sample.kind, sample.missing) == ("vllm", ())
        assert {key.model for key in sample.counters} == {MODEL}
        assert set(sample.running) == set(sample.waiting) == {MODEL}
        wanted = {Quantity.PROMPT, Quantity.PROMPT_COMPUTED, Quantity.PROMPT_CACHED, Quantity.GENERATED}
        assert wanted | {Quantity.REQUESTS, Quantity.STEPS, Quantity.FIRST_TOKENS} <= {
            key.quantity for key in sample.counters
        }


def test_no_counter_falls() -> None:
    for before, after in pairwise(TOLD.samples()):
        assert all(after.counters[key] >= value for key, value in before.counters.items())


def test_the_page_counts_the_prompts_of_all_that_stayed_and_of_those_that_left() -> None:
    assert grown(Quantity.PROMPT) == sum(a.asked * a.n for a in TOLD.answers)
    assert grown(Quantity.PROMPT_COMPUTED) + grown(Quantity.PROMPT_CACHED) == grown(Quantity.PROMPT)
    assert grown(Quantity.REQUESTS) == sum(a.n for a in STAYED)
    stayed = sum(a.generated or 0 for a in STAYED)
    assert stayed < grown(Quantity.GENERATED) < stayed + 20 * len(LEFT)
    assert grown(Quantity.FIRST_TOKENS) == sum(a.n for a in TOLD.answers)


def test_spans_tell_the_clients_tokens_request_by_request_and_none_of_those_that_left() -> None:
    tokens: dict[str, list[float]] = defaultdict(lambda: [0, 0, 0])
    for _, span in TOLD.spans():
        base, dash, prompt_number = span.request_id.rpartition("-")
        told = tokens[base if dash and prompt_number.isdigit() else span.request_id]
        for k, more in enumerate((1, span.prompt_tokens, span.generated_tokens)):
            assert more is not None
            told[k] += more

    def expected(a: Told) -> list[float]:
        return [a.n, a.asked * a.n, a.generated or 0]

    assert tokens == {a.request_id: expected(a) for a in STAYED}


def test_spans_are_of_the_engine_believed_and_sent_soon() -> None:
    for at_s, span in TOLD.spans():
        assert (span.engine, span.own, span.cached_tokens) == (ENGINE.name, True, None)
        assert fault(span, 900.0) is None
        assert 0 < at_s - span.end_s < 10.0
    keys = [(span.trace_id, span.span_id) for _, span in TOLD.spans()]
    assert len(set(keys)) == len(keys)


def test_spans_of_its_start_are_passed_by() -> None:
    assert any(b"Load model" in body for _, body in TOLD.exports)
    raws = [raw for _, body in TOLD.exports for raw in from_protobuf(body, READ)]
    assert {raw.name for raw in raws if request_of(raw) is not None} == {"llm_request"}
    assert all(raw.name == "llm_request" for raw in raws), "what says nothing of a request is not even read"


def test_a_prompt_is_computed_when_its_first_token_came() -> None:
    """The times in queue and in the model leave out what came before: tokenizing, and the way to the engine."""
    raws = [raw for _, body in TOLD.exports for raw in from_protobuf(body, READ)]
    pairs = [(raw, span) for raw in raws if (span := request_of(raw)) is not None]
    for raw, span in pairs:
        to_first_s = raw.number(TO_FIRST)
        assert to_first_s is not None and span.prefill_s is not None
        life = life_of(span, "vllm")
        assert life.first_s == pytest.approx(span.start_s + to_first_s, abs=1e-5)
        assert life.first_s - life.begin_s == pytest.approx(span.prefill_s, abs=1e-5)


def test_the_steps_that_spans_tell_of_are_those_that_the_engine_counted() -> None:
    """Each request's tokens are known and its times; how often the engine stepped follows, those that left aside."""
    lives = [life_of(span, "vllm") for _, span in TOLD.spans()]
    pace = Pace(lives)
    ends = [sample.at.wall_s for sample in TOLD.samples()]
    steps = [math.fsum(pace.part(life, a, b).steps for life in lives) for a, b in pairwise(ends)]
    counted = [count(b, Quantity.STEPS) - count(a, Quantity.STEPS) for a, b in pairwise(TOLD.samples())]
    assert math.fsum(steps) == pytest.approx(math.fsum(counted), rel=0.05)
    assert math.fsum(abs(s - c) for s, c in zip(steps, counted, strict=True)) < 0.15 * math.fsum(counted)


@pytest.fixture(scope="module")
def played() -> Found:
    policy = Policy(Rules(engines={ENGINE.name: None}), requests=RequestRules())
    return run(TOLD.ticks(after_s=30.0), policy)


def test_played_through_the_books_every_joule_of_work_is_a_requests_or_of_those_that_left(played: Found) -> None:
    state = played.books.requests
    assert state is not None
    work_j = math.fsum(
        j for (_, _, use, _), j in played.books.ledger.energy_j.items() if use in (Use.PREFILL, Use.DECODE)
    )
    all_j = math.fsum(played.books.ledger.energy_j.values())
    given_j = state.totals.energy[ENGINE.name, MODEL].total
    assert given_j + state.left_j == pytest.approx(work_j, rel=1e-9)
    assert all_j == pytest.approx(TOLD.used_j(TOLD.pages[0][0], played.books.at.wall_s), rel=1e-9)
    of_those_that_left = sum(a.asked * a.n for a in LEFT) / sum(a.asked * a.n for a in TOLD.answers)
    assert 0 < state.left_j < 3 * of_those_that_left * work_j


def test_played_through_the_books_every_span_gets_its_joules(played: Found) -> None:
    state = played.books.requests
    assert state is not None
    told = {(span.trace_id, span.span_id): span for _, span in TOLD.spans()}
    assert state.totals.spans == {(ENGINE.name, RequestOutcome.ATTRIBUTED): len(told)}
    found = {(r.trace_id, r.span_id): r for r in state.recent}
    assert found.keys() == told.keys()
    for r in found.values():
        assert r.method is RequestMethod.WINDOWS and r.model == MODEL
        assert r.low_j is not None and r.high_j is not None
        assert 0 < r.low_j <= r.energy_j <= r.high_j
    carried = {
        (raw.trace_id, raw.span_id): joules
        for _, body in TOLD.exports
        for raw in from_protobuf(annotated("application/x-protobuf", body, found), frozenset((ENERGY,)))
        if (joules := raw.number(ENERGY)) is not None
    }
    assert carried == {key: r.energy_j for key, r in found.items()}


def test_longer_answers_cost_more(played: Found) -> None:
    state = played.books.requests
    assert state is not None
    told = {(span.trace_id, span.span_id): span.generated_tokens or 0.0 for _, span in TOLD.spans()}
    costs = sorted((told[r.trace_id, r.span_id], r.decode_j) for r in state.recent)
    third = len(costs) // 3
    assert sum(j for _, j in costs[-third:]) > 5 * sum(j for _, j in costs[:third])
