"""The tables of the benchmark, of made-up figures that are easy to add up."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tests.bench.real_gpu.asked import Asked, Load
from tests.bench.real_gpu.beside import Cpu, Told
from tests.bench.real_gpu.one_engine import OneEngine
from tests.bench.real_gpu.table import given_j, one_engine_table, truth_j, two_engines_table
from tests.bench.real_gpu.told import Machine
from tests.bench.real_gpu.two_engines import ENGINES, Step, TwoEngines


def asked(trace_id: str, load: str, prompt: int, generated: int, above_rest_j: float | None = None) -> Asked:
    return Asked(trace_id, load, 10.0, 11.0, 12.0, prompt, generated, 0.5, above_rest_j)


SINGLES = (asked("s", "single_prompt", 100, 5, 100.0), asked("t", "single_answer", 5, 9, 300.0))
FOUND = OneEngine(
    machine=Machine("GPU of a test", "1.2", 50.0),
    loads=(
        Load("without_agent", 10.0, 900.0, (asked("w", "without_agent", 8, 1000),)),
        Load("without_spans_beside", 10.0, 900.0, (asked("b", "without_spans_beside", 8, 990),)),
        Load("prefill_alone", 10.0, 2000.0, (asked("p", "prefill_alone", 1000, 1),)),
        Load("singles", 10.0, 700.0, SINGLES),
        Load("mixed_2", 10.0, 1000.0, (asked("m", "mixed_2", 100, 50), asked("n", "mixed_2", 50, 50))),
    ),
    told={
        "p": Told(1900.0, 1800.0, 1700.0, 2100.0),
        "s": Told(180.0, 150.0, 150.0, 210.0),
        "t": Told(500.0, 1.0, 450.0, 550.0),
        "m": Told(600.0, 200.0, None, None),
        "n": Told(450.0, 50.0, None, None),
    },
    at_rest=Cpu(0.1, 10.0),
    busy=Cpu(0.3, 10.0),
    resident_mb=60.0,
    imbalance=2e-16,
    errors=(),
)  # fmt: skip
ALONE = (Step(ENGINES[:1], ENGINES, 100.0, {"chat": 110.0}), Step(ENGINES[1:], ENGINES, 300.0, {"docs": 320.0}))
BOTH = Step(ENGINES, ENGINES, 390.0, {"chat": 130.0, "docs": 260.0, "unattributed": 10.0})
STRANGER = Step(ENGINES[1:], ENGINES[:1], 300.0, {"foreign": 290.0})


def row(table: str, name: str) -> list[str]:
    (line,) = re.findall(rf"^  {name}  +(\S.*)$", table, re.MULTILINE)
    return re.split(r"  +| J *", line)


def test_a_load_is_held_against_the_counter_and_its_prompts_against_their_price_alone() -> None:
    table = one_engine_table(FOUND)
    assert row(table, "mixed_2") == ["10.0", "2", "2", "1000.0", "1050.0", "+5.0%", "30.0%", "25.0%"]
    assert row(table, "prefill_alone")[-3:] == ["-5.0%", "100.0%", "90.0%"]
    assert row(table, "without_agent") == ["10.0", "1", "0", "900.0", "-"]
    assert row(table, "singles") == ["10.0", "2", "2", "700.0", "680.0", ""], "the rests between them are nobody's"


def test_a_request_alone_costs_what_is_above_rest_and_rest_for_as_long_as_it_took() -> None:
    assert truth_j(asked("s", "single_prompt", 1, 1, 100.0), rest_w=50.0) == 200.0
    table = one_engine_table(FOUND)
    assert row(table, "single_prompt") == ["100", "5", "200.0", "180.0", "-10.0%", "in the band"]
    assert row(table, "single_answer") == ["5", "9", "400.0", "500.0", "+25.0%", "not in the band"]
    assert "off by 17.5% in the median, 25.0% at most; 1 of 2 in their bands" in table


def test_a_request_that_was_not_told_is_missing_and_not_zero() -> None:
    told = {key: value for key, value in FOUND.told.items() if key not in "smn"}
    table = one_engine_table(replace(FOUND, told=told))
    assert row(table, "mixed_2") == ["10.0", "2", "0", "1000.0", "-"]
    assert row(table, "single_prompt") == ["100", "5", "200.0", "-", "-", "not told"]
    assert "0 of 1 in their bands" in table
    assert given_j(FOUND.loads[-1], told) is None
    assert given_j(FOUND.loads[-1], FOUND.told) == 1050.0


def test_the_cost_of_the_agent_and_what_failed_are_told() -> None:
    table = one_engine_table(replace(FOUND, errors=("mixed_2: gone",)))
    assert "100.0 tokens/s without the agent, 99.0 beside it (-1.0%)" in table
    assert "1.00% of a core at rest, 3.00% under the mixes, 60 MB" in table
    assert "2e-16 apart at most" in table
    assert table.endswith("failed: mixed_2: gone")
    assert "failed" not in one_engine_table(FOUND)


def test_two_engines_have_the_shares_that_they_draw_alone() -> None:
    other = replace(BOTH, booked_j={"chat": 50.0, "docs": 350.0})
    table = two_engines_table(TwoEngines((*ALONE, BOTH, other, STRANGER), 1e-16, ()))
    assert "chat's share by what each draws alone: 25.0%; by Joulecar in the mean of 2: 22.9%" in table
    known, _, stranger = table.partition("is a stranger")
    assert re.findall(r"^  chat and docs +390.0 +130.0 +260.0 +10.0 +33.3%$", known, re.MULTILINE)
    assert row(stranger, "docs") == ["300.0", "0.0", "0.0", "290.0", "-"]


@pytest.mark.parametrize("booked_j", [{}, {"idle": 5.0}])
def test_no_work_has_no_share(booked_j: dict[str, float]) -> None:
    table = two_engines_table(TwoEngines((*ALONE, replace(BOTH, booked_j=booked_j)), 0.0, ("docs: gone",)))
    assert "in the mean of" not in table
    assert table.endswith("failed: docs: gone")
