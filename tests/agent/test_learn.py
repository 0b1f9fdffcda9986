"""What phases cost, learned beside a simulated engine whose truth is known."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import books
from agent.accounts import Account, Rules
from agent.attribution import Floor
from agent.done import GATHER_MAX_S, GATHER_PROMPTS, GATHER_S, Block, Done
from agent.learn import CLOSE, HALF_LIFE_S, MAX_WHO, MIN_BLOCKS, TERMS, Fit, Learned, Price, confidence_of, learn
from agent.learned import learned
from agent.model import DeviceKind, Use
from agent.settlement import pending_j
from agent.weigh import in_use, known, prices, weigh
from tests.sim.arrivals import AGENTS, CHAT, DOCUMENTS, Shape, azure, changing, poisson
from tests.sim.costs import COMPUTE, CONTEXT, EXPERTS, LARGE, WEIGHTS, Costs
from tests.sim.engine import Booking, Engine
from tests.sim.machine import Machine, at
from tests.sim.play import Said, play

IDLE_W, WHO = 100.0, ("a", "m")


def told(rng: random.Random, fit: Fit, blocks: int, prompt_j: float = 0.02, step_j: float = 2.0) -> Fit:
    """Blocks of 5 s at many loads, without noise. A step takes 8 ms, a prompt token 40 us."""
    for _ in range(blocks):
        steps = rng.uniform(1, 500)
        done = Done(rng.uniform(0, 20_000), steps * rng.uniform(1, 20), rng.uniform(0, 10), steps)
        busy_s = 0.008 * steps + 40e-6 * done.prompt
        energy_j = IDLE_W * 5 + prompt_j * done.prompt + 0.1 * done.decoded + step_j * steps
        fit = learn(fit, Block(energy_j, 5.0, busy_s, {WHO: done}), IDLE_W)
    return fit


def test_prices_are_found_with_the_floor_of_the_time_that_each_takes() -> None:
    says = learned(told(random.Random(1), Fit(), 40), IDLE_W)
    price = says.prices[WHO]
    assert price.step_j == pytest.approx(2.0 + IDLE_W * 0.008, rel=0.01)
    assert price.prompt_j == pytest.approx(0.02 + IDLE_W * 40e-6, rel=0.01)
    assert price.decode_j == pytest.approx(0.1, rel=0.02)
    assert says.confidence > 0.99
    assert says.residual == pytest.approx(0.0, abs=1e-3)


def test_a_step_is_shared_by_the_sequences_in_it() -> None:
    # Two prompts and 18 other tokens in ten steps: a tenth of the steps' cost is the prompts'.
    prefill_j, decode_j = Price(0.01, 0.2, 5.0).phases(Done(prompt=3000, generated=20, first=2, steps=10))
    assert prefill_j == pytest.approx(30 + 5.0)
    assert decode_j == pytest.approx(0.2 * 18 + 45.0)


def test_before_enough_is_seen_and_where_nothing_tells_phases_apart_the_prior_holds() -> None:
    assert learned(told(random.Random(1), Fit(), MIN_BLOCKS - 1), IDLE_W) == Learned({}, 0.0, None)
    fit, rng = Fit(), random.Random(2)
    for _ in range(60):  # always the same request: prompt, tokens and steps go together; the power is noisy
        n = rng.uniform(1, 10)
        block = Block(500 + n * 300 * rng.uniform(0.7, 1.3), 5.0, 0.5 * n, {WHO: Done(1000 * n, 101 * n, n, 101 * n)})
        fit = learn(fit, block, IDLE_W)
    assert learned(fit, IDLE_W).confidence < 0.1


def test_what_was_true_long_ago_is_forgotten() -> None:
    rng = random.Random(3)
    fit = told(rng, told(rng, Fit(), 100, prompt_j=0.5), round(8 * HALF_LIFE_S / 5))
    assert learned(fit, IDLE_W).prices[WHO].prompt_j == pytest.approx(0.024, rel=0.1)


def test_a_block_far_from_all_that_is_known_counts_little() -> None:
    rng = random.Random(4)
    fit = told(rng, Fit(), 60)
    fit = learn(fit, Block(5_000, 5.0, 5.0, {WHO: Done(20_000, 2_000, 2, 200)}), IDLE_W)  # some noise to compare with
    wild = Block(1e6, 5.0, 5.0, {WHO: Done(10_000, 100, 1, 100)})
    assert learn(fit, wild, IDLE_W).blocks - 0.5 ** (5 / HALF_LIFE_S) * fit.blocks < 0.1


def test_of_more_models_than_can_be_told_apart_nothing_is_learned() -> None:
    fit = told(random.Random(5), Fit(), 20)
    many = {("a", f"m{k}"): Done(10, 10, 1, 10) for k in range(MAX_WHO)}
    after = learn(fit, Block(1000, 5, 5, many), IDLE_W)
    assert after.who == fit.who
    assert after.blocks == pytest.approx(0.5 ** (5 / HALF_LIFE_S) * fit.blocks)
    assert learn(fit, Block(1000, 5, 5, {}), IDLE_W) is fit


def test_a_model_that_appears_later_begins_its_own_terms() -> None:
    fit = learn(told(random.Random(6), Fit(), 20), Block(900, 5, 2, {("b", "n"): Done(10.0, 10.0, 1.0, 10.0)}), IDLE_W)
    assert fit.who == (WHO, ("b", "n"))
    assert {len(row) for row in (*fit.sums, *fit.lag_1, *fit.lag_2, *fit.last)} == {3 + 2 * TERMS}
    assert learned(fit, IDLE_W).prices[WHO].step_j == pytest.approx(2.8, rel=0.02)


@pytest.mark.parametrize(
    ("seconds", "prompts", "whole"),
    [
        (GATHER_S - 1, 10 * GATHER_PROMPTS, False),
        (GATHER_S, GATHER_PROMPTS - 1, False),
        (GATHER_S, GATHER_PROMPTS, True),
        (GATHER_MAX_S, 0, True),
    ],
)
def test_a_block_in_the_midst_of_requests_is_learned_from_when_enough_prompts_are_in_it(
    seconds: float, prompts: float, whole: bool
) -> None:
    assert Block(1.0, seconds, seconds, {WHO: Done(first=prompts)}).whole is whole


def told_late(seed: int, *, varies: bool, late: bool = True, blocks: int = 400) -> Fit:
    """Requests without a pause; the prompt that stands at a block's end is told in the next one."""
    rng, fit, carried = random.Random(seed), Fit(), 0.0
    for _ in range(blocks):
        prompt = rng.uniform(10_000, 30_000) if varies else 20_000.0
        carry = rng.uniform(0, 8_000) if late else 0.0
        told_now, carried = max(0.0, prompt + carried - carry), carry
        steps = rng.uniform(90, 110)
        decoded, first = rng.uniform(8, 12) * steps, told_now / 4_000
        energy_j = IDLE_W * 5 + 0.05 * prompt + 0.1 * decoded + 2.0 * steps
        done = Done(told_now, decoded + first, first, steps)
        fit = learn(fit, Block(energy_j, 5.0, 5.0, {WHO: done}), IDLE_W, quiet=False)
    return fit


