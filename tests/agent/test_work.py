"""Deltas of an engine's counters: nothing invented, nothing lost, nothing negative, whatever the engine does."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.engines.page import read_page
from agent.errors import ReadFailed
from agent.model import EngineFailure, EngineSample, Instant, Quantity, SeriesKey, Work
from agent.timeline import take_work
from agent.work import MAX_MODELS, MAX_SERIES, OTHER_MODEL, WorkState, advance

DATA = Path(__file__).parents[1] / "data" / "engines"
P, C, K, G, R = (
    Quantity.PROMPT,
    Quantity.PROMPT_COMPUTED,
    Quantity.PROMPT_CACHED,
    Quantity.GENERATED,
    Quantity.REQUESTS,
)


def at(second: float) -> Instant:
    return Instant(100.0 + second, 1_790_000_000.0 + second)


def key(quantity: Quantity, model: str = "m", series: str = "x{}", outcome: str = "", process: str = "") -> SeriesKey:
    return SeriesKey(quantity, model, series, outcome, process)


def sample(
    second: float,
    counters: Mapping[Any, float],  # by SeriesKey or by Quantity alone
    *,
    running: Mapping[str, float] | None = None,
    start: float | None = None,
) -> EngineSample:
    full = {k if isinstance(k, SeriesKey) else key(k): v for k, v in counters.items()}
    return EngineSample("e", at(second), "test", full, {"m": 1.0} if running is None else running, {}, start)


def down(second: float) -> EngineFailure:
    return EngineFailure("e", at(second), "connection refused", not_serving=True)


def broken(second: float) -> EngineFailure:
    return EngineFailure("e", at(second), "timeout after 4 s")


def run(*seen: EngineSample | EngineFailure) -> list[Work]:
    state, works = WorkState(), []
    for one in seen:
        state, work = advance(state, one)
        if work is not None:
            works.append(work)
    return works


def total(works: Iterable[Work], model: str = "m") -> dict[str, float]:
    """What was booked in all, by token type and outcome; what is never known is not there."""
    sums: dict[str, float] = {}
    for work in works:
        if model not in work.models:
            continue
        one = work.models[model]
        tokens = {"computed": one.prompt_computed, "cached": one.prompt_cached, "generated": one.generated}
        for name, value in {**tokens, **one.requests}.items():
            if value is not None:
                sums[name] = sums.get(name, 0.0) + value
    return sums


# First samples


def test_what_stands_on_the_first_page_is_history() -> None:
    assert run(sample(0, {G: 500})) == []
    (work,) = run(sample(0, {G: 500}), sample(5, {G: 530}))
    assert total([work]) == {"generated": 30}
    assert (work.start, work.end) == (at(0), at(5))


def test_counters_that_appear_after_nothing_served_began_at_zero() -> None:
    (work,) = run(down(0), down(5), broken(6), sample(10, {G: 500}))
    assert total([work]) == {"generated": 500}
    assert (work.start, work.end) == (at(5), at(10))
    assert (work.running_start, work.running_end) == (0.0, 1.0)
    assert not work.restarted


def test_more_than_can_be_counted_since_nobody_answered_is_history_that_was_hidden() -> None:
    assert run(down(0), sample(5, {G: 80_000_000})) == []
    works = run(sample(0, {G: 80_000_000}), down(5), sample(10, {G: 80_000_300}))
    assert total(works) == {"generated": 300.0}
    assert not any(w.restarted for w in works)


def test_a_failure_that_says_nothing_of_the_engine_leaves_the_first_page_history() -> None:
    assert run(broken(0), sample(5, {G: 500})) == []


# Later ones


def test_no_change_is_work_of_zero_for_what_the_engine_tells() -> None:
    (work,) = run(sample(0, {G: 5, C: 7}), sample(5, {G: 5, C: 7}))
    (model,) = work.models.values()
    assert (model.generated, model.prompt_computed, model.prompt_cached) == (0.0, 0.0, None)


def test_a_series_that_appears_later_in_the_same_process_is_all_work() -> None:
    works = run(sample(0, {G: 5}), sample(5, {G: 5, K: 40, key(R, outcome="stop"): 2}))
    assert total(works) == {"generated": 0, "cached": 40, "stop": 2}


def test_a_series_that_vanishes_is_nothing_and_goes_on_when_it_is_back() -> None:
    works = run(sample(0, {G: 5, C: 1}), sample(5, {C: 1}), sample(10, {G: 9, C: 1}))
    assert [w.models["m"].generated for w in works] == [0.0, 4.0]
    assert not any(w.restarted for w in works)


def test_a_failed_scrape_loses_nothing_and_the_work_spans_it() -> None:
    (work,) = run(sample(0, {G: 5}), broken(5), broken(10), sample(15, {G: 50}))
    assert total([work]) == {"generated": 45}
    assert (work.start, work.end) == (at(0), at(15))


def test_a_sample_that_is_not_later_is_left_aside() -> None:
    works = run(sample(5, {G: 5}), sample(5, {G: 7}), sample(4, {G: 8}), sample(10, {G: 9}))
    assert total(works) == {"generated": 4}
    assert len(works) == 1


def test_ranks_are_kept_apart_and_summed() -> None:
    one, two = key(G, series='x{engine="0"}'), key(G, series='x{engine="1"}')
    works = run(sample(0, {one: 100, two: 5}), sample(5, {one: 101, two: 25}))
    assert total(works) == {"generated": 21}


def test_running_requests_are_told_at_both_ends_and_unknown_is_not_zero() -> None:
    (work,) = run(sample(0, {G: 1}, running={"m": 2, "n": 1}), sample(5, {G: 1}, running={}))
    assert (work.running_start, work.running_end) == (3.0, None)


def test_a_model_that_only_has_a_gauge_is_listed_without_numbers() -> None:
    (work,) = run(sample(0, {}, running={"m": 0}), sample(5, {}, running={"m": 0}))
    assert work.models["m"].generated is None and work.models["m"].prompt_computed is None


# Restarts


def test_a_counter_that_goes_down_is_a_restart_of_the_process() -> None:
    (work,) = run(sample(0, {G: 100, C: 10}), sample(5, {G: 7, C: 12}))
    assert total([work]) == {"generated": 7, "computed": 12}  # C went up, but from 0
    assert work.restarted


def test_a_process_that_began_anew_counts_from_zero_even_if_it_has_done_more_by_now() -> None:
    (work,) = run(sample(0, {G: 100}, start=1000.0), sample(5, {G: 130}, start=1004.0))
    assert total([work]) == {"generated": 130} and work.restarted
    (work,) = run(sample(0, {G: 100}, start=1000.0), sample(5, {G: 130}, start=1001.9))
    assert total([work]) == {"generated": 30} and not work.restarted


@pytest.mark.parametrize("start", [None, 1000.0])
def test_counters_that_go_on_after_nobody_answered_for_a_moment_book_no_history_again(start: float | None) -> None:
    (work,) = run(sample(0, {G: 100}, start=start), down(3), sample(5, {G: 130}, start=start))
    assert total([work]) == {"generated": 30} and not work.restarted


def test_after_nobody_answered_one_counter_that_fell_tells_that_all_began_anew() -> None:
    one, two = key(G, series="x{w=a}", process="w=a"), key(C, series="x{w=b}", process="w=b")
    (work,) = run(sample(0, {one: 100, two: 5}), down(3), sample(5, {one: 3, two: 40}))
    assert total([work]) == {"generated": 3, "computed": 40} and work.restarted


def test_a_series_that_goes_down_in_a_process_that_lives_on_is_alone() -> None:
    (work,) = run(sample(0, {G: 100, C: 10}, start=5.0), sample(5, {G: 7, C: 12}, start=5.0))
    assert total([work]) == {"generated": 7, "computed": 2}


def test_a_worker_that_restarts_leaves_the_others_alone() -> None:
    a, b = key(G, series="x{w=a}", process="w=a"), key(G, series="x{w=b}", process="w=b")
    ac = key(C, series="x{w=a}", process="w=a")
    (work,) = run(sample(0, {a: 100, ac: 5, b: 50}), sample(5, {a: 3, ac: 6, b: 51}))
    assert total([work]) == {"generated": 4, "computed": 6}


def test_two_servers_behind_one_address_go_on_each_from_its_own_counters() -> None:
    old = [sample(s, {G: 1000 + s}, start=1000.0) for s in (0, 10, 20, 30)]
    new = [sample(s, {G: 5000 + s}, start=2000.0) for s in (5, 15, 25)]
    works = run(*sorted([*old, *new], key=lambda s: s.at))
    assert total(works) == {"generated": 30 + 5025}  # the newer one is taken for a restart, once
    older = sample(35, {G: 9000}, start=500.0), sample(40, {G: 9001}, start=500.0)
    assert total(run(sample(0, {G: 10}, start=1000.0), *older)) == {"generated": 1}  # it was there before


def test_what_vanished_before_a_restart_is_forgotten() -> None:
    works = run(sample(0, {G: 5, K: 50}), sample(5, {G: 6}), sample(10, {G: 1}), sample(15, {G: 1, K: 60}))
    assert total(works)["cached"] == 60


def test_a_quantity_told_by_another_metric_goes_on_from_what_was_told() -> None:
    old, new = key(K, series="cached_tokens_total{a=1}"), key(K, series="realtime_tokens_total{mode=cache}")
    works = run(sample(0, {old: 100, G: 1}), sample(5, {new: 130, G: 1}), sample(10, {new: 140, G: 1}))
    assert total(works)["cached"] == 40
    assert total(run(sample(0, {old: 100}), sample(5, {new: 90}), sample(10, {new: 95})))["cached"] == 5


def test_a_second_metric_of_a_quantity_that_is_still_told_begins_at_zero() -> None:
    success, failure = key(R, series="success{}", outcome="success"), key(R, series="failure{}", outcome="failure")
    other = key(R, series="error{}", outcome="error")
    works = run(sample(0, {success: 10, failure: 10}), sample(5, {success: 11, other: 3}))
    assert total(works) == {"success": 1, "failure": 0, "error": 3}


def test_series_that_come_and_go_do_not_fill_the_memory() -> None:
    state = WorkState()
    for i in range(3):
        names = (f"x{{pod={i}-{n}}}" for n in range(MAX_SERIES // 2 + 1))
        state, _ = advance(state, sample(5 * i, {key(G, series=name): 1 for name in names}))
    assert len(state.values) <= MAX_SERIES


# Prompt tokens, computed and cached


@pytest.mark.parametrize(
    ("told", "computed", "cached"),
    [
        ({P: 100.0}, 100.0, None),
        ({P: 100.0, K: 30.0}, 70.0, 30.0),
        ({P: 100.0, C: 70.0}, 70.0, 30.0),
        ({P: 100.0, C: 70.0, K: 30.0}, 70.0, 30.0),
        ({C: 70.0, K: 30.0}, 70.0, 30.0),
        ({C: 70.0}, 70.0, None),
        ({K: 30.0}, None, 30.0),
    ],
)
def test_the_third_of_prompt_computed_and_cached_is_derived(
    told: dict[Quantity, float], computed: float | None, cached: float | None
) -> None:
    (work,) = run(sample(0, dict.fromkeys(told, 0.0)), sample(5, told))
    assert (work.models["m"].prompt_computed, work.models["m"].prompt_cached) == (computed, cached)


def test_cached_tokens_that_are_booked_before_their_prompt_are_taken_from_the_next() -> None:
    works = run(
        sample(0, {P: 0, K: 0}), sample(5, {P: 0, K: 40}), sample(10, {P: 30, K: 40}), sample(15, {P: 100, K: 40})
    )
    assert [w.models["m"].prompt_computed for w in works] == [0.0, 0.0, 60.0]
    assert total(works) == {"computed": 60, "cached": 40}


def test_what_a_process_owed_dies_with_it() -> None:
    works = run(sample(0, {P: 0, K: 0}, start=1), sample(5, {P: 0, K: 40}, start=1), sample(9, {P: 10, K: 0}, start=9))
    assert total(works)["computed"] == 10


# Many models


def test_two_hundred_models_keep_their_names_and_the_others_share_one() -> None:
    def many(second: float, names: Iterable[str], value: float) -> EngineSample:
        return sample(second, {key(G, model=n): value for n in names}, running={})

    first = [f"a{i}" for i in range(MAX_MODELS - 1)]
    later = ["z1", "z0", "z2"]
    works = run(many(0, first, 1), many(5, [*first, *later], 2), many(10, [*later, *first], 4))
    assert len(works[-1].models) == MAX_MODELS + 1
    assert total(works, "a7") == {"generated": 3}
    assert total(works, "z0") == {"generated": 4}
    assert total(works, OTHER_MODEL) == {"generated": 8}
    gone = run(many(0, first, 1), many(5, later, 2), many(10, [*first, *later], 4))
    assert total(gone, "a7") == {"generated": 3}  # its name was kept while it was away


# Properties

tokens = st.integers(0, 10_000)
series = st.lists(st.tuples(tokens, tokens, tokens), min_size=1, max_size=12)
step = st.sampled_from(["ok", "ok", "ok", "failed", "restart", "down"])


@given(st.lists(st.tuples(step, tokens, tokens, tokens), min_size=2, max_size=20), st.booleans())
def test_every_token_is_booked_once_whatever_happens(
    steps: Sequence[tuple[str, int, int, int]], says_start: bool
) -> None:
    """An engine that works, fails to answer, restarts and comes back: the books hold all that it did after the
    first sample, less what it did after the last sample before a restart, which no page ever told. A process that
    does not say when it began, and has by its first page overtaken the one before it, is taken for that one."""
    prompt = cached = generated = 0
    start = 1000.0
    seen: list[EngineSample | EngineFailure] = []
    told = {P: 0, K: 0, G: 0}
    last: dict[Quantity, int] | None = None
    overtaken = False
    unseen: dict[Quantity, int] | None = None  # what the last page told of a process that since gave way to another
    for i, (what, computed, hits, made) in enumerate(steps):
        if what in ("restart", "down"):
            prompt = cached = generated = 0
            start += 100.0
            unseen = unseen or (last if any(isinstance(s, EngineSample) for s in seen) else None)
            last = dict.fromkeys(told, 0) if last is not None or what == "down" else None
            seen.append(down(5 * i))
            if what == "down":
                continue
        elif what == "failed":
            seen.append(broken(5 * i))
        prompt, cached, generated = prompt + computed + hits, cached + hits, generated + made
        if what == "failed":
            continue
        now = {P: prompt, K: cached, G: generated}
        seen.append(sample(5 * i + 1, {q: float(v) for q, v in now.items()}, start=start if says_start else None))
        if last is None and not any(isinstance(s, EngineFailure) and s.not_serving for s in seen):
            last = now
            continue
        if unseen is not None and not says_start and all(now[q] >= v for q, v in unseen.items()):
            last, overtaken = unseen, True  # nothing on the page tells this from a process that went on
        unseen = None
        for quantity, value in now.items():
            told[quantity] += value - (last or dict.fromkeys(now, 0))[quantity]
        last = now
    works = run(*seen)
    booked = total(works)
    if works:
        assert booked["generated"] == told[G]
        assert booked["cached"] == told[K]
        # Where one process passed for another, more hits may stand there than prompt: the rest is owed.
        assert booked["computed"] + booked["cached"] == told[P] or overtaken
    for work in works:
        for model in work.models.values():
            assert all(v is None or v >= 0 for v in (model.prompt_computed, model.prompt_cached, model.generated))


@given(st.lists(st.tuples(tokens, tokens), min_size=1, max_size=12))
def test_computed_and_cached_make_the_prompt_as_soon_as_it_has_caught_up(late: Sequence[tuple[int, int]]) -> None:
    """Hits are booked one sample before the prompt that they belong to."""
    samples, prompt, cached = [sample(0, {P: 0, K: 0})], 0, 0
    for i, (computed, hits) in enumerate(late):
        cached += hits
        samples.append(sample(10 * i + 5, {P: prompt, K: cached}))
        prompt += computed + hits
        samples.append(sample(10 * i + 10, {P: prompt, K: cached}))
    works = run(*samples)
    assert total(works) == {"computed": prompt - cached, "cached": cached}
    assert all((w.models["m"].prompt_computed or 0.0) >= 0 for w in works)


@given(st.lists(st.lists(tokens, min_size=3, max_size=3), min_size=2, max_size=8), st.randoms())
def test_splitting_an_interval_or_shuffling_the_series_changes_no_total(
    grown: Sequence[Sequence[int]], random: object
) -> None:
    keys = [key(G, series=f"x{{r={i}}}") for i in range(2)] + [key(R, outcome="stop")]
    values, samples = [0, 0, 0], []
    for i, deltas in enumerate(grown):
        values = [v + d for v, d in zip(values, deltas, strict=True)]
        pairs = list(zip(keys, values, strict=True))
        random.shuffle(pairs)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
        samples.append(sample(5 * i, dict(pairs)))
    whole = run(samples[0], samples[-1])
    assert total(run(*samples)) == total(whole)
    assert total(whole)["generated"] == sum(d[0] + d[1] for d in grown[1:])


@given(st.lists(st.integers(0, 500_000), min_size=2, max_size=30))
def test_counters_of_six_digits_lose_nothing_in_sum(steps: Sequence[int]) -> None:
    count, printed = 900_000, []
    for done in steps:
        count += done
        printed.append(float(f"{count:.6g}"))
    works = run(*(sample(i, {G: v}) for i, v in enumerate(printed)))
    assert total(works) == {"generated": printed[-1] - printed[0]}
    assert all((w.models["m"].generated or 0.0) >= 0 for w in works)


# Recorded runs


def recorded(folder: str) -> list[EngineSample | EngineFailure]:
    truth = json.loads((DATA / folder / "ground_truth.json").read_text())
    seen: list[EngineSample | EngineFailure] = []
    for page in truth["pages"]:
        middle = (page["t_start"] + page["t_end"]) / 2
        when = Instant(middle - 1_795_000_000.0, middle)
        try:
            body = (DATA / folder / f"{page['tag']}.prom").read_bytes()
            seen.append(read_page(body, engine="e", at=when, model="tiny-llama"))
        except ReadFailed as failed:
            seen.append(EngineFailure("e", when, failed.reason, not_serving=page["status"] == 503))
    return seen


@pytest.mark.parametrize(
    "folder",
    [
        "vllm_basic",
        "vllm_lora",
        "vllm_n2",
        "vllm_prefix_abort",
        "llamacpp_basic",
        "llamacpp_medium_1hz",
        "llamacpp_loading503",
    ],
)
def test_recorded_runs_book_exactly_what_the_server_did(folder: str) -> None:
    server = json.loads((DATA / folder / "ground_truth.json").read_text())["server"]
    works = run(*recorded(folder))
    booked = total(works, "tiny-llama")
    prompt = server["prompt"]  # vLLM's includes cached tokens, llama.cpp's does not
    computed = prompt - server["cached"] if folder.startswith("vllm") else prompt
    assert booked["computed"] == computed
    assert booked["cached"] == server["cached"]
    assert booked["generated"] == server["generated"]
    if server["requests"] is not None:
        assert booked["length"] + booked["stop"] == server["requests"]
        assert booked["abort"] == 0  # vLLM does not count the requests whose client left
    assert not any(work.restarted for work in works)
    assert works[-1].running_end == 0


def test_a_recorded_run_that_restarts_between_two_sets_loses_nothing() -> None:
    first = [s for s in recorded("llamacpp_basic") if isinstance(s, EngineSample)]
    second = [s for s in recorded("llamacpp_medium_1hz") if isinstance(s, EngineSample)]
    works = run(*first, *second[1:])
    assert total(works, "tiny-llama")["generated"] == 6163 + 5649
    assert sum(w.restarted for w in works) == 1


def test_steps_first_tokens_and_seconds_are_told_where_the_engine_counts_them() -> None:
    steps, first = SeriesKey(Quantity.STEPS, "m"), SeriesKey(Quantity.FIRST_TOKENS, "m")
    seconds = SeriesKey(Quantity.INFERENCE_S, "m")
    before = EngineSample("e", Instant(0, 0), "vllm", {steps: 100.0, first: 7.0, seconds: 30.0}, {}, {})
    state, _ = advance(WorkState(), before)
    after = EngineSample("e", Instant(5, 5), "vllm", {steps: 150.0, first: 9.0, seconds: 31.0}, {}, {})
    _, work = advance(state, after)
    assert work is not None
    assert (work.models["m"].steps, work.models["m"].first_tokens) == (50.0, 2.0)
    half, rest = take_work([work], 2.5)
    assert (half[0].models["m"].inference_s, rest[0].models["m"].inference_s) == (0.5, 0.5)
    assert (half[0].models["m"].steps, rest[0].models["m"].first_tokens) == (25.0, 1.0)
    assert work.models["m"].generated is None
