"""Parts break and heal: said once each, counted always."""

from __future__ import annotations

import logging

import pytest

from agent.health import MAX_REFUSED, OTHER_FIELD, Health
from agent.model import Part


def test_a_break_and_a_recovery_are_one_line_each_and_every_error_counts(caplog: pytest.LogCaptureFixture) -> None:
    health = Health()
    with caplog.at_level(logging.INFO, logger="joulecar"):
        health.ok(Part.ENGINE, "a", 1.0)
        for _ in range(50):
            health.failed(Part.ENGINE, "a", "timeout", "look at the engine")
        health.ok(Part.ENGINE, "a", 2.0)
    assert [r.message for r in caplog.records] == [
        "engine a: timeout - look at the engine",
        "engine a is back after 50 errors",
    ]
    (state,) = health.states()
    assert (state.up, state.errors_total, state.last_success_s) == (True, 50, 2.0)


def test_a_new_reason_is_worth_a_line(caplog: pytest.LogCaptureFixture) -> None:
    health = Health()
    for reason in ("timeout", "timeout", "http 401", "http 401"):
        health.failed(Part.ENGINE, "a", reason)
    assert [r.message for r in caplog.records] == ["engine a: timeout", "engine a: http 401"]


def test_what_was_never_there_is_no_part_that_is_down(caplog: pytest.LogCaptureFixture) -> None:
    health = Health()
    with caplog.at_level(logging.INFO, logger="joulecar"):
        for _ in range(3):
            health.absent(Part.SOURCE, "nvml", "no driver", "install it")
    assert health.states() == ()
    assert len(caplog.records) == 1


def test_what_was_there_and_is_gone_is_down() -> None:
    health = Health()
    health.ok(Part.SOURCE, "nvml", 1.0)
    health.absent(Part.SOURCE, "nvml", "no driver")
    (state,) = health.states()
    assert (state.up, state.message, state.last_success_s) == (False, "no driver", 1.0)


def test_parts_are_listed_in_a_stable_order() -> None:
    health = Health()
    for name in ("b", "a"):
        health.ok(Part.ENGINE, name, 1.0)
    assert [p.name for p in health.states()] == ["a", "b"]


def test_what_still_works_and_lacks_something_new_is_worth_a_line(caplog: pytest.LogCaptureFixture) -> None:
    health = Health()
    with caplog.at_level(logging.INFO, logger="joulecar"):
        for message in ("", "lacks the forecast", "lacks the forecast", ""):
            health.ok(Part.GRID, "a", 1.0, message)
    assert [r.message for r in caplog.records] == ["grid a: lacks the forecast"]


def test_refused_answers_are_counted_and_their_names_are_bounded() -> None:
    health = Health()
    health.refused("neso", "data", "null")
    before = health.refusals()
    health.refused("neso", "data", "null")
    assert before == {("neso", "data", "null"): 1}, "what was published does not change"
    for n in range(MAX_REFUSED + 5):
        health.refused("neso", f"field{n}", "null")
    refused = health.refusals()
    assert len(refused) == MAX_REFUSED + 1
    assert (refused["neso", "data", "null"], refused["neso", OTHER_FIELD, "null"]) == (2, 6)
    assert sum(refused.values()) == 2 + MAX_REFUSED + 5
