"""Engines that answer nonsense, or nothing, beside one that is well: told once, counted, the rest goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.e2e.worlds import BRISK, GPUS_ALONE, STAMP_S, Meter, balances, engine, meter, off_by_j, up
from tests.fakes.daemon import Daemon, Scrape
from tests.fakes.engine import Answer, FakeEngine, endless, gzip_garbage, html, redirect, status
from tests.fakes.nvml.driver import FakeDriver, FakeGpu

pytestmark = pytest.mark.e2e

A, B = "GPU-6d1c4a1e-0b62-4a9e-9d0e-3f6a5f0c0001", "GPU-6d1c4a1e-0b62-4a9e-9d0e-3f6a5f0c0002"
BROKEN = {
    "unauthorised": r"http 401",
    "missing": r"http 404",
    "html": r"",
    "garbage": r"",
    "endless": r"",
    "silent": r"timeout after 1 s",
    "elsewhere": r"redirect to another host",
}


@dataclass(frozen=True)
class Story:
    """A run in which every engine but one was well, then broken, then well again."""

    well: Scrape
    broken: Scrape  # after some more scrapes of each
    healed: Scrape
    before: Meter
    after: Meter
    off_by_j: float
    done: dict[str, dict[str, float]]  # what each engine did at last,
    log: str


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("engines")
    driver = FakeDriver(folder, [FakeGpu(A, power_w=400.0), FakeGpu(B, power_w=200.0)], log_calls=False)
    with ExitStack() as stack:
        engines = {name: stack.enter_context(FakeEngine()) for name in ("good", *BROKEN)}
        tables = [engine("good", engines["good"].url, f'gpus = ["{A}"]')]
        tables += [engine(name, engines[name].url, f'gpus = ["{B}"]', 'timeout = "1s"') for name in BROKEN]
        agent = stack.enter_context(Daemon(folder / "agent", "\n".join([BRISK, GPUS_ALONE, *tables]), env=driver.env()))
        answers: dict[str, Answer] = {
            "unauthorised": status(401),
            "missing": status(404),
            "html": html,
            "garbage": gzip_garbage,
            "endless": endless,
            "silent": engines["silent"].hangs,
            "elsewhere": redirect(engines["good"].url + "/metrics"),
        }
        assert answers.keys() == BROKEN.keys()
        well = agent.wait_for(lambda s: all(up(s, "engine", name) == 1 for name in engines))
        for e in engines.values():  # only now: what a page says at first is history
            e.change(generated_per_s=50.0, prompt_per_s=20.0)
        before = meter(well, A)
        for name, answer in answers.items():
            engines[name].answer(answer)
        agent.wait_for(lambda s: all(errors(s, name) >= 2 for name in answers), what="every bad engine failed twice")
        broken = agent.scrape()
        for name in answers:
            engines[name].answer(None)
        agent.wait_for(lambda s: all(up(s, "engine", name) == 1 for name in engines), what="all are well again")
        for e in engines.values():
            e.change()
        done = {name: e.work for name, e in engines.items()}
        agent.wait_for(lambda s: all(tokens(s, name) == work(done[name]) for name in engines), what=f"all of {done}")
        agent.wait_for(lambda s: rest_j(s) <= 400.0 * 3, what="what the good engine's GPU drew is booked")
        healed, _ = balances(agent, driver, {A: before}, {A: 400.0 * STAMP_S})
        after = meter(healed, A)
        yield Story(well, broken, healed, before, after, off_by_j(driver, A, before, after), done, agent.log)


def tokens(scrape: Scrape, name: str) -> list[float | None]:
    """Those that it generated, and those of prompts that it computed; it has none from a cache."""
    kinds = ("generated", "prompt_computed")
    return [scrape.get("joulecar_tokens_total", engine=name, type=kind) for kind in kinds]


def work(done: dict[str, float]) -> list[float]:
    return [done["generated"], done["prompt"]]


def rest_j(scrape: Scrape) -> float:
    """What its GPU counted and the good engine has not got."""
    counted_j = scrape.value("joulecar_device_energy_joules_total", device=A)
    return counted_j - scrape.total("joulecar_energy_joules_total", engine="good")


def errors(scrape: Scrape, name: str) -> float:
    return scrape.value("joulecar_part_errors_total", part="engine", name=name)


@pytest.mark.parametrize(("name", "reason"), BROKEN.items())
def test_a_bad_engine_is_told_when_it_breaks_and_when_it_heals(story: Story, name: str, reason: str) -> None:
    told = [line for line in story.log.splitlines() if f"engine {name}" in line]
    assert len(told) == 3, told  # what it is, that it broke, that it is back
    assert "WARNING" not in told[0]
    assert "WARNING" in told[1]
    assert reason in told[1]
    assert f"is back after {errors(story.healed, name):.0f} errors" in told[2]


@pytest.mark.parametrize("name", BROKEN)
def test_a_bad_engine_is_down_and_counted_and_up_again(story: Story, name: str) -> None:
    assert [up(s, "engine", name) for s in (story.well, story.broken, story.healed)] == [1, 0, 1]
    assert errors(story.well, name) == 0
    assert 2 <= errors(story.broken, name) <= errors(story.healed, name)


@pytest.mark.parametrize("name", BROKEN)
def test_the_tokens_of_the_bad_time_are_not_lost(story: Story, name: str) -> None:
    assert story.done[name]["generated"] > 50
    assert tokens(story.healed, name) == work(story.done[name])


def test_the_good_engine_notices_nothing(story: Story) -> None:
    assert errors(story.healed, "good") == 0
    assert not [line for line in story.log.splitlines() if "WARNING engine good" in line]
    assert story.healed.total("joulecar_energy_joules_total", engine="good", use="unattributed") == 0


def test_the_gpus_are_measured_all_the_while(story: Story) -> None:
    assert story.off_by_j == pytest.approx(0.0, abs=400.0 * STAMP_S)
    assert story.after.energy_j - story.before.energy_j > 1000
    assert not story.healed.all("joulecar_device_gap_seconds_total")
    assert abs(rest_j(story.healed)) <= 400.0 * 3, "one GPU is the good engine's alone"


def test_nothing_is_written_to_the_log_but_lines(story: Story) -> None:
    assert "Traceback" not in story.log
    assert json.dumps(story.log).count("\\u001b") == 0
