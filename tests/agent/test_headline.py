"""Ratios over sliding windows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.headline import POINTS_PER_WINDOW, Sums, begin, headlines, remember, sums
from agent.model import DeviceKind, Ledger, TokenType, Use

WHO = ("e", "m")


def ledger(joules: float, generated: float, requests: float = 0.0, grams: float | None = None) -> Ledger:
    priced = {} if grams is None else {("e", "m", Use.DECODE): grams}
    return Ledger(
        energy_j={
            ("e", "m", Use.DECODE, DeviceKind.GPU): joules,
            ("e", "m", Use.IDLE, DeviceKind.GPU): joules / 4,
            ("", "", Use.UNASSIGNED, DeviceKind.GPU): 1e9,
        },
        tokens={("e", "m", TokenType.GENERATED): generated, ("e", "m", TokenType.PROMPT_CACHED): generated * 2},
        requests={("e", "m", "stop"): requests} if requests else {},
        overhead_j={("e", "m", Use.DECODE): joules / 10},
        it_gco2e=priced,
        facility_gco2e={k: 2 * g for k, g in priced.items()},
    )


def test_boundaries_say_what_they_include() -> None:
    pasts = begin([("1m", 60.0)], 0.0)
    found = {h.boundary: h for h in headlines(pasts, sums(ledger(400.0, 100.0, 10.0, 5.0)), 1.5)}
    assert found["active"].generated_per_joule == pytest.approx(100 / 400)
    assert found["active"].all_per_joule == pytest.approx(300 / 400)
    assert found["serving"].joules_per_request == pytest.approx(500 / 10)
    assert found["facility"].joules_per_request == pytest.approx((500 + 40) * 1.5 / 10)
    assert found["active"].gco2e_per_1k_generated == pytest.approx(1000 * 5 / 100)
    assert found["facility"].gco2e_per_1k_generated == pytest.approx(1000 * 10 / 100)


def test_no_tokens_and_no_requests_is_no_number() -> None:
    assert headlines(begin([("1m", 60.0)], 0.0), sums(ledger(400.0, 0.0)), 1.0) == ()


def test_requests_alone_give_joules_per_request_alone() -> None:
    (active, *_) = headlines(begin([("1m", 60.0)], 0.0), sums(ledger(400.0, 0.0, 4.0)), 1.0)
    assert active.joules_per_request == pytest.approx(100.0)
    assert active.generated_per_joule is None
    assert active.all_per_joule is None


def test_what_was_not_priced_has_no_grams_and_a_clean_grid_has_zero() -> None:
    pasts = begin([("1m", 60.0)], 0.0)
    (unpriced, *_) = headlines(pasts, sums(ledger(400.0, 10.0)), 1.0)
    (clean, *_) = headlines(pasts, sums(ledger(400.0, 10.0, grams=0.0)), 1.0)
    assert unpriced.gco2e_per_1k_generated is None
    assert clean.gco2e_per_1k_generated == 0.0


def test_a_window_forgets_what_is_older() -> None:
    pasts = begin([("1m", 60.0)], 0.0)
    for second in range(5, 305, 5):
        # 10 tokens a second at first, 1 token a second later; always 100 J a second.
        tokens = 10.0 * min(second, 200) + max(0, second - 200)
        now = sums(ledger(100.0 * second, tokens))
        pasts = remember(pasts, float(second), now)
    (active, *_) = headlines(pasts, now, 1.0)
    assert active.generated_per_joule == pytest.approx(0.01)


def test_memory_is_bounded_by_the_window_and_not_by_time() -> None:
    pasts = begin([("1m", 60.0), ("1h", 3600.0)], 0.0)
    for second in range(1, 10_000):
        pasts = remember(pasts, float(second), {WHO: Sums()})
    assert all(len(p.points) <= POINTS_PER_WINDOW + 2 for p in pasts)


@pytest.mark.parametrize(("second", "counted"), [(95, False), (100, True), (155, True), (160, False), (165, False)])
def test_a_window_holds_what_came_after_its_beginning_and_no_less(second: int, counted: bool) -> None:
    """1,000 tokens in the five seconds up to 100, and a window of a minute."""
    pasts = begin([("1m", 60.0)], 0.0)
    for at_s in range(5, second + 1, 5):
        now = sums(ledger(100.0 * at_s, 1000.0 if at_s >= 100 else 0.0))
        pasts = remember(pasts, float(at_s), now)
    assert bool(headlines(pasts, now, 1.0)) is counted


def test_overhead_that_served_nobody_is_not_in_the_facility_figures() -> None:
    books = ledger(400.0, 100.0, 10.0)
    foreign = {**books.overhead_j, ("e", "m", Use.UNATTRIBUTED): 1e6}
    found = headlines(begin([("1m", 60.0)], 0.0), sums(replace(books, overhead_j=foreign)), 1.0)
    facility = next(h for h in found if h.boundary == "facility")
    assert facility.joules_per_request == pytest.approx((500 + 40) / 10)


def test_tokens_without_any_joule_are_no_ratio() -> None:
    assert headlines(begin([("1m", 60.0)], 0.0), sums(ledger(0.0, 100.0, 10.0, 0.0)), 1.0) == ()


def test_sci_adds_the_embodied_grams_and_needs_them() -> None:
    who = ("a", "m", Use.DECODE)
    made = Ledger(
        energy_j={(*who, DeviceKind.GPU): 100.0},
        tokens={("a", "m", TokenType.GENERATED): 2000.0},
        facility_gco2e={who: 3.0},
        embodied_gco2e={who: 1.0},
    )
    (past,) = begin([("1m", 60.0)], 0.0)
    facility = [h for h in headlines([past], sums(made), 1.0) if h.boundary == "facility"]
    assert [h.sci_per_1k_generated for h in facility] == [2.0]
    assert {h.sci_per_1k_generated for h in headlines([past], sums(replace(made, embodied_gco2e={})), 1.0)} == {None}
    assert {h.sci_per_1k_generated for h in headlines([past], sums(replace(made, facility_gco2e={})), 1.0)} == {None}


def test_cost_for_1000_tokens_is_net_of_credits_and_may_be_below_zero() -> None:
    who = ("a", "m", Use.DECODE)
    paid = Ledger(
        energy_j={(*who, DeviceKind.GPU): 100.0},
        tokens={("a", "m", TokenType.GENERATED): 2000.0},
        cost={who: 0.5},
        credit={who: 0.7},
    )
    (past,) = begin([("1m", 60.0)], 0.0)
    ratios = {h.boundary: h.cost_per_1k_all for h in headlines([past], sums(paid), 1.0)}
    assert ratios == {"active": None, "serving": None, "facility": pytest.approx(-0.1)}
