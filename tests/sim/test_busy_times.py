"""The agent beside engines whose requests are shorter than its readings, and beside two that share a GPU."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tests.sim.arrivals import DOCUMENTS, poisson
from tests.sim.costs import EXPERTS, WEIGHTS
from tests.sim.engine import Engine, Features
from tests.sim.machine import Machine
from tests.sim.play import play


@pytest.mark.parametrize("rate", [0.3, 3.0])
def test_the_work_of_short_requests_is_what_it_truly_was(rate: float) -> None:
    said, _ = play(Machine([Engine("a", EXPERTS, poisson(rate, 300, random.Random(1)))]), 300, warm_s=100)
    assert said["a"].work_j == pytest.approx(said["a"].true_work_j, rel=0.06)


def test_without_the_engines_seconds_the_power_seen_is_all_there_is() -> None:
    engine = Engine("a", EXPERTS, poisson(0.3, 300, random.Random(1)), features=Features(inference_s=False))
    said, _ = play(Machine([engine]), 300, warm_s=100)
    assert said["a"].work_j > 1.1 * said["a"].true_work_j


def test_of_two_engines_that_share_a_gpu_the_one_that_draws_more_gets_more() -> None:
    """Whose processes ran is told; documents on the mixture of experts draw half as much again as chats."""
    engines = [
        Engine("a", WEIGHTS, poisson(0.5, 500, random.Random(1)), model="a"),
        Engine("b", replace(EXPERTS, idle_w=WEIGHTS.idle_w), poisson(0.2, 500, random.Random(2), DOCUMENTS), model="b"),
    ]
    said, _ = play(Machine(engines), 500, warm_s=150, sm=True)
    for one in said.values():
        assert one.work_j == pytest.approx(one.true_work_j, rel=0.06)