def test_prompts_that_are_told_late_pull_their_price_down_by_little() -> None:
    honest = [learned(told_late(seed, varies=True, late=False), IDLE_W) for seed in range(6)]
    late = [learned(told_late(seed, varies=True), IDLE_W) for seed in range(6)]
    right_j, found_j = (sum(says.prices[WHO].prompt_j for says in each) for each in (honest, late))
    assert found_j == pytest.approx(right_j, rel=0.1)  # a quarter too low if the noise stays in
    assert sum(says.confidence for says in late) < sum(says.confidence for says in honest)


@pytest.mark.parametrize("seed", range(4))
def test_where_prompts_vary_by_nothing_but_late_telling_the_fit_is_not_believed(seed: int) -> None:
    assert learned(told_late(seed, varies=False), IDLE_W).confidence < 0.1


def test_an_error_that_lasts_from_block_to_block_is_not_taken_for_chance() -> None:
    rng = random.Random(8)

    def with_error(lasts: bool) -> Fit:
        fit = Fit()
        for k in range(300):
            done = Done(rng.uniform(0, 20_000), 1_000.0, 5.0, rng.uniform(50, 200))
            off_j = 30.0 * ((1 if k // 30 % 2 else -1) if lasts else rng.choice([-1, 1]))
            energy_j = IDLE_W * 5 + 0.02 * done.prompt + 100 + 2.0 * done.steps + off_j
            fit = learn(fit, Block(energy_j, 5.0, 2.5, {WHO: done}), IDLE_W)
        return fit

    lasts, chance = (learned(with_error(e), IDLE_W).confidence for e in (True, False))
    assert lasts < 0.7 * chance


def test_a_number_in_the_configuration_rules_out_what_is_learned() -> None:
    fit = told(random.Random(7), Fit(), 40)
    account = Account(at(0), floor=Floor(idle_w=IDLE_W), fit=fit)
    assert in_use([account], "a", Rules(prefill_weight=0.3)).prefill_weight == 0.3
    assert in_use([account], "a", Rules(prefill_weight=0.3)).confidence is None
    free = in_use([account], "a", Rules())
    assert free.prefill_weight != 0.12 and free.confidence == pytest.approx(1.0, abs=0.01)
    assert in_use([account], "elsewhere", Rules()).prefill_weight == 0.12


def with_busy_times_of_power(fit: Fit) -> Fit:
    """The same, had the power told most of its busy times."""
    return replace(fit, sure=tuple(tuple(0.4 * v for v in row) for row in fit.sums))


def test_what_spans_taught_of_a_model_alone_goes_before_what_its_counters_are_not_sure_of() -> None:
    taught = Learned({WHO: Price(1.0, 1.0, 0.0)}, 1.0, 0.01)
    rules = Rules(taught={WHO: taught})
    account = Account(at(0), floor=Floor(idle_w=IDLE_W), fit=told(random.Random(7), Fit(), 40))
    assert known(account, rules) is taught
    by_power = replace(account, fit=with_busy_times_of_power(account.fit))
    assert known(by_power, rules) == known(by_power, Rules())
    unsure = replace(account, fit=with_busy_times_of_power(told_late(1, varies=False)))
    assert known(unsure, rules) is taught
    assert in_use([account], "a", rules).prefill_weight == pytest.approx(1.0, rel=0.02)
    assert known(account, replace(rules, prefill_weight=0.3)).prices == {}
    assert prices([account], rules) == {WHO: known(account, Rules())}  # for requests: what they taught is theirs
    assert known(account, Rules(taught={("b", "m"): taught})) == known(account, Rules())
    # Of two on one GPU it would go round in a circle.
    shared = replace(account, fit=learn(account.fit, Block(500.0, 5.0, 4.0, {("b", "m"): Done(10, 10)}), IDLE_W))
    assert len(shared.fit.who) == 2
    assert known(shared, rules) == known(shared, Rules())


@given(
    st.floats(0, 1),
    st.tuples(*[st.floats(0, 1e3)] * 4),
    st.tuples(st.floats(0, 1e6), st.floats(0, 1e5), st.floats(0, 1e3), st.floats(0, 1e5), st.floats(0, 1e6)),
)
def test_weights_are_never_negative_and_name_the_same_owners_as_the_prior(
    confidence: float, price: tuple[float, float, float, float], counts: tuple[float, float, float, float, float]
) -> None:
    done = {WHO: Done(*counts)}
    weights = weigh(done, Rules(), Learned({WHO: Price(*price)}, confidence, 0.0))
    assert weights.keys() == weigh(done, Rules()).keys()
    assert all(w >= 0 for w in weights.values())


LOADS = [  # one request at a time, some at once, saturation; every model of cost
    (WEIGHTS, 0.05, CHAT),
    (WEIGHTS, 0.5, CHAT),
    (WEIGHTS, 3.0, AGENTS),
    (WEIGHTS, 30.0, CHAT),
    (COMPUTE, 2.0, CHAT),
    (CONTEXT, 3.0, CHAT),
    (EXPERTS, 10.0, CHAT),
    (LARGE, 0.1, CHAT),
    (LARGE, 30.0, CHAT),
]


@pytest.mark.parametrize(("costs", "rate", "shape"), LOADS, ids=lambda v: str(getattr(v, "name", v))[:12])
def test_less_than_a_twentieth_of_the_work_is_booked_to_the_wrong_phase(
    costs: Costs, rate: float, shape: Shape
) -> None:
    arrivals = poisson(rate, 600, random.Random(1), shape)
    said, state = play(Machine([Engine("a", costs, arrivals)]), 600, warm_s=200)
    assert abs(said["a"].off) < 0.05
    assert_conserved(state)


LONG_PROMPTS = [(c, rate) for c in (WEIGHTS, COMPUTE, EXPERTS, LARGE) for rate in (0.1, 3.0)]


@pytest.mark.parametrize(("costs", "rate"), [*LONG_PROMPTS, (COMPUTE, 1.0), (CONTEXT, 3.0)], ids=str)
def test_long_prompts_are_told_apart_or_the_fit_is_not_believed(costs: Costs, rate: float) -> None:
    def run(weight: float | None) -> Said:
        arrivals = poisson(rate, 700, random.Random(1), DOCUMENTS)
        return play(Machine([Engine("a", costs, arrivals)]), 700, warm_s=300, weight=weight)[0]["a"]

    learned_off, said = abs(run(None).off), run(None).state
    assert learned_off < abs(run(0.12).off) + 0.02
    assert said.weight_confidence is not None
    assert learned_off < 0.10 or said.weight_confidence < 0.5


def test_contexts_that_are_dear_to_read_are_decodes() -> None:
    arrivals = poisson(0.1, 900, random.Random(1), DOCUMENTS)
    said, _ = play(Machine([Engine("a", CONTEXT, arrivals)]), 900, warm_s=300)
    assert abs(said["a"].off) < 0.06  # 0.11 without a price for them


def context_fit(seed: int, ratio: float, *, varies: bool = True) -> Fit:
    """A thousand tokens of context take so much of a step, in joules and seconds."""
    rng, fit = random.Random(seed), Fit()
    for _ in range(200):
        first = rng.uniform(2, 20)
        decoded = rng.uniform(50, 300) if varies else 100.0
        done = Done(rng.uniform(200, 5000) * first, decoded * first, first, rng.uniform(50, 500), 100 * first)
        steps = done.steps + ratio * done.context
        energy_j = IDLE_W * 5 + 0.02 * done.prompt + 0.1 * done.decoded + 2.0 * steps
        fit = learn(fit, Block(energy_j + rng.uniform(-20, 20), 5.0, 0.008 * steps, {WHO: done}), IDLE_W)
    return fit


def test_context_has_a_price_where_it_explains_what_nothing_else_does() -> None:
    dear, free = (learned(context_fit(9, ratio), IDLE_W).prices[WHO] for ratio in (0.03, 0.0))
    assert dear.context_j == pytest.approx(0.03 * 2.8, rel=0.05)
    assert dear.prompt_j == pytest.approx(0.02, rel=0.05)
    assert free.context_j == pytest.approx(0.0, abs=0.003 * 2.8)


def test_where_contexts_go_with_prompts_it_is_not_said_to_be_known_which_of_the_two_cost_the_energy() -> None:
    """As many answers' tokens to each prompt: what contexts add is as if a prompt token were dearer."""
    told_apart, together = (learned(context_fit(9, 0.03, varies=v), IDLE_W) for v in (True, False))
    assert told_apart.confidence > 0.9
    assert together.confidence < 0.8


def test_spans_tell_the_counters_how_dear_contexts_are() -> None:
    fit = with_busy_times_of_power(context_fit(9, 0.03, varies=False))
    account = Account(at(0), floor=Floor(idle_w=IDLE_W), fit=fit)
    own = known(account, Rules())
    taught = Learned({WHO: Price(9.0, 9.0, 4.0, 0.03 * 4.0)}, 0.9, 0.01)  # of its other prices nothing is believed
    found = known(account, Rules(taught={WHO: taught}))
    assert found.confidence > own.confidence
    assert found.prices[WHO].prompt_j == pytest.approx(0.02, rel=0.02)
    dear = Learned({WHO: Price(9.0, 9.0, 4.0, 4.0)}, 0.9, 0.01)  # no model reads so much
    assert known(account, Rules(taught={WHO: dear})) is dear


@pytest.mark.parametrize(("error", "weight"), [(0.0, 1.0), (0.01, 1.0), (0.05, 0.95), (0.15, 0.61), (0.3, 0.0)])
def test_what_is_learned_weighs_against_the_prior_by_its_error(error: float, weight: float) -> None:
    says = Learned({}, confidence_of(error), None)
    assert says.weight == pytest.approx(weight, abs=0.01)


def test_half_sure_is_a_twentieth_of_the_work() -> None:
    assert confidence_of(0.05) == pytest.approx(0.5)
    assert Learned({}, 0.0, None).weight == 0.0


def flat_power(sure: bool) -> Learned:
    """Prompts draw 400 W above the floor and decoding 200 W. Where busy times are told by power they are the joules
    above the floor, over the mean power."""
    rng, fit = random.Random(4), Fit()
    for _ in range(100):
        prompt_s, decode_s = rng.uniform(0.2, 2.0), rng.uniform(0.2, 2.0)
        above_j = 400 * prompt_s + 200 * decode_s
        done = {WHO: Done(prompt_s * 10_000, decode_s * 1000 + 1, 1.0, decode_s * 100)}
        busy_s = prompt_s + decode_s if sure else above_j / 300
        fit = learn(fit, Block(above_j + IDLE_W * 10, 10.0, busy_s, done, 0.0 if sure else (0.3 * busy_s) ** 2), IDLE_W)
    return learned(fit, IDLE_W)


def test_the_floor_of_a_prompts_time_is_not_taken_from_the_power_it_draws() -> None:
    true_j = 400 * 2.0 + IDLE_W * 2.0
    found_j = [flat_power(sure).prices[WHO].phases(Done(prompt=20_000))[0] for sure in (True, False)]
    assert found_j[0] == pytest.approx(true_j, rel=0.01)
    assert found_j[1] == pytest.approx(true_j, rel=0.03)  # 0.07 if power told the seconds
    assert flat_power(False).confidence < flat_power(True).confidence


def test_context_counts_cached_prompt_tokens_and_is_decodes() -> None:
    # Two requests of 3000 + 1000 prompt tokens and 10 others: 18 decoded tokens read 4010 each, half a request more
    # or less.
    done = Done(prompt=6000, generated=20, first=2, steps=10, cached=2000)
    assert done.context == pytest.approx(18 * 4.005)
    assert Price(0.0, 0.0, 0.0, 2.0).phases(done) == pytest.approx((0.0, 2 * done.context))


@pytest.mark.parametrize("costs", [WEIGHTS, COMPUTE, EXPERTS, LARGE], ids=lambda c: c.name)
def test_a_load_that_changes_is_no_harder(costs: Costs) -> None:
    arrivals = changing(900, random.Random(1))
    said, state = play(Machine([Engine("a", costs, arrivals)]), 900, warm_s=300)
    assert abs(said["a"].off) < 0.06
    assert_conserved(state)


def assert_conserved(state: books.Books) -> None:
    gpu_j = sum(j for d, j in state.ledger.device_energy_j.items() if d.kind is DeviceKind.GPU)
    assert sum(state.ledger.energy_j.values()) == pytest.approx(gpu_j, rel=1e-9)
    assert not any(pending_j(state.settlement).values())


def test_azures_recorded_rhythm_is_no_harder() -> None:
    said, _ = play(Machine([Engine("a", WEIGHTS, azure(2.0, 600))]), 600, warm_s=200)
    assert abs(said["a"].off) < 0.05
    fixed, _ = play(Machine([Engine("a", WEIGHTS, azure(2.0, 600))]), 600, warm_s=200, weight=0.12)
    assert abs(fixed["a"].off) > 0.1


def test_a_model_that_shares_a_gpu_gets_its_own_joules() -> None:
    """The driver tells nothing of processes; a chat of a large model beside a small one that reads documents."""
    big = replace(WEIGHTS, name="big", step_s=0.02, step_j=5.0)
    engines = [
        Engine("a", big, poisson(0.4, 900, random.Random(1), CHAT)),
        Engine("b", COMPUTE, poisson(0.3, 900, random.Random(2), DOCUMENTS)),
    ]
    said, state = play(Machine(engines), 900, warm_s=300)
    work_j = sum(s.true_work_j for s in said.values())
    for s in said.values():
        assert abs(s.work_j - s.true_work_j) / work_j < 0.05
    assert_conserved(state)


@pytest.mark.parametrize(("rates", "unsure"), [((0.7, 0.5), 0.04), ((2.0, 0.1), 0.1)])
def test_of_a_model_that_is_little_of_a_shared_gpus_work_the_error_is_said_of_its_own(
    rates: tuple[float, float], unsure: float
) -> None:
    seconds = 900
    engines = [
        Engine(name, costs, poisson(rate, seconds, random.Random(n), CHAT))
        for n, (name, costs, rate) in enumerate(zip("ab", (WEIGHTS, COMPUTE), rates, strict=True), 1)
    ]
    said, _ = play(Machine(engines), seconds, warm_s=400, sm=True)
    for one in said.values():
        confidence = one.state.weight_confidence
        assert confidence is not None and 0 < confidence < 1
        assert abs(one.off) < 2.5 * CLOSE * (1 / confidence - 1) ** 0.5
    assert said["b"].state.weight_confidence == pytest.approx(
        min(s.state.weight_confidence or 0 for s in said.values())
    )
    assert confidence_of(unsure) > (said["b"].state.weight_confidence or 1.0)


@settings(max_examples=12, deadline=None)
@given(st.floats(0.02, 40), st.integers(0, 1000), st.sampled_from(Booking), st.sampled_from([WEIGHTS, EXPERTS]))
def test_no_joule_depends_on_the_fit(rate: float, seed: int, booking: Booking, costs: Costs) -> None:
    def totals(weight: float | None) -> tuple[float, float]:
        arrivals = poisson(rate, 90, random.Random(seed))
        _, state = play(Machine([Engine("a", costs, arrivals, booking=booking)]), 90, weight=weight)
        assert_conserved(state)
        idle_j = sum(j for (_, _, use, _), j in state.ledger.energy_j.items() if use is Use.IDLE)
        return sum(state.ledger.energy_j.values()), idle_j

    assert totals(None) == pytest.approx(totals(0.12), rel=1e-9)


def test_busy_times_that_are_badly_known_say_little_of_what_seconds_a_token_takes() -> None:
    """Prompts take 1 ms a token and decoding 10 ms; half of the blocks tell twice the time, and say how badly."""
    rng, fit = random.Random(3), Fit()
    for n in range(200):
        prompt, decoded = rng.uniform(100, 2000), rng.uniform(10, 200)
        busy_s = 0.001 * prompt + 0.01 * decoded
        energy_j = 0.2 * prompt + 2.0 * decoded
        done = {("e", "m"): Done(prompt, decoded + 1, 1.0, decoded)}
        guess = n % 2 == 0
        block = Block(energy_j + 100.0 * 20, 20.0, busy_s * (1 + guess), done, (0.5 * busy_s) ** 2 * guess)
        fit = learn(fit, block, 100.0)
    prefill_j, _ = learned(fit, 100.0).prices["e", "m"].phases(Done(prompt=1000.0))
    assert prefill_j == pytest.approx(0.2 * 1000 + 100 * 0.001 * 1000, rel=0.03)


def test_a_fit_of_an_older_version_goes_on() -> None:
    fit = Fit()
    for n in range(20):
        fit = learn(fit, Block(500.0 + n, 5.0, 2.0, {("e", "m"): Done(900.0 + 9 * n, 90.0, 1.0, 90.0)}), 50.0)
    old = replace(fit, sure=Fit().sure)
    assert learned(old, 50.0).prices == learned(replace(fit, sure=fit.sums), 50.0).prices
    assert learn(old, Block(500.0, 5.0, 2.0, {("e", "m"): Done(900.0, 90.0, 1.0, 90.0)}), 50.0).blocks > fit.blocks


def error_and_said(seed: int) -> tuple[float, float]:
    """Of prefill's share: how far off the fit is, and its standard error as it says. The meter is off by chance."""
    rng, fit, all_done = random.Random(seed), Fit(), Done()
    for _ in range(60):
        steps = rng.uniform(1, 500)
        done = Done(rng.uniform(0, 20_000), steps * rng.uniform(1, 20), rng.uniform(1, 10), steps)
        all_done = all_done.plus(done)
        above_j = 0.02 * done.prompt + 0.1 * done.decoded + 2.0 * steps
        energy_j = IDLE_W * 5 + above_j * (1 + rng.gauss(0, 0.1))
        fit = learn(fit, Block(energy_j, 5.0, 0.008 * steps + 40e-6 * done.prompt, {WHO: done}), IDLE_W)
    says = learned(fit, IDLE_W)

    def share(price: Price) -> float:
        prefill_j, decode_j = price.phases(all_done)
        return prefill_j / (prefill_j + decode_j)

    off = share(says.prices[WHO]) - share(Price(0.024, 0.1, 2.8))
    return off, CLOSE * (1 / says.confidence - 1) ** 0.5


def test_errors_are_as_large_as_is_said_and_rather_less_where_there_is_nothing_but_chance() -> None:
    found = [error_and_said(seed) for seed in range(40)]
    ratio = (sum((off / said) ** 2 for off, said in found) / len(found)) ** 0.5
    assert 0.2 < ratio < 0.6  # 0.7 if each block were a witness of its own: what is in no term lasts for several
