"""The simulator itself: its truth adds up, and its pages behave as vLLM's and llama.cpp's do."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from agent.model import EngineSample, Quantity
from tests.sim.arrivals import AGENTS, CHAT, Arrival, azure, poisson
from tests.sim.costs import EXPERTS, MODELS, WEIGHTS, Costs
from tests.sim.engine import Booking, Engine
from tests.sim.machine import Machine, watch


def counts(sample: EngineSample) -> dict[Quantity, float]:
    return {k.quantity: v for k, v in sample.counters.items()}


def last_page(engine: Engine, seconds: float) -> dict[Quantity, float]:
    pages = [r for seen in watch(Machine([engine]), seconds) for r in seen.engines]
    assert isinstance(pages[-1], EngineSample)
    return counts(pages[-1])


@pytest.mark.parametrize("costs", MODELS, ids=lambda c: c.name)
@pytest.mark.parametrize("rate", [0.05, 2.0, 20.0])
def test_phases_requests_and_idle_floor_add_up_to_the_counter(costs: Costs, rate: float) -> None:
    engine = Engine("a", costs, poisson(rate, 60, random.Random(1), AGENTS))
    machine = Machine([engine])
    *_, end = watch(machine, 60)
    assert end.readings[0].energy_j == machine.energy_j
    assert engine.truth.work_j + machine.idle_j == pytest.approx(machine.energy_j)
    assert sum(r.prefill_j for r in engine.served) == pytest.approx(engine.truth.prefill_j)
    assert sum(r.decode_j for r in engine.served) == pytest.approx(engine.truth.decode_j)


@pytest.mark.parametrize("costs", MODELS, ids=lambda c: c.name)
def test_steps_that_take_longer_and_shorter_have_a_known_truth_too(costs: Costs) -> None:
    steady, engine = (Engine("a", costs, poisson(2.0, 60, random.Random(1), AGENTS), jitter=j) for j in (0.0, 0.2))
    machine = Machine([engine])
    for _ in (*watch(machine, 60), *watch(Machine([steady]), 60)):
        pass
    assert engine.truth.work_j + machine.idle_j == pytest.approx(machine.energy_j)
    assert sum(r.prefill_j for r in engine.served) == pytest.approx(engine.truth.prefill_j)
    assert sum(r.decode_j for r in engine.served) == pytest.approx(engine.truth.decode_j)
    assert [r.end_s for r in engine.served] != [r.end_s for r in steady.served]


def test_a_meter_that_is_off_is_right_in_the_mean_and_never_runs_backwards() -> None:
    def told(noise: float) -> list[float]:
        engine = Engine("a", WEIGHTS, poisson(2.0, 900, random.Random(1)))
        return [seen.readings[0].energy_j or 0.0 for seen in watch(Machine([engine]), 900, noise=noise)]

    right, off = told(0.0), told(0.02)
    assert off[-1] == pytest.approx(right[-1], rel=0.01)
    assert all(a <= b for a, b in pairwise(off))
    each = [(b - a) / (d - c) - 1 for (a, b), (c, d) in zip(pairwise(off), pairwise(right), strict=True)]
    assert 0.01 < (sum(v * v for v in each) / len(each)) ** 0.5 < 0.03


def test_pages_that_are_late_tell_what_was_a_second_ago() -> None:
    def pages(every_s: float, late_s: int) -> list[dict[Quantity, float]]:
        engine = Engine("a", WEIGHTS, poisson(2.0, 60, random.Random(1)))
        replies = [r for seen in watch(Machine([engine]), 60, every_s=every_s, late_s=late_s) for r in seen.engines]
        return [counts(r) for r in replies if isinstance(r, EngineSample)]

    each, late = pages(1.0, 0), pages(5.0, 1)
    assert late[3] == each[14]
    assert late[3] != each[15]


def test_two_engines_take_turns_and_their_joules_add_up() -> None:
    engines = [Engine(name, WEIGHTS, poisson(2.0, 60, random.Random(seed))) for seed, name in enumerate("ab")]
    machine = Machine(engines, gpus=2)
    *_, end = watch(machine, 60, sm=True)
    work_j = sum(e.truth.work_j for e in engines)
    assert work_j + machine.idle_j == pytest.approx(sum(r.energy_j or 0.0 for r in end.readings))
    assert sum(machine.busy_s.values()) < machine.now_s


def test_a_driver_that_samples_books_each_sample_to_one_and_is_right_in_the_long_run() -> None:
    told: dict[int, float] = {}
    engines = [Engine(n, WEIGHTS, poisson(rate, 600, random.Random(7))) for n, rate in (("a", 3.0), ("b", 1.0))]
    machine = Machine(engines)
    for seen in watch(machine, 600, sm=True, samples=5):
        for use in seen.readings[0].processes or ():
            told[use.pid] = told.get(use.pid, 0.0) + use.sm
    a, b = (machine.busy_s[name] for name in "ab")
    assert told[100] / (told[100] + told[101]) == pytest.approx(a / (a + b), abs=0.03)
    assert told[100] + told[101] == pytest.approx(a + b, rel=0.01)


def test_one_request_alone_costs_what_can_be_added_up_by_hand() -> None:
    engine = Engine("a", WEIGHTS, [Arrival(0.0, 5000, 0, 3)])  # chunks of 2048, 2048, 904; then two steps
    page = last_page(engine, 10)
    (request,) = engine.served
    c = WEIGHTS
    assert request.prefill_j == pytest.approx(3 * c.step_all_j + 5000 * c.prefill_all_j)
    assert request.decode_j == pytest.approx(2 * (c.step_all_j + c.decode_all_j) + (5001 + 5002) * c.context_all_j)
    assert page[Quantity.STEPS] == 3  # two chunks gave no token
    assert (page[Quantity.FIRST_TOKENS], page[Quantity.GENERATED], page[Quantity.PROMPT]) == (1, 3, 5000)


def test_cached_prompt_tokens_are_told_and_cost_nothing() -> None:
    engine = Engine("a", WEIGHTS, [Arrival(0.0, 1000, 800, 1)])
    page = last_page(engine, 10)
    assert (page[Quantity.PROMPT_CACHED], page[Quantity.PROMPT_COMPUTED]) == (800, 200)
    assert engine.truth.prefill_j == pytest.approx(WEIGHTS.step_all_j + 200 * WEIGHTS.prefill_all_j)


def test_an_engine_that_books_late_tells_the_same_tokens_in_the_end() -> None:
    arrivals = poisson(1.0, 60, random.Random(2))
    totals = []
    for booking in Booking:
        engine = Engine("a", WEIGHTS, arrivals, booking=booking)
        replies = [r for seen in watch(Machine([engine]), 60) for r in seen.engines]
        seen = [counts(r)[Quantity.GENERATED] for r in replies if isinstance(r, EngineSample)]
        totals.append(seen)
    assert totals[0][-1] == totals[1][-1] == sum(a.generate for a in arrivals)
    assert all(late <= live for live, late in zip(*totals, strict=True))
    assert sum(totals[1]) < sum(totals[0])


def test_a_mixture_of_experts_reads_more_of_itself_for_more_tokens() -> None:
    assert EXPERTS.joint_share(1) == EXPERTS.touched
    assert EXPERTS.joint_share(1) < EXPERTS.joint_share(8) < EXPERTS.joint_share(64) < 1.0


def test_arrivals_come_at_the_rate_asked_for() -> None:
    chance = poisson(5.0, 2000, random.Random(3), CHAT)
    assert len(chance) == pytest.approx(10_000, rel=0.05)
    assert sum(a.prompt for a in chance) / len(chance) == pytest.approx(CHAT.means[0], rel=0.05)
    recorded = azure(5.0, 2000)
    assert len(recorded) == pytest.approx(10_000, rel=0.02)
    assert (recorded[0].prompt, recorded[0].generate) == (374, 44)
    assert all(a.at_s <= b.at_s for a, b in pairwise(recorded))
