"""The bundled trace: that it is what is generated, and that it tells a story which hangs together."""

from __future__ import annotations

import re
from importlib import resources
from itertools import pairwise

import pytest

from agent.demo.simulated import DURATION_S, ENGINE, generate, simulated_trace
from agent.model import DeviceKind, Reading
from agent.request_checks import fault
from agent.trace import Tick, read_trace


@pytest.fixture(scope="module")
def ticks() -> list[Tick]:
    return list(read_trace(simulated_trace()))


def gpu(ticks: list[Tick], index: int) -> list[Reading]:
    return [reading for tick in ticks for reading in tick.readings if reading.index == index]


def value(page: str, name: str, **labels: str) -> float:
    """The sum of a metric's series that carry these labels."""
    lines = [line for line in page.splitlines() if line.startswith((name + "{", name + " "))]
    chosen = [line for line in lines if all(f'{key}="{text}"' in line for key, text in labels.items())]
    assert chosen, f"{name} {labels} is not on the page"
    return sum(float(line.rsplit(" ", 1)[1]) for line in chosen)


def test_the_bundled_file_is_what_the_generator_makes() -> None:
    assert list(simulated_trace()) == list(generate()), "write it anew: python -m agent.demo.simulated"


def test_it_is_small() -> None:
    with resources.as_file(resources.files("agent") / "data" / "simulated.jsonl.gz") as path:
        assert path.stat().st_size < 200_000


def test_it_has_a_tick_a_second_and_a_page_every_five(ticks: list[Tick]) -> None:
    assert len(ticks) == DURATION_S + 1
    assert {round(b.at.mono_s - a.at.mono_s, 9) for a, b in pairwise(ticks)} == {1.0}
    assert [i for i, tick in enumerate(ticks) if tick.engines] == list(range(0, DURATION_S + 1, 5))


def test_every_name_in_it_says_that_it_is_simulated(ticks: list[Tick]) -> None:
    for tick in ticks:
        names = [reading.name for reading in tick.readings] + [r.device.key for r in tick.readings]
        names += [engine.engine for engine in tick.engines]
        names += [text for s in tick.spans for text in (s.engine, s.model, s.request_id, *dict(s.group).values())]
        names += [text for grid in tick.grid for text in (grid.zone, grid.provider, grid.source, grid.kind)]
        names += [m for e in tick.engines for m in re.findall(r'model_name="(.*?)"', e.page or "")]
        assert all("simulated" in name for name in names), names


@pytest.mark.parametrize("index", [0, 1])
def test_the_energy_counter_agrees_with_the_power_sensor(ticks: list[Tick], index: int) -> None:
    readings = gpu(ticks, index)
    counted = integrated = 0.0
    for a, b in pairwise(readings):
        if a.energy_j is None or b.energy_j is None or b.energy_j < a.energy_j:
            continue
        assert a.power_w is not None
        assert b.power_w is not None
        counted += b.energy_j - a.energy_j
        integrated += (a.power_w + b.power_w) / 2
    assert counted / integrated == pytest.approx(1.0, abs=0.03)


def test_power_is_that_of_gpus_that_are_idle_or_at_work(ticks: list[Tick]) -> None:
    powers = [r.power_w for i in (0, 1) for r in gpu(ticks, i) if r.power_w is not None]
    assert min(powers) > 60
    assert max(powers) < 700
    idle = [p for p in powers if 85 < p < 100]
    busy = [p for p in powers if 370 < p < 660]
    assert len(idle) > 100
    assert len(busy) > 400


