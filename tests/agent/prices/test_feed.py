"""Prices are asked for politely and remembered for two days; an hour that nobody told has none."""

from __future__ import annotations

from itertools import pairwise

import pytest

from agent.cost import in_force, price_per_joule
from agent.errors import JoulecarError, ReadFailed, Unavailable
from agent.grids.feed import LONGEST_RETRY_S, Pace
from agent.grids.payload import Why, bad
from agent.health import Health
from agent.model import EnergyPrice, Instant, Part, PartHealth
from agent.prices.feed import EVERY_S, KEEP_S, PriceFeed, remember
from tests.fakes.clock import FakeClock

HOUR_S = 3600.0
START_S = 1_790_000_000.0 - 1_790_000_000.0 % 86_400.0  # a midnight


def said(hour: int, per_kwh: float, fetched_s: float = 0.0, length_s: float = HOUR_S) -> EnergyPrice:
    from_s = START_S + hour * HOUR_S
    return EnergyPrice("AT", per_kwh, "EUR", "market", "day_ahead", from_s, from_s + length_s, fetched_s)


class Market:
    """Knows today, and tomorrow from one in the afternoon on; the price is the number of the hour. Fails where it
    is told to."""

    name = "market"

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.failing: JoulecarError | None = None
        self.holes: set[int] = set()

    def fetch(self, now: Instant) -> tuple[EnergyPrice, ...]:
        self.asked.append(now.mono_s)
        if self.failing is not None:
            raise self.failing
        day, second = divmod(now.wall_s - START_S, 86_400.0)
        until = int(day * 24) + (48 if second >= 13 * HOUR_S else 24)
        hours = [h for h in range(int(day * 24), until) if h not in self.holes]
        return tuple(said(h, float(h), now.wall_s) for h in hours)


class Ground:
    """A feed, its market and a clock that a test moves."""

    def __init__(self) -> None:
        self.clock = FakeClock(mono_s=0.0, wall_s=START_S)
        self.market, self.health = Market(), Health()
        self.feed = PriceFeed(self.market, Pace(EVERY_S, lambda: 0.0), self.clock, self.health)

    def go_on(self, hours: float, *, beat_s: float = 60.0) -> None:
        end_s = self.clock.now().mono_s + hours * HOUR_S
        while self.clock.now().mono_s < end_s:
            self.feed.step()
            self.clock.advance(beat_s)
        self.feed.step()

    def now(self) -> EnergyPrice | None:
        at = self.clock.now()
        return in_force(self.feed.known(at), at.wall_s)

    def part(self) -> PartHealth:
        (found,) = [p for p in self.health.states() if p.part is Part.GRID]
        return found


def test_nothing_is_known_before_the_first_answer() -> None:
    ground = Ground()
    assert ground.feed.known(ground.clock.now()) == ()


def test_each_hour_has_its_own_price_and_is_asked_for_once_an_hour() -> None:
    ground = Ground()
    ground.go_on(30)
    assert len(ground.market.asked) == 31
    held = ground.now()
    assert held is not None and held.per_kwh == 30.0
    assert ground.part().up and ground.part().name == "market_price"


def test_an_outage_costs_nothing_as_long_as_prices_are_known_ahead() -> None:
    ground = Ground()
    ground.go_on(14)  # tomorrow is known
    ground.market.failing = ReadFailed("down")
    ground.go_on(33)
    held = ground.now()
    assert held is not None and held.per_kwh == 47.0, "tomorrow's last hour"
    assert not ground.part().up and ground.part().message == "down"


def test_after_the_last_hour_that_is_known_there_is_no_price_not_the_last_one() -> None:
    ground = Ground()
    ground.go_on(14)
    ground.market.failing = ReadFailed("down")
    ground.go_on(35)
    assert ground.now() is None
    at_s = ground.clock.now().wall_s
    assert price_per_joule([(at_s - 5, at_s, 1.0)], ground.feed.known(ground.clock.now())).uncosted == 1.0


def test_a_hole_in_the_answer_is_told_while_it_lasts() -> None:
    ground = Ground()
    ground.market.holes = {1}
    ground.go_on(0.5)
    assert ground.part().up
    ground.go_on(1)
    assert not ground.part().up and "no price of this hour" in ground.part().message
    ground.go_on(1)
    assert ground.part().up


def test_failures_are_followed_by_longer_and_longer_waits_and_retry_after_holds() -> None:
    ground = Ground()
    ground.market.failing = ReadFailed("down")
    ground.go_on(3)
    waits = [b - a for a, b in pairwise(ground.market.asked)]
    assert waits == sorted(waits) and waits[0] >= 900 and max(waits) <= LONGEST_RETRY_S + 60
    ground.market.failing = ReadFailed("slow down", retry_after_s=7200.0)
    ground.go_on(1)
    before = len(ground.market.asked)
    ground.go_on(0.9)
    assert len(ground.market.asked) == before, "told to be left alone for two hours"


def test_a_success_forgets_the_failures_before_it() -> None:
    ground = Ground()
    ground.market.failing = ReadFailed("down")
    ground.go_on(3)
    ground.market.failing = None
    ground.go_on(1)
    assert ground.part().up
    ground.market.failing = ReadFailed("down again")
    ground.go_on(2)
    waits = [b - a for a, b in pairwise(ground.market.asked)]
    assert waits[waits.index(EVERY_S) + 1] == 900, "the first wait after a success is the short one"


def test_what_is_final_is_not_asked_for_again() -> None:
    ground = Ground()
    ground.market.failing = Unavailable("gone", "take another")
    ground.go_on(10)
    assert len(ground.market.asked) == 1
    assert (ground.part().message, ground.part().fix) == ("gone", "take another")


def test_an_answer_that_is_refused_is_counted_with_its_field_and_reason_apart_from_the_grids() -> None:
    ground = Ground()
    ground.market.failing = bad("market", "data[7].unit", "is 'No Unit'", Why.OTHER_QUANTITY)
    ground.go_on(0.3)
    assert ground.health.refusals() == {("market_price", "data.unit", "other_quantity"): 2}


def test_two_days_are_remembered_and_no_more_and_the_loop_gets_the_hours_around_now() -> None:
    ground = Ground()
    ground.go_on(120)
    history = ground.feed.history()
    now_s = ground.clock.now().wall_s
    assert min(e.valid_to_s for e in history) > now_s - KEEP_S - HOUR_S
    assert len(history) <= 48 + 36 + 1
    known = ground.feed.known(ground.clock.now())
    assert 4 <= len(known) <= 6
    assert in_force(known, now_s - HOUR_S) is not None, "energy that waited is charged at its own hour"


def test_a_clock_set_back_finds_its_hour_again() -> None:
    ground = Ground()
    ground.go_on(20)
    ground.clock.advance(-10 * HOUR_S)
    ground.feed.step()
    held = ground.now()
    assert held is not None and held.per_kwh == 10.0


@pytest.mark.parametrize("fetched", [True, False])
def test_a_new_answer_takes_the_place_of_what_was_said_of_the_same_time(fetched: bool) -> None:
    old = (said(0, 1.0), said(1, 2.0), said(2, 3.0))
    quarters = tuple(
        EnergyPrice("AT", 9.0, "EUR", "m", "day_ahead", START_S + HOUR_S + q * 900, START_S + HOUR_S + (q + 1) * 900)
        for q in range(4)
    )
    known = remember(old, quarters if fetched else (), START_S)
    assert [e.per_kwh for e in known] == ([1.0, 9.0, 9.0, 9.0, 9.0, 3.0] if fetched else [1.0, 2.0, 3.0])
