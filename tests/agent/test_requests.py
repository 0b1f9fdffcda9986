"""Energy of single requests: on a made-up engine whose truth is known, and at the edges."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest

from agent import books
from agent.accounts import Rules
from agent.books import Observed, Policy
from agent.model import GridIntensity, Instant, RequestMethod, RequestOutcome, RequestSpan, Use
from agent.request_figures import band
from agent.request_life import COUNTS_AT_END, life_of
from agent.request_pace import Life
from agent.requests import RequestRules
from tests.sim.arrivals import AGENTS, CHAT, poisson
from tests.sim.costs import LARGE, WEIGHTS
from tests.sim.engine import FEW_FEATURES, Booking, Engine
from tests.sim.machine import WALL_S, Machine, watch
from tests.sim.spans import Found, run, with_spans

GRID = (GridIntensity("DE", 360.0, "fixed"),)


def policy(*engines: str, rules: RequestRules | None = None) -> Policy:
    return Policy(rules=Rules(engines=dict.fromkeys(engines)), requests=rules or RequestRules())


def errors(found: Found, engine: Engine, after_s: float = 0.0) -> list[float]:
    """Of each request that came after, relative."""
    served = [(n, s) for n, s in enumerate(engine.served) if s.arrival_s >= after_s]
    truth = {f"{engine.name}-{n}": s.prefill_j + s.decode_j for n, s in served}
    return sorted(abs(r.energy_j - truth[k]) / truth[k] for k, r in found.requests.items() if k in truth)


def active_j(found: Found) -> float:
    shares = found.books.ledger.energy_j.items()
    return math.fsum(j for (_, _, use, _), j in shares if use in (Use.PREFILL, Use.DECODE))


def left_j(found: Found) -> float:
    assert found.books.requests is not None
    return found.books.requests.left_j


def outcomes(found: Found) -> dict[RequestOutcome, int]:
    assert found.books.requests is not None
    out: dict[RequestOutcome, int] = {}
    for (_, outcome), n in found.books.requests.totals.spans.items():
        out[outcome] = out.get(outcome, 0) + n
    return out


def total_j(found: Found) -> float:
    return math.fsum(r.energy_j for r in found.requests.values())


@pytest.mark.parametrize(("rate", "seconds"), [(0.5, 900), (6.0, 240)])
def test_errors_are_within_the_targets_once_the_weights_are_learned_and_nothing_is_lost(
    rate: float, seconds: float
) -> None:
    engine = Engine("a", LARGE, poisson(rate, seconds, random.Random(3), CHAT))
    found = run(with_spans(watch(Machine([engine]), seconds), [engine]), policy("a"))
    assert len(found.requests) == len(engine.served)
    errs = errors(found, engine, after_s=seconds / 2)
    assert len(errs) > 100
    assert errs[len(errs) // 2] < 0.10
    assert errs[int(0.95 * len(errs))] < 0.30
    assert total_j(found) + left_j(found) == pytest.approx(active_j(found), rel=1e-9)
    assert left_j(found) < 0.05 * active_j(found)


@pytest.mark.parametrize("every", [2, 5])
def test_requests_without_spans_keep_their_share(every: int) -> None:
    engine = Engine("a", WEIGHTS, poisson(4.0, 240, random.Random(4), AGENTS))
    found = run(with_spans(watch(Machine([engine]), 240), [engine], every=every), policy("a"))
    truth_j = sum(s.prefill_j + s.decode_j for n, s in enumerate(engine.served) if n % every == 0)
    assert total_j(found) == pytest.approx(truth_j, rel=0.10)
    assert total_j(found) + left_j(found) == pytest.approx(active_j(found), rel=1e-9)


def test_an_engine_that_counts_at_the_end_gives_the_joules_of_the_time_that_requests_ran_and_loses_none() -> None:
    arrivals = poisson(1.0, 240, random.Random(5), CHAT)
    engine = Engine("a", WEIGHTS, arrivals, booking=Booking.END, features=FEW_FEATURES)
    ticks = (
        replace(seen, engines=tuple(replace(e, kind=min(COUNTS_AT_END)) for e in seen.engines))  # type: ignore[arg-type]  # samples alone
        for seen in with_spans(watch(Machine([engine]), 240), [engine])
    )
    found = run(ticks, policy("a"))
    truth_j = sum(s.prefill_j + s.decode_j for s in engine.served)
    assert total_j(found) + left_j(found) == pytest.approx(active_j(found), rel=1e-9)
    assert total_j(found) == pytest.approx(truth_j, rel=0.05)
    errs = errors(found, engine)
    assert errs[len(errs) // 2] < 0.05 and errs[int(0.95 * len(errs))] < 0.25


def test_two_engines_on_one_gpu_are_told_apart() -> None:
    engines = [Engine(name, WEIGHTS, poisson(1.0, 120, random.Random(n))) for n, name in enumerate("ab")]
    found = run(with_spans(watch(Machine(engines), 120, sm=True), engines), policy("a", "b"))
    for e in engines:
        mine = [r for r in found.requests.values() if r.engine == e.name]
        assert len(mine) == len(e.served)
    assert total_j(found) + left_j(found) == pytest.approx(active_j(found), rel=1e-9)


def test_a_clock_that_is_ahead_changes_little() -> None:
    def found(offset_s: float) -> tuple[Found, Engine]:
        engine = Engine("a", WEIGHTS, poisson(2.0, 240, random.Random(6)))
        return run(with_spans(watch(Machine([engine]), 240), [engine], offset_s=offset_s), policy("a")), engine

    (right, engine), (ahead, _) = found(0.0), found(30.0)
    assert ahead.books.requests is not None and right.books.requests is not None
    assert ahead.books.requests.totals.clock_shift_s["a"] == pytest.approx(30.0, abs=1.0)
    assert right.books.requests.totals.clock_shift_s["a"] == pytest.approx(0.0, abs=1.0)
    errs = errors(ahead, engine)
    assert errs[len(errs) // 2] < 0.15
    assert outcomes(ahead) == {RequestOutcome.ATTRIBUTED: len(engine.served)}


def one_minute(*more: RequestSpan, rules: RequestRules | None = None, grams: bool = False) -> tuple[Found, Engine]:
    """A minute of an engine with spans, and more spans at its 40th second."""
    engine = Engine("a", WEIGHTS, poisson(2.0, 60, random.Random(7)))
    ticks = list(with_spans(watch(Machine([engine]), 60), [engine]))
    ticks[40] = replace(ticks[40], spans=(*ticks[40].spans, *more))
    if grams:
        ticks = [replace(t, grid=GRID) for t in ticks]
    return run(ticks, policy("a", rules=rules)), engine


def extra(**changed: object) -> RequestSpan:
    good = RequestSpan(
        "a", WALL_S + 30, WALL_S + 32, request_id="x", trace_id="x", span_id="x", queue_s=0.0, prefill_s=0.1,
        decode_s=1.9, prompt_tokens=100.0, cached_tokens=0.0, generated_tokens=50.0,
    )  # fmt: skip
    return replace(good, **changed)  # type: ignore[arg-type]  # a table of fields


@pytest.mark.parametrize(
    ("span", "outcome"),
    [
        (extra(end_s=extra().start_s - 1), RequestOutcome.BAD_TIMES),
        (extra(generated_tokens=1e12), RequestOutcome.BAD_TOKENS),
        (extra(generated_tokens=None, prompt_tokens=None, cached_tokens=None), RequestOutcome.NO_TOKENS),
        (extra(start_s=extra().start_s + 1e6, end_s=extra().end_s + 1e6), RequestOutcome.IN_THE_FUTURE),
        (extra(own=False), RequestOutcome.GATEWAY),
        (extra(start_s=30.0, end_s=32.0), RequestOutcome.BAD_TIMES),  # 1970
        (extra(start_s=7.26e9, end_s=7.26e9 + 2), RequestOutcome.IN_THE_FUTURE),  # 2200
        (extra(start_s=WALL_S + 280, end_s=WALL_S + 282), RequestOutcome.NO_ENERGY),  # alone: no clock is ahead
        (extra(decode_s=-1.9), RequestOutcome.BAD_TIMES),
        (extra(cached_tokens=101.0), RequestOutcome.BAD_TOKENS),
    ],
)
def test_what_is_refused_is_counted_by_its_reason_and_takes_no_joule(
    span: RequestSpan, outcome: RequestOutcome
) -> None:
    plain, engine = one_minute()
    found, _ = one_minute(span)
    assert outcomes(found) == {**outcomes(plain), outcome: 1}
    assert found.requests == plain.requests
    assert len(found.requests) == len(engine.served)


def test_a_span_that_comes_twice_counts_once() -> None:
    found, engine = one_minute(extra(), extra(), extra())
    assert outcomes(found)[RequestOutcome.DUPLICATE] == 2
    assert len(found.requests) == len(engine.served) + 1


def test_tokens_that_the_counters_do_not_know_take_no_more_than_there_is() -> None:
    plain, _ = one_minute()
    found, _ = one_minute(extra(generated_tokens=200_000.0))
    assert total_j(found) + left_j(found) == pytest.approx(active_j(found), rel=1e-9)
    assert active_j(found) == active_j(plain)


def test_an_engine_nobody_configured_is_found_by_its_model_or_counted_as_unknown() -> None:
    found, _ = one_minute(extra(engine="", model="m"), rules=RequestRules())
    assert found.requests["x"].engine == "a" and found.requests["x"].model == "m"
    found, _ = one_minute(extra(engine="stranger", model="other"))
    assert outcomes(found)[RequestOutcome.UNKNOWN_ENGINE] == 1
    found, _ = one_minute(extra(engine="silent", model="m"))  # its page is not read: another's joules are not its own
    assert outcomes(found)[RequestOutcome.UNKNOWN_ENGINE] == 1


def test_an_adapter_of_the_one_model_is_booked_to_it() -> None:
    found, _ = one_minute(extra(model="my-lora"))
    assert found.requests["x"].model == "m"


def test_a_span_that_began_before_the_agent_gets_the_average_and_no_band() -> None:
    found, _ = one_minute(extra(start_s=extra().start_s - 100, decode_s=101.9))
    r = found.requests["x"]
    assert r.method is RequestMethod.AVERAGE
    assert r.energy_j >= 0 and r.low_j is None
    assert total_j(found) + left_j(found) == pytest.approx(active_j(found), rel=1e-9)


def test_a_span_whose_windows_are_gone_gets_the_average() -> None:
    late = extra(start_s=extra().start_s - 25, end_s=extra().start_s - 24, decode_s=0.9)
    found, _ = one_minute(late, rules=RequestRules(memory_s=15.0))
    assert found.requests["x"].method is RequestMethod.AVERAGE
    assert total_j(found) + left_j(found) == pytest.approx(active_j(found), rel=1e-9)


def test_a_span_that_does_not_tell_the_phases_is_marked_so() -> None:
    found, _ = one_minute(extra(queue_s=None, prefill_s=None, decode_s=None))
    r = found.requests["x"]
    assert r.method is RequestMethod.COARSE and r.energy_j > 0


def test_grams_are_the_joules_at_the_intensity_of_their_time() -> None:
    found, _ = one_minute(grams=True)
    for r in found.requests.values():
        assert r.gco2e == pytest.approx(r.energy_j * 360.0 / 3.6e6)
    plain, _ = one_minute()
    assert all(r.gco2e is None for r in plain.requests.values())


def test_groups_add_up_and_beyond_the_bound_they_are_one() -> None:
    spans = [extra(request_id=f"x{n}", span_id=f"x{n}", group=(("tenant.id", f"t{n}"),)) for n in range(5)]
    found, _ = one_minute(*spans, rules=RequestRules(group_by=("tenant.id",), max_groups=3))
    assert found.books.requests is not None
    groups = found.books.requests.totals.groups
    assert {v for _, _, v in groups} <= {("",), ("t0",), ("t1",), ("t2",), ("t3",), ("t4",), ("_other",)}
    assert len({v for _, _, v in groups}) == 4  # three, and _other
    assert math.fsum(groups.values()) == pytest.approx(total_j(found))


def test_a_request_is_of_the_group_that_another_span_of_its_trace_names() -> None:
    asked = RequestRules(group_by=("tenant.id",))
    nobody, tenant = (("tenant.id", ""),), (("tenant.id", "blue"),)
    caller = RequestSpan("", WALL_S + 29, WALL_S + 33, trace_id="t", group=tenant, own=False, is_request=False)
    gateway = extra(trace_id="t2", span_id="g", request_id="g", group=(("tenant.id", "red"),), own=False)
    found, _ = one_minute(
        extra(trace_id="t", span_id="x", request_id="x", group=nobody),
        extra(trace_id="t2", span_id="y", request_id="y", group=nobody),
        gateway,
        caller,
        rules=asked,
    )
    assert found.requests["x"].group == tenant
    assert found.requests["y"].group == (("tenant.id", "red"),)
    assert outcomes(found)[RequestOutcome.GATEWAY] == 1
    assert sum(outcomes(found).values()) == len(found.requests) + 1  # a caller is no request


def test_who_waits_for_joules_is_told_which_spans_get_none() -> None:
    engine = Engine("a", WEIGHTS, poisson(2.0, 60, random.Random(7)))
    ticks = list(with_spans(watch(Machine([engine]), 60), [engine]))
    gateway, twice = extra(span_id="g", request_id="g", own=False), ticks[40].spans[0]
    caller = replace(gateway, span_id="c", is_request=False)
    ticks[40] = replace(ticks[40], spans=(*ticks[40].spans, gateway, caller, twice))
    unknown = extra(span_id="u", request_id="u", engine="other", model="?")
    ticks[45] = replace(ticks[45], spans=(*ticks[45].spans, unknown))
    state: books.Books | None = None
    refused: list[tuple[str, str]] = []
    attributed: list[str] = []
    for seen in ticks:
        state = books.tick(state or books.begin(seen.at, policy("a")), seen, policy("a"))
        assert state.requests is not None
        refused += state.requests.refused
        attributed += [r.span_id for r in state.requests.done]
    assert refused == [("x", "g"), ("x", "u")]
    assert attributed and not {"g", "u", "c"} & set(attributed)


def test_a_gateways_clock_does_not_move_the_engines_spans() -> None:
    plain, _ = one_minute()
    found, _ = one_minute(extra(start_s=WALL_S + 90, end_s=WALL_S + 92, own=False))
    assert found.requests == plain.requests


def deaf(ticks: Iterable[Observed], begin: int, end: int) -> Iterator[Observed]:
    """No page is read for a while."""
    for n, seen in enumerate(ticks):
        yield replace(seen, engines=()) if begin <= n < end else seen


def test_of_a_time_of_which_nothing_was_booked_no_request_is_said_to_have_cost_nothing() -> None:
    engine = Engine("a", WEIGHTS, poisson(0.5, 400, random.Random(7)))
    found = run(deaf(with_spans(watch(Machine([engine]), 400), [engine]), 60, 300), policy("a"))
    silent = [n for n, s in enumerate(engine.served) if s.arrival_s > 70 and s.end_s < 220]
    assert len(silent) > 50
    assert not found.requests.keys() & {f"a-{n}" for n in silent}
    assert outcomes(found)[RequestOutcome.NO_ENERGY] >= len(silent)
    assert all(r.energy_j > 0 for r in found.requests.values())


@pytest.mark.parametrize("by_s", [-3600.0, 3600.0])
def test_a_wall_clock_that_is_set_changes_no_request_and_holds_up_none(by_s: float) -> None:
    def later(instant: Instant) -> Instant:
        return Instant(instant.mono_s, instant.wall_s + by_s)

    def clocks_set(ticks: Iterable[Observed]) -> Iterator[Observed]:
        for n, seen in enumerate(ticks):
            yield (
                seen
                if n < 100
                else replace(
                    seen,
                    at=later(seen.at),
                    readings=tuple(replace(r, at=later(r.at)) for r in seen.readings),
                    engines=tuple(replace(e, at=later(e.at)) for e in seen.engines),
                    spans=tuple(replace(s, start_s=s.start_s + by_s, end_s=s.end_s + by_s) for s in seen.spans),
                )
            )

    def found(*, is_set: bool) -> Found:
        engine = Engine("a", WEIGHTS, poisson(1.0, 240, random.Random(7)))
        ticks = with_spans(watch(Machine([engine]), 240), [engine])
        return run(clocks_set(ticks) if is_set else ticks, policy("a", rules=RequestRules(memory_s=60.0)))

    plain, moved = found(is_set=False), found(is_set=True)
    assert outcomes(moved) == outcomes(plain)
    assert {k: r.energy_j for k, r in moved.requests.items()} == pytest.approx(
        {k: r.energy_j for k, r in plain.requests.items()}
    )
    assert total_j(moved) + left_j(moved) == pytest.approx(active_j(moved), rel=1e-9)


def test_histograms_count_every_request_and_name_a_trace() -> None:
    found, engine = one_minute(grams=True)
    assert found.books.requests is not None
    (h,) = found.books.requests.totals.energy.values()
    assert sum(h.counts) == len(engine.served)
    assert h.total == pytest.approx(total_j(found))
    for n, exemplar in enumerate(h.exemplars):
        assert (exemplar is None) == (h.counts[n] == 0)
        if exemplar is not None:
            assert exemplar.value <= (*h.bounds, math.inf)[n]
    (g,) = found.books.requests.totals.emissions.values()
    assert sum(g.counts) == len(engine.served)


def test_the_band_is_what_half_and_double_a_prompt_tokens_price_would_give() -> None:
    assert band(10.0, 90.0, 10.0, 90.0) == pytest.approx((95.0, 105.0))  # as the model's mix: always the same
    low, high = band(0.0, 50.0, 100.0, 100.0)  # decode alone
    assert low == pytest.approx(50 * 200 / 300 * 0.95)
    assert high == pytest.approx(50 * 200 / 150 * 1.05)


def test_a_span_tells_when_its_prompt_was_computed_and_its_tokens_came() -> None:
    span = RequestSpan(
        "a", 100.0, 110.0, queue_s=1.0, prefill_s=2.0, decode_s=6.5, prompt_tokens=50.0, cached_tokens=20.0,
        generated_tokens=40.0,
    )  # fmt: skip
    assert life_of(span, min(COUNTS_AT_END)) == Life(101.0, 103.0, 109.5, 30.0, 40.0, 50.0, at_end=True)
    bare = RequestSpan("a", 100.0, 110.0, prompt_tokens=50.0, generated_tokens=40.0)
    assert life_of(bare, "vllm") == Life(100.0, 100.0, 110.0, 50.0, 40.0, 50.0, with_cached=True)


def test_without_rules_nothing_of_requests_is_kept() -> None:
    engine = Engine("a", WEIGHTS, poisson(2.0, 10, random.Random(7)))
    plain = Policy(rules=Rules(engines={"a": None}))
    state = None
    for seen in watch(Machine([engine]), 10):
        state = books.tick(state or books.begin(seen.at, plain), seen, plain)
    assert state is not None and state.requests is None