def test_counters_wrap_fail_and_are_reset(ticks: list[Tick]) -> None:
    cpu = [r for tick in ticks for r in tick.readings if r.device.kind is DeviceKind.CPU]
    wraps = [
        (a.energy_j, b.energy_j)
        for a, b in pairwise(cpu)
        if a.energy_j is not None and b.energy_j is not None and b.energy_j < a.energy_j
    ]
    assert len(wraps) == 1
    assert cpu[0].wraps_at_j == pytest.approx(262_143.328850)
    before, after = wraps[0]
    assert 0 < 262_143.328850 - before + after < 400, "a second's worth across the wrap"

    failed = [i for i, r in enumerate(gpu(ticks, 1)) if r.error == "unknown error"]
    assert failed == list(range(130, 135))
    gpu_1 = gpu(ticks, 1)
    last, following = gpu_1[129].energy_j, gpu_1[135].energy_j
    assert last is not None
    assert following is not None
    assert 6 * 300 < following - last < 6 * 700, "the counter went on while nobody could read it"

    for index in (0, 1):
        readings = gpu(ticks, index)
        assert readings[283].error == "driver not loaded"
        assert readings[287].energy_j is not None
        assert readings[287].energy_j < 1000, "reset"


def test_tokens_flow_when_power_does_and_only_then(ticks: list[Tick]) -> None:
    pages = [
        (i, e.page, r.energy_j)
        for i, tick in enumerate(ticks)
        for e in tick.engines
        for r in tick.readings
        if r.index == 0 and e.page is not None and r.energy_j is not None
    ]
    checked = 0
    for (i, page, energy_j), (k, next_page, next_energy_j) in pairwise(pages):
        if k != i + 5:
            continue  # a scrape failed between
        tokens = value(next_page, "vllm:generation_tokens_total") - value(page, "vllm:generation_tokens_total")
        power_w = (next_energy_j - energy_j) / 5
        running = value(page, "vllm:num_requests_running") + value(next_page, "vllm:num_requests_running")
        if power_w < 100:
            assert (tokens, running) == (0, 0)
        elif running > 0:
            assert tokens > 0
        checked += 1
    assert checked > 80


def test_pages_agree_with_themselves(ticks: list[Tick]) -> None:
    pages = [e.page for tick in ticks for e in tick.engines if e.page is not None]
    for page in pages:
        computed = value(page, "vllm:prompt_tokens_by_source_total", source="local_compute")
        cached = value(page, "vllm:prompt_tokens_by_source_total", source="local_cache_hit")
        assert value(page, "vllm:prompt_tokens_total") == computed + cached
        assert value(page, "vllm:prompt_tokens_cached_total") == cached
    assert value(pages[-1], "vllm:prompt_tokens_cached_total") > 100_000
    assert value(pages[-1], "vllm:request_success_total") > 300


def test_the_engine_restarts_with_counters_at_zero_and_one_scrape_times_out(ticks: list[Tick]) -> None:
    errors = {i: e.error for i, tick in enumerate(ticks) for e in tick.engines if e.error is not None}
    assert errors == {150: "no answer within 4 s"} | dict.fromkeys(range(280, 310, 5), "connection refused")
    back = ticks[310].engines[0]
    assert back.engine == ENGINE
    assert back.page is not None
    assert value(back.page, "vllm:generation_tokens_total") == 0
    assert value(back.page, "process_start_time_seconds") == pytest.approx(back.at.wall_s, abs=30)


def test_every_request_that_ended_sends_its_span_and_the_spans_tell_the_counters_tokens(ticks: list[Tick]) -> None:
    spans = [(i, s) for i, tick in enumerate(ticks) for s in tick.spans]
    assert len({s.span_id for _, s in spans}) == len(spans) > 500
    pages = {i: e.page for i, tick in enumerate(ticks) for e in tick.engines if e.page is not None}
    first, last = (sum(value(pages[i], "vllm:request_success_total") for i in ends) for ends in ((0, 310), (275, 480)))
    assert len(spans) == last - first
    generated = sum(s.generated_tokens or 0.0 for i, s in spans if i > 310)
    assert generated == value(pages[480], "vllm:generation_tokens_total")
    for i, s in spans:
        assert fault(s, 900.0) is None
        assert s.end_s <= ticks[i].at.wall_s
        parts = (s.queue_s or 0.0) + (s.prefill_s or 0.0) + (s.decode_s or 0.0)
        assert parts == pytest.approx(s.end_s - s.start_s, abs=0.005)
