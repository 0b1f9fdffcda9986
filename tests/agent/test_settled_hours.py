"""Hours that a source rewrites: what is counted and what is settled are together the energy at the last word."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from agent import books
from agent.accounts import Rules
from agent.books import Books, Observed, Policy
from agent.grids.feed import Feed, Pace
from agent.grids.history import HOUR_S
from agent.health import Health
from agent.keeper import Keeper
from agent.model import GridIntensity, Instant, Reading
from agent.pricing import Site
from agent.remember import Identity
from agent.store.database import Database
from agent.store.ledger_store import LedgerStore
from tests.fakes.clock import FakeClock
from tests.fakes.service import WALL_S, gpu

TICK_S = 60.0
HERE = Identity("boot", "driver")
T0 = WALL_S // HOUR_S * HOUR_S
POLICY = Policy(rules=Rules(window_s=TICK_S), site=Site(pue=1.2, grid_loss=1.05))


def power_w(hour: int) -> float:
    return 200.0 + 50.0 * (hour % 7)


def final_g(hour: int) -> float:
    return 300.0 + 20.0 * (hour % 5)


class Rewriting:
    """Tells each hour as an estimate when it begins, and its final value five hours later."""

    name = "rewriting"

    def fetch(self, zone: str, now: Instant) -> Sequence[GridIntensity]:
        current = int((now.wall_s - T0) // HOUR_S)
        return [self._hour(zone, hour, current, now.wall_s) for hour in range(max(0, current - 8), current + 1)]

    def _hour(self, zone: str, hour: int, current: int, now_s: float) -> GridIntensity:
        is_final = current - hour >= 5
        g_per_kwh = final_g(hour) if is_final else 450.0
        kind = "actual" if is_final else "estimated"
        begin_s = T0 + hour * HOUR_S
        return GridIntensity(
            zone, g_per_kwh, self.name, kind=kind, valid_from_s=begin_s, valid_to_s=begin_s + HOUR_S, fetched_at_s=now_s
        )


class Day:
    """An agent beside one GPU, through as many hours as wanted; it may be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = FakeClock(0.0, T0)
        self.used_j = 0.0
        self.start()

    def start(self) -> None:
        health = Health()
        pace = Pace(15 * 60.0, lambda: 0.0)
        self.feed = Feed(Rewriting(), "DE", None, pace, self.clock, health, signal="average")
        self.database = Database(self.folder, 0.0)
        store = LedgerStore(self.database, HERE)
        self.keeper = Keeper(store, HERE, health, POLICY, final=self.feed.final)
        self.books = self.keeper.begin(self.clock.now())
        self.tick()

    def tick(self) -> None:
        self.feed.step()
        at = self.clock.now()
        reading = Reading(gpu(0), at, energy_j=self.used_j, max_power_w=700.0)
        self.books = books.tick(self.books, Observed(at, (reading,), grid=self.feed.known(at)), POLICY)
        self.keeper.keep(self.books, None)

    def run(self, hours: int) -> None:
        for _ in range(int(hours * HOUR_S / TICK_S)):
            self.used_j += power_w(int((self.clock.now().wall_s - T0) // HOUR_S)) * TICK_S
            self.clock.advance(TICK_S)
            self.tick()


def counted_g(state: Books) -> float:
    return math.fsum(state.ledger.facility_gco2e.values())


@pytest.mark.parametrize("restarted", [False, True])
def test_what_is_counted_and_what_is_settled_are_the_energy_at_the_last_word(tmp_path: Path, restarted: bool) -> None:
    day = Day(tmp_path)
    day.run(9)
    if restarted:
        day.database.close()
        day.start()
    day.run(6)
    told_last = {h: final_g(h) if 15 - h >= 5 else 450.0 for h in range(15)}
    truth_g = 1.2 * 1.05 * math.fsum(power_w(h) * HOUR_S / 3.6e6 * g for h, g in told_last.items())
    settled_g = math.fsum(day.keeper.shown(books.snapshot(day.books, POLICY)).settlement_gco2e.values())
    naive_g = 1.2 * 1.05 * math.fsum(power_w(h) * HOUR_S / 3.6e6 * 450.0 for h in range(15))
    assert counted_g(day.books) == pytest.approx(naive_g, rel=1e-6), "booked at what was known then"
    assert counted_g(day.books) + settled_g == pytest.approx(truth_g, rel=1e-6)
    assert settled_g < -100.0
    day.database.close()
