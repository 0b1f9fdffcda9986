"""A disk that is full for a while: measuring goes on, the part says so, and the books are right again with the space.

No file of the agent's process may grow beyond a size for that while, which the kernel sees to as it does on a full
disk. JOULECAR_FILLS sets how often; `make soak` does it many times.
"""

from __future__ import annotations

import os
import random
import resource
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import Figure
from tests.e2e.test_restart import RATES, A, B, counted, heard
from tests.e2e.worlds import BRISK, GPUS_ALONE, STAMP_S, engine, meter, up
from tests.fakes.daemon import COMMAND, Daemon, Scrape, must_not_fall
from tests.fakes.engine import FakeEngine
from tests.fakes.nvml.driver import FakeDriver, FakeGpu

pytestmark = pytest.mark.e2e

FILLS = int(os.environ.get("JOULECAR_FILLS", "1"))
FULL_BYTES = 8192  # less than any of the database's files, more than a log of this test
WATTS = {A: 300.0, B: 90.0}
FULL_COMMAND = (
    sys.executable,
    "-c",
    "import os, resource, sys; hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1];"
    f" resource.setrlimit(resource.RLIMIT_FSIZE, ({FULL_BYTES}, hard)); os.execv(sys.argv[1], sys.argv[1:])",
    *COMMAND,
)


def fill(agent: Daemon, *, full: bool) -> None:
    _, hard = resource.prlimit(agent.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(agent.pid, resource.RLIMIT_FSIZE, (FULL_BYTES if full else hard, hard))


def is_kept(scrape: Scrape) -> bool:
    return up(scrape, "ledger", "state") == 1


@pytest.mark.timeout(90 + 60 * FILLS)
def test_a_full_disk_costs_nothing_but_the_protection_from_a_crash(tmp_path: Path, figure: Figure) -> None:
    chance = random.Random(7)
    driver = FakeDriver(tmp_path / "driver", [FakeGpu(u, power_w=w) for u, w in WATTS.items()], log_calls=False)
    state = tmp_path / "state"
    state.mkdir()
    with FakeEngine() as served:
        config = f'{BRISK}state_dir = "{state}"\n{GPUS_ALONE}' + engine("vllm", served.url)
        starts = 0

        def daemon(command: tuple[str, ...] = COMMAND) -> Daemon:
            nonlocal starts
            starts += 1
            return Daemon(tmp_path / f"run{starts}", config, env=driver.env(), command=command)

        def settled(agent: Daemon) -> Scrape:
            """Everything of the load so far is booked, and kept."""
            served.change()
            work = served.work
            return agent.wait_for(lambda s: counted(s, work) and is_kept(s), what=f"all of {work}")

        def off_j(scrape: Scrape) -> float:
            now = {d: meter(scrape, d) for d in WATTS}
            return max(
                abs(now[d].energy_j - since[d].energy_j - driver.used_j(d, since[d].at_s, now[d].at_s)) for d in WATTS
            )

        with daemon() as agent:
            since = {d: meter(s, d) for s in [agent.wait_for(heard)] for d in WATTS}
            served.change(**RATES)
            last = agent.wait_for(is_kept)
            agent.kill()
        worst_j = 0.0
        for _ in range(FILLS):
            served.change(**RATES)
            with daemon() as agent:
                must_not_fall(last, agent.wait_for(heard))
                fill(agent, full=True)
                down = agent.wait_for(lambda s: not is_kept(s))
                later = agent.scrape_for(1.0 + 2.0 * chance.random())
                for d in WATTS:
                    assert meter(later, d).energy_j > meter(down, d).energy_j, "measuring goes on"
                assert not is_kept(later)
                fill(agent, full=False)
                kept = settled(agent)
                worst_j = max(worst_j, off_j(kept))
                agent.kill()
            served.change(**RATES)
            with daemon(FULL_COMMAND) as agent:  # killed, and started again while there is no room at all
                must_not_fall(kept, agent.wait_for(heard))
                down = agent.wait_for(lambda s: not is_kept(s))
                fill(agent, full=False)
                last = settled(agent)
                worst_j = max(worst_j, off_j(last))
                agent.kill()
        with daemon() as agent:
            agent.wait_for(heard)
            end = settled(agent)
            must_not_fall(last, end)
            worst_j = max(worst_j, off_j(end))
        figure(f"{FILLS} times a full disk, {starts} starts: off by at most {worst_j:.3f} J, tokens to the token")
        assert worst_j <= max(WATTS.values()) * STAMP_S
        assert end.total("joulecar_device_gap_seconds_total") == 0
