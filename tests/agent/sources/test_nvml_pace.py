"""How often something dear is asked for: by what the driver takes, not by what a busy machine adds to it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, pairwise, repeat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sources.nvml_capability import FIRST_SHARE, LONGEST_HOLD_S, OF_LAST, SHARE, Pace

LOOKS_S = 0.1 + 1e-6
SECONDS = st.floats(1e-5, 1.0)


def asked(took_s: Iterable[float], until_s: float, pace: Pace) -> list[float]:
    """When it was asked, looking ten times a second, if the answers take this long."""
    answers = iter(took_s)
    at_s = []
    for now_s in (n / 10 for n in range(round(until_s * 10))):
        if pace.is_due(now_s):
            at_s.append(now_s)
            pace.took(now_s, now_s + next(answers))
    return at_s


def longest_s(told: list[float]) -> float:
    return max(after - before for before, after in pairwise(told))


def test_one_answer_that_waited_for_a_cpu_changes_nothing() -> None:
    quick, slow = 0.0005, 0.08  # 80 ms would be held for two minutes
    told = asked(chain(repeat(quick, 5), [slow], repeat(quick)), 30.0, Pace())
    assert told[-1] > 28.0
    assert longest_s(told) <= quick / SHARE + LOOKS_S


def test_a_first_answer_that_waited_for_a_cpu_is_held_for_seconds_only() -> None:
    quick, slow = 0.0005, 0.08
    told = asked(chain([slow], repeat(quick)), 30.0, Pace())
    assert told[1] == pytest.approx(slow / FIRST_SHARE)
    assert longest_s(told[1:]) <= quick / SHARE + LOOKS_S


def test_a_driver_that_becomes_slow_is_asked_seldom_after_three_answers() -> None:
    told = asked(chain(repeat(0.0005, 5), repeat(0.05)), 400.0, Pace())
    assert told[4 + OF_LAST + 1] - told[4 + OF_LAST] == pytest.approx(0.05 / SHARE)


@settings(max_examples=30)
@given(SECONDS, st.floats(0.0, 60.0))
def test_asking_takes_its_share_of_the_time_and_no_more(took_s: float, at_least_s: float) -> None:
    told = asked(repeat(took_s), 500.0, Pace(at_least_s))[OF_LAST - 1 :]
    for before, after in pairwise(told):
        assert after - before >= max(min(took_s / SHARE, LONGEST_HOLD_S), at_least_s) - 1e-9
    assert told[0] <= (OF_LAST - 1) * max(took_s / FIRST_SHARE + 0.1, at_least_s + 0.1, 0.1) + 1e-6
