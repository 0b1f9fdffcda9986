"""Two engines on one real GPU, and a foreign process in between, against what each draws alone."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from agent.model import Ledger, Use
from agent.recording import in_order, one_trace
from agent.replay import replay

FOLDER = Path(__file__).parents[1] / "data" / "h100"
SETTLED_S = 9.0  # a window and the next page of both engines
TOGETHER = ("both", "both again", "both third")


@cache
def told() -> dict[str, dict[str, Any]]:
    recorded = json.loads((FOLDER / "two_engines.json").read_text(encoding="utf-8"))
    return {load["load"]: load for load in recorded["loads"]}


def gpu_j(ledger: Ledger) -> dict[tuple[str, Use], float]:
    out: dict[tuple[str, Use], float] = {}
    for (engine, _, use, kind), joules in ledger.energy_j.items():
        if kind == "gpu":
            out[engine, use] = out.get((engine, use), 0.0) + joules
    return out


@cache
def work_j() -> dict[str, dict[str, float]]:
    """Joules of prefill and decode by engine, and foreign ones as "", of each load."""
    files = in_order([FOLDER / "two_engines.jsonl.gz"], lambda *_: None)
    opening = files[0].opening
    assert opening.policy is not None
    states = [
        (state.books.at.wall_s, gpu_j(state.books.ledger))
        for state in replay(one_trace(files), opening.policy, opening.engines, opened=opening.books)
    ]

    def at(wall_s: float) -> dict[tuple[str, Use], float]:
        return [joules for seen_s, joules in states if seen_s <= wall_s][-1]

    found: dict[str, dict[str, float]] = {}
    for name, load in told().items():
        before, after = at(load["begin_s"] - 1.0), at(load["end_s"] + SETTLED_S)
        found[name] = dict.fromkeys(("chat", "docs", ""), 0.0)
        for (engine, use), joules in after.items():
            if use in (Use.PREFILL, Use.DECODE, Use.FOREIGN):
                found[name][engine] += joules - before.get((engine, use), 0.0)
    return found


def part_of_chat(joules: dict[str, float]) -> float:
    return joules["chat"] / (joules["chat"] + joules["docs"])


@pytest.mark.parametrize(("load", "engine"), [("chat alone", "chat"), ("docs alone", "docs")])
def test_an_engine_that_works_alone_gets_the_work(load: str, engine: str) -> None:
    work = work_j()[load]
    assert {name for name, joules in work.items() if joules > 0} == {engine}
    assert told()[load]["above_rest_j"] < work[engine] <= told()[load]["joules"]


def test_together_they_share_the_gpu_about_as_what_each_draws_alone() -> None:
    """The driver's samples, five a second, each booked to one process, scatter by some points over half a minute."""
    alone = [told()[load]["above_rest_j"] for load in ("chat alone", "docs alone")]
    expected = alone[0] / sum(alone)
    parts = [part_of_chat(work_j()[load]) for load in TOGETHER]
    assert parts == pytest.approx([expected] * 3, abs=0.1)
    assert math.fsum(parts) / 3 == pytest.approx(expected, abs=0.06)
    assert all(work_j()[load][""] == 0 for load in TOGETHER), "nobody else is there"


def test_a_foreign_process_beside_them_gets_a_part_and_they_share_as_before() -> None:
    beside, before = work_j()["both and stranger"], work_j()["both third"]
    assert 0.1 < beside[""] / math.fsum(beside.values()) < 0.25
    assert part_of_chat(beside) == pytest.approx(part_of_chat(before), abs=0.1)
