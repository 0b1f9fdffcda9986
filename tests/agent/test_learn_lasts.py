"""What was learned is the same in a replay, and after a restart; and it splits what the driver gave to an engine."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from agent import books
from agent.accounts import Rules
from agent.books import Books, Observed, Policy
from agent.codec import Codecs
from agent.learn import Fit
from agent.model import EngineSample, Quantity
from agent.remember import Identity, Memory, memory_of, resume
from agent.replay import replay
from agent.trace import Tick, TraceEngine, encode_tick, read_trace
from tests.sim.arrivals import CHAT, poisson
from tests.sim.costs import WEIGHTS
from tests.sim.engine import Engine
from tests.sim.machine import Machine, watch
from tests.sim.play import play

NAMES = {
    Quantity.PROMPT: "prompt_tokens_total",
    Quantity.PROMPT_CACHED: "prompt_tokens_cached_total",
    Quantity.GENERATED: "generation_tokens_total",
    Quantity.STEPS: "iteration_tokens_total_count",
    Quantity.INFERENCE_S: "request_inference_time_seconds_sum",
    Quantity.FIRST_TOKENS: "time_to_first_token_seconds_count",
    Quantity.REQUESTS: "request_success_total",
}
GROUP = frozenset({"a"})
POLICY = Policy(rules=Rules(engines={"a": None}))
SECONDS = 240


def seen() -> list[Observed]:
    arrivals = poisson(1.0, SECONDS, random.Random(1), CHAT)
    return list(watch(Machine([Engine("a", WEIGHTS, arrivals)]), SECONDS, drain=False))


def page(sample: EngineSample) -> str:
    """As vLLM would tell it."""
    lines = []
    for key, value in sample.counters.items():
        if key.quantity is Quantity.PROMPT_COMPUTED:
            name, labels = "prompt_tokens_by_source_total", 'model_name="m",source="local_compute"'
        else:
            name, labels = NAMES[key.quantity], 'model_name="m"'
        lines.append(f"vllm:{name}{{{labels}}} {value}")
    lines += [f'vllm:num_requests_running{{model_name="{m}"}} {n}' for m, n in sample.running.items()]
    lines += [f'vllm:num_requests_waiting{{model_name="{m}"}} {n}' for m, n in (sample.waiting or {}).items()]
    return "\n".join(lines) + "\n"


def recorded(tick: Observed) -> str:
    engines = tuple(TraceEngine(r.engine, r.at, page=page(r)) for r in tick.engines if isinstance(r, EngineSample))
    return encode_tick(Tick(tick.at, tick.readings, engines))


def fit_of(state: Books) -> Fit:
    return state.settlement.accounts[GROUP].fit


def test_a_replay_learns_what_the_live_run_learned_and_books_the_same() -> None:
    ticks = seen()
    live = books.begin(ticks[0].at, POLICY)
    for tick in ticks:
        live = books.tick(live, tick, POLICY)
    *_, before_end, end = replay(read_trace([recorded(t) for t in ticks]), POLICY, {})
    assert fit_of(before_end.books) == fit_of(live)
    in_use = books.snapshot(live, POLICY).engines[0]
    assert in_use.weight_confidence is not None and in_use.weight_confidence > 0.9
    assert end.books.ledger.energy_j == books.finish(live, POLICY).ledger.energy_j


@pytest.mark.parametrize("stop", [121, 123])  # beside a page, and between two
def test_what_was_learned_outlives_the_agent(stop: int) -> None:
    ticks = seen()
    state = books.begin(ticks[0].at, POLICY)
    for tick in ticks[:stop]:
        state = books.tick(state, tick, POLICY)
    assert fit_of(state).blocks > 5
    codecs, same = Codecs(), Identity("boot", "driver")
    memory = codecs.loads(codecs.dumps(memory_of(state, same), Memory), Memory)
    again = resume(state.ledger, memory, ticks[stop].at, same, POLICY)
    assert fit_of(again) == fit_of(state)
    assert again.settlement.accounts[GROUP] == state.settlement.accounts[GROUP]
    for tick in ticks[stop:]:
        state, again = books.tick(state, tick, POLICY), books.tick(again, tick, POLICY)
    assert fit_of(again) == fit_of(state)
    assert books.finish(again, POLICY).ledger.energy_j == books.finish(state, POLICY).ledger.energy_j


def test_the_drivers_word_says_whose_and_what_was_learned_says_what_for() -> None:
    """Two engines on one GPU whose processes the driver tells apart."""
    big = replace(WEIGHTS, name="big", step_s=0.02, step_j=5.0)

    def engines() -> list[Engine]:
        return [
            Engine("a", big, poisson(0.4, 700, random.Random(1), CHAT)),
            Engine("b", WEIGHTS, poisson(1.0, 700, random.Random(2), CHAT)),
        ]

    learned, _ = play(Machine(engines()), 700, warm_s=300, sm=True)
    fixed, _ = play(Machine(engines()), 700, warm_s=300, sm=True, weight=0.12)
    for name in ("a", "b"):
        assert learned[name].work_j == pytest.approx(fixed[name].work_j)  # whose it is, the driver said
        assert abs(learned[name].off) < 0.07
        assert abs(fixed[name].off) > 0.15
