"""A real GPU and a real engine: what was booked against the driver's own counter and the clients' own counts."""

from __future__ import annotations

import gzip
import json
import math
import statistics
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from agent.clock import SystemClock
from agent.commands.replay import final
from agent.model import RequestEnergy, RequestMethod, Use
from agent.replay import Replayed
from agent.settings import Settings
from agent.sources.nvml_binding import Handle, NvmlBinding
from agent.sources.nvml_processes import ProcessSamples
from tests.fakes.clock import FakeClock

FOLDER = Path(__file__).parents[1] / "data" / "h100"


@dataclass(frozen=True, slots=True)
class Run:
    """A replayed recording, with what the clients and the driver's counter say of it."""

    rest_w: float  # of the GPU with the model loaded and nothing to do
    loads: dict[str, dict[str, Any]]
    clients: dict[str, dict[str, Any]]  # by trace id
    told: dict[str, RequestEnergy]
    end: Replayed
    counter_j: float

    def of(self, load: str) -> list[tuple[dict[str, Any], RequestEnergy]]:
        return [(asked, self.told[key]) for key, asked in self.clients.items() if asked["load"] == load]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Of the GPU alone: CPU and memory of that machine could only be estimated."""
    told = json.loads((FOLDER / "told.json").read_text(encoding="utf-8"))
    trace = tmp_path_factory.mktemp("h100") / "gpu.jsonl"
    counter: list[float] = []
    with gzip.open(FOLDER / "llama.jsonl.gz", "rt", encoding="utf-8") as lines, trace.open("w") as out:
        for line in lines:
            tick = json.loads(line)
            tick["readings"] = [r for r in tick.get("readings", ()) if r["kind"] == "gpu"]
            counter.extend(r["energy_j"] for r in tick["readings"])
            out.write(json.dumps(tick) + "\n")
    found: list[RequestEnergy] = []
    end = final([trace], Settings(), SystemClock(), found=found.append, as_recorded=True)
    return Run(
        rest_w=told["rest_w"],
        loads={load["load"]: load for load in told["loads"]},
        clients={r["trace_id"]: r for r in told["requests"] if not r["load"].startswith("without")},
        told={r.trace_id: r for r in found},
        end=end,
        counter_j=counter[-1] - counter[0],
    )


def booked_j(run: Run, *uses: Use) -> float:
    return math.fsum(j for (_, _, use, _), j in run.end.snapshot().ledger.energy_j.items() if use in uses)


def test_every_joule_of_the_counter_is_booked_once(run: Run) -> None:
    assert booked_j(run, *Use) == pytest.approx(run.counter_j, rel=1e-9)
    assert booked_j(run, Use.PREFILL, Use.DECODE, Use.IDLE) == pytest.approx(run.counter_j, rel=1e-9), "nothing is lost"


def test_every_request_is_told_once_and_gets_no_more_than_was_booked(run: Run) -> None:
    assert run.told.keys() == run.clients.keys()
    assert {r.method for r in run.told.values()} == {RequestMethod.WINDOWS}
    given_j = math.fsum(r.energy_j for r in run.told.values())
    active_j = booked_j(run, Use.PREFILL, Use.DECODE)
    without_spans_j = run.loads["without_spans_beside"]["joules"]
    assert given_j <= active_j
    assert active_j - given_j == pytest.approx(without_spans_j, rel=0.12), "that of requests without spans"


def test_a_request_that_ran_alone_costs_what_the_counter_says(run: Run) -> None:
    """Its joules above rest, and those at rest for as long as it took."""
    errors = []
    for load in ("single_prompt", "single_answer"):
        for asked, told in run.of(load):
            truth_j = asked["above_rest_j"] + run.rest_w * (asked["end_s"] - asked["start_s"])
            errors.append(told.energy_j / truth_j - 1.0)
            assert told.low_j is not None and told.high_j is not None
            assert told.low_j <= truth_j <= told.high_j
    assert len(errors) == 12
    assert statistics.median(map(abs, errors)) < 0.07
    assert max(map(abs, errors)) < 0.12


@pytest.mark.parametrize("load", ["prefill_alone", "decode_1", "decode_8", "mixed_2", "mixed_6"])
def test_the_requests_of_a_load_cost_what_the_counter_says(run: Run, load: str) -> None:
    given_j = math.fsum(told.energy_j for _, told in run.of(load))
    assert given_j == pytest.approx(run.loads[load]["joules"], rel=0.05)


@pytest.mark.parametrize("load", ["prefill_alone", "mixed_2", "mixed_6"])
def test_prompts_cost_about_what_they_cost_alone(run: Run, load: str) -> None:
    alone = run.loads["prefill_alone"]
    joules = run.loads[load]["joules"]
    expected_j = alone["joules"] / alone["prompt"] * run.loads[load]["prompt"]
    prefill_j = math.fsum(told.prefill_j for _, told in run.of(load))
    assert (prefill_j - expected_j) / joules == pytest.approx(0.0, abs=0.06)


class Recorded(NvmlBinding):
    """A driver that answers about processes as an H100's did, once a second."""

    def __init__(self, answers: list[list[list[int]]]) -> None:
        super().__init__()
        self._answers = iter(answers)
        self.asked_from: list[int] = []

    def process_samples(self, handle: Handle, since_us: int) -> list[tuple[int, int, int]]:
        self.asked_from.append(since_us)
        return [(pid, percent, at_us) for pid, at_us, percent in next(self._answers)]


@cache
def two_processes() -> dict[str, Any]:
    recorded: dict[str, Any] = json.loads((FOLDER / "two_processes.json").read_text(encoding="utf-8"))
    return recorded


def test_two_processes_on_a_gpu_have_the_shares_that_their_kernels_had() -> None:
    """Matrix products in bursts of random length, counted; each process had run alone to know what one takes."""
    answers, ran_s = two_processes()["every_second"], two_processes()["kernel_s"]
    clock = FakeClock(wall_s=answers[0][0][1] / 1e6 + 0.1)
    driver = Recorded(answers)
    samples = ProcessSamples(driver, "GPU 0")
    sm: dict[int, float] = {}
    for n in range(len(answers)):
        for use in samples.told(clock, object()) or ():
            sm[use.pid] = sm.get(use.pid, 0.0) + use.sm
        assert driver.asked_from[n] == (max(at_us for _, at_us, _ in answers[n - 1]) if n else 0)
        clock.advance(1.01)
    first, second = (sm[pid] for pid in sorted(sm))
    assert first / (first + second) == pytest.approx(ran_s[0] / sum(ran_s), abs=0.03)


def test_the_driver_tells_the_mean_since_the_time_asked_from() -> None:
    """What the stand-in of the tests rests on: seldom answers are the means of frequent ones over the same time."""
    often = {(pid, at_us): percent for answer in two_processes()["every_100_ms"] for pid, at_us, percent in answer}
    since_us = None
    compared = 0
    for answer in two_processes()["every_second"]:
        newest_us = max(at_us for _, at_us, _ in answer)
        if since_us is not None:
            samples = round((newest_us - since_us) / 200_000)
            for pid, _, percent in answer:
                between = sum(p for (who, at_us), p in often.items() if who == pid and since_us < at_us <= newest_us)
                assert percent == pytest.approx(between / samples, abs=1.0)
                compared += 1
        since_us = newest_us
    assert compared > 50
