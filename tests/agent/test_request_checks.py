"""Which spans are refused, and by how much a clock is ahead."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from agent.accounts import EngineBook, Settlement
from agent.model import Instant, RequestOutcome, RequestSpan
from agent.request_checks import REMEMBERED, SHIFT_SPANS, Clocks, Seen, fault, keys_of, shifted
from agent.request_intake import Intake, Limits, receive

T = 1_790_000_000.0
GOOD = RequestSpan("a", T + 100, T + 110, prompt_tokens=50.0, generated_tokens=20.0, trace_id="t", span_id="s")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({}, None),
        ({"end_s": T + 99}, RequestOutcome.BAD_TIMES),
        ({"start_s": math.nan}, RequestOutcome.BAD_TIMES),
        ({"end_s": math.inf}, RequestOutcome.BAD_TIMES),
        ({"start_s": 100.0, "end_s": 110.0}, RequestOutcome.BAD_TIMES),  # 1970: a clock that was never set
        ({"start_s": 0.0, "end_s": 0.0}, RequestOutcome.BAD_TIMES),
        ({"end_s": T + 1101}, RequestOutcome.BAD_TIMES),  # longer than windows are kept
        ({"queue_s": -0.1}, RequestOutcome.BAD_TIMES),
        ({"prefill_s": math.nan}, RequestOutcome.BAD_TIMES),
        ({"decode_s": 2000.0}, RequestOutcome.BAD_TIMES),
        ({"prompt_tokens": -1.0}, RequestOutcome.BAD_TOKENS),
        ({"generated_tokens": 1e300}, RequestOutcome.BAD_TOKENS),
        ({"generated_tokens": math.nan}, RequestOutcome.BAD_TOKENS),
        ({"generated_tokens": 3e6}, RequestOutcome.BAD_TOKENS),  # in ten seconds
        ({"cached_tokens": 51.0}, RequestOutcome.BAD_TOKENS),
        ({"cached_tokens": 50.0}, None),
        ({"prompt_tokens": None, "generated_tokens": None}, RequestOutcome.NO_TOKENS),
        ({"prompt_tokens": 0.0, "generated_tokens": 0.0}, RequestOutcome.NO_TOKENS),
        ({"prompt_tokens": None}, None),
    ],
)
def test_what_no_request_can_be_is_refused(changed: dict[str, float | None], why: RequestOutcome | None) -> None:
    assert fault(replace(GOOD, **changed), 900.0) == why  # type: ignore[arg-type]  # a table of fields


def test_a_span_is_known_by_its_ids_or_by_its_request() -> None:
    assert keys_of(GOOD) == (("t", "s"),)
    assert keys_of(replace(GOOD, span_id="", request_id="r")) == (("", "r"),)
    assert keys_of(replace(GOOD, span_id="")) == ()


def test_a_gateway_and_its_client_tell_of_one_request_in_one_trace() -> None:
    client = replace(GOOD, own=False, request_id="chatcmpl-1")
    gateway = replace(client, span_id="g")
    assert set(keys_of(client)) & set(keys_of(gateway))
    for other in (
        replace(gateway, request_id="chatcmpl-2"),
        replace(gateway, request_id=""),
        replace(gateway, trace_id="u"),  # sent again, with the id that the client wants
        replace(gateway, own=True),  # a sequence of it: n=2
    ):
        assert not set(keys_of(client)) & set(keys_of(other))


def test_what_came_is_remembered_for_a_while_and_not_for_ever() -> None:
    seen = Seen()
    for n in range(3 * REMEMBERED // 100):
        seen = seen.plus({(str(n), str(k)) for k in range(100)})
    assert (str(3 * REMEMBERED // 100 - 1), "0") in seen
    assert ("0", "0") not in seen
    assert len(seen.young) + len(seen.old) <= 2 * REMEMBERED + 200


def test_a_clock_ahead_is_set_back_by_the_least_that_puts_all_spans_into_the_past() -> None:
    clocks = Clocks()
    for delay_s in (3.0, -1.5, 0.2, -2.0):
        clocks = clocks.note("a", delay_s)
    assert clocks.ahead_s("a") == 2.0
    assert clocks.ahead_s("b") == 0.0
    assert clocks.shifts_s() == {"a": 2.0}
    assert shifted(GOOD, 2.0) == replace(GOOD, start_s=T + 98, end_s=T + 108)


@pytest.mark.parametrize("before", [1, 2, SHIFT_SPANS])
def test_one_span_far_ahead_of_all_others_sets_no_clock_and_two_do(before: int) -> None:
    clocks = Clocks()
    for _ in range(before):
        clocks = clocks.note("a", 1.0)
    clocks = clocks.note("a", -250.0)
    assert clocks.ahead_s("a") == 0.0 and clocks.quickest_s("a") == 1.0
    assert clocks.note("a", -248.0).ahead_s("a") == 250.0
    assert Clocks().note("a", -250.0).ahead_s("a") == 250.0, "nothing says that it is wrong"


def test_a_clock_that_was_set_right_is_trusted_again() -> None:
    clocks = Clocks().note("a", -2.0)
    for _ in range(SHIFT_SPANS):
        clocks = clocks.note("a", 1.0)
    assert clocks.ahead_s("a") == 0.0 and clocks.quickest_s("a") == 1.0
    assert clocks.shifts_s() == {"a": -1.0}


def test_a_clock_behind_is_told_by_how_late_even_the_quickest_span_came_and_nothing_is_shifted() -> None:
    clocks = Clocks()
    for delay_s in (45.0, 41.5, 44.0):
        clocks = clocks.note("a", delay_s)
    assert clocks.ahead_s("a") == 0.0 and clocks.shifts_s() == {"a": -41.5}


def test_what_a_client_and_its_gateway_tell_of_one_request_counts_once() -> None:
    client = replace(GOOD, own=False, request_id="chatcmpl-1")
    spans = [client, replace(client, span_id="g"), replace(client, span_id="h", request_id="chatcmpl-2")]
    at = Instant(200.0, T + 200)
    settlement = Settlement(at, books={"a": EngineBook(at)})
    intake, kept, outcomes = receive(Intake(), spans, settlement, at.wall_s, Limits(900.0, 10))
    assert [span.span_id for span in kept] == ["s", "h"]
    assert outcomes == [("a", RequestOutcome.DUPLICATE)]
    assert receive(intake, spans, settlement, at.wall_s, Limits(900.0, 10))[1] == []
