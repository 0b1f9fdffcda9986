"""The agent is killed at random moments under load: no joule, no token and no counter is the worse for it.

JOULECAR_KILLS sets how often; `make soak` does it hundreds of times.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Figure
from tests.e2e.worlds import BRISK, GPUS_ALONE, STAMP_S, engine, meter
from tests.fakes.daemon import Daemon, Scrape, must_not_fall
from tests.fakes.engine import FakeEngine
from tests.fakes.nvml.driver import FakeDriver, FakeGpu

pytestmark = pytest.mark.e2e

A, B = "GPU-aaaa", "GPU-bbbb"
KILLS = int(os.environ.get("JOULECAR_KILLS", "8"))
SEED = int(os.environ.get("JOULECAR_SEED", "20261122"))


def metered(scrape: Scrape) -> bool:
    return all(scrape.get("joulecar_device_energy_joules_total", device=d) is not None for d in (A, B))


class Run:
    """One machine, one engine, and an agent that is started again and again on the same state directory."""

    def __init__(self, folder: Path, driver: FakeDriver, served: FakeEngine) -> None:
        self._folder = folder
        self._state = folder / "state"
        self._state.mkdir()
        self._driver = driver
        self._served = served
        self.starts = 0
        self.last: Scrape | None = None

    def daemon(self) -> Daemon:
        self.starts += 1
        brisk = f'{BRISK}state_dir = "{self._state}"\n'
        config = brisk + GPUS_ALONE + engine("vllm", self._served.url)
        return Daemon(self._folder / f"run{self.starts}", config, env=self._driver.env())

    def next(self, end: Callable[[Daemon], Scrape]) -> Scrape:
        """One life of the agent; end() says how it ends and gives its last scrape."""
        with self.daemon() as agent:
            first = agent.wait_for(heard)
            if self.last is not None:
                must_not_fall(self.last, first)
            self.last = end(agent)
        return self.last


RATES = {"generated_per_s": 731.0, "prompt_per_s": 2411.0, "cached_per_s": 97.0, "requests_per_s": 3.7}
TYPES = {"generated": "generated", "prompt_cached": "cached"}


def heard(scrape: Scrape) -> bool:
    return metered(scrape) and scrape.get("joulecar_part_up", part="engine", name="vllm") == 1


def counted(scrape: Scrape, work: dict[str, float]) -> bool:
    """All that the engine did is booked. Of prompt tokens, those computed are what was not cached."""
    tokens = {kind: scrape.total("joulecar_tokens_total", type=kind) for kind in (*TYPES, "prompt_computed")}
    return tokens == {
        "generated": work["generated"],
        "prompt_cached": work["cached"],
        "prompt_computed": work["prompt"] - work["cached"],
    }


@pytest.mark.timeout(60 + 12 * KILLS)
def test_a_killed_agent_goes_on_to_the_joule_and_to_the_token(tmp_path: Path, figure: Figure) -> None:
    chance = random.Random(SEED)
    driver = FakeDriver(tmp_path / "driver", [FakeGpu(A, power_w=300.0), FakeGpu(B, power_w=90.0)], log_calls=False)
    worst_j = 0.0
    with FakeEngine() as served:
        run = Run(tmp_path, driver, served)
        start = run.next(lambda agent: agent.wait_for(heard))
        since = {d: meter(start, d) for d in (A, B)}
        served.change(**RATES)

        def life(agent: Daemon) -> Scrape:
            nonlocal worst_j
            # The power steps only while somebody looks, and stays so for a moment: what a trapezoid makes of a step
            # between two lives is another test's matter; a counter knows it exactly.
            driver.set_power(A, chance.uniform(60.0, 700.0))
            last = agent.scrape_for(chance.uniform(0.0, 1.8))
            for d in (A, B):
                now = meter(last, d)
                off_j = now.energy_j - since[d].energy_j - driver.used_j(d, since[d].at_s, now.at_s)
                worst_j = max(worst_j, abs(off_j))
            agent.kill()
            return last

        for _ in range(KILLS):
            run.next(life)
        assert worst_j <= 700.0 * STAMP_S
        served.change()
        work = served.work
        last = run.next(lambda agent: agent.wait_for(lambda s: counted(s, work), what=f"all of {work}"))
        figure(
            f"{KILLS} kills, {run.starts} starts: off by at most {worst_j:.3f} J of {meter(last, A).energy_j:.0f} J,"
            f" {work['generated']:.0f} generated tokens to the token, no counter fell"
        )
        assert last.total("joulecar_device_gap_seconds_total") == 0
        assert last.total("joulecar_requests_total") == work["requests"]
