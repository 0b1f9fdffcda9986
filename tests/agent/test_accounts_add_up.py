"""Grams, litres, money and hardware's grams are the energy times their factors, whatever happened on the way: any
devices, engines, resets, gaps, and an agent that is killed and goes on from its books at any tick."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.accounts import Rules
from agent.books import Books, Policy
from agent.model import EnergyPrice, Entry, GridIntensity
from agent.pricing import Site
from agent.remember import Identity, resume
from agent.settings import EmbodiedSettings
from agent.store import rollups
from agent.store.database import Database
from agent.store.ledger_store import LedgerStore
from tests.agent.test_books import Story, layouts, play, steps

HERE = Identity("boot", "550")
YEAR_S = 365.25 * 86_400.0
SITE = Site(1.3, 20.0, 1.07, market_g_per_kwh=41.0, wue_l_per_kwh=1.8, currency="EUR")
MADE = EmbodiedSettings(lifetime_s=4 * YEAR_S, reserved_share=0.5, gpu_kgco2e=150.0, server_kgco2e=1000.0)
MADE_G_PER_S = (2 * 150.0 + 1000.0) * 1000.0 * 0.5 / (4 * YEAR_S)
KWH = 3.6e6
GRID = (GridIntensity("Z", 300.0, "p"), GridIntensity("Z", 700.0, "p", signal="marginal"))
PRICES = (EnergyPrice("Z", 0.25, "EUR", "p"),)


class Restarts:
    """Kills the agent after some ticks; the next one goes on from what is on disk. Adds up what was booked."""

    def __init__(self, at_ticks: frozenset[int], policy: Policy) -> None:
        self._at_ticks = at_ticks
        self._policy = policy
        self._tick = 0
        self.database = Database(None, 0.0)
        self._store = LedgerStore(self.database, HERE, "EUR")
        self._store.load()

    def __call__(self, state: Books) -> Books:
        self._store.commit(state, {})
        self._tick += 1
        if self._tick not in self._at_ticks:
            return state
        self._store = LedgerStore(self.database, HERE, "EUR")
        loaded = self._store.load()
        assert not loaded.problem
        assert loaded.ledger == state.ledger
        return resume(loaded.ledger, loaded.memory, state.at, HERE, self._policy, state.tariffs)

    def booked(self) -> list[Entry]:
        return list(rollups.entries(self.database.db, 0.0))


def total(amounts: Mapping[Any, float]) -> float:
    return math.fsum(amounts.values())


@settings(max_examples=60, deadline=None)
@given(steps, layouts, st.frozensets(st.integers(1, 40), max_size=5))
def test_every_account_is_the_energy_times_its_factor_across_restarts(
    story: Story, rules: Rules, restarts: frozenset[int]
) -> None:
    policy = Policy(rules=rules, site=SITE, embodied=MADE)
    kept = Restarts(restarts, policy)
    history = play(story, policy, grid=GRID, prices=PRICES, after=kept)
    first, end = history[0], history[-1]
    kept(end)
    now = end.ledger
    energy_j, overhead_j = total(now.energy_j), total(now.overhead_j)
    assert energy_j == pytest.approx(total(now.device_energy_j), rel=1e-9)
    assert overhead_j == pytest.approx(20.0 * (end.at.mono_s - first.settlement.closed_to.mono_s), rel=1e-6)
    facility_kwh = (energy_j + overhead_j) * 1.3 * 1.07 / KWH
    assert [
        total(now.facility_gco2e),
        total(now.marginal_gco2e),
        total(now.market_gco2e),
        total(now.it_gco2e),
        total(now.water_l),
        total(now.cost),
        total(now.credit),
        total(now.embodied_gco2e),
        now.unpriced_j,
        now.uncosted_j,
    ] == pytest.approx(
        [
            facility_kwh * 300.0,
            facility_kwh * 700.0,
            facility_kwh * 41.0,
            energy_j / KWH * 300.0,
            (energy_j + overhead_j) / KWH * 1.8,
            (energy_j + overhead_j) * 1.3 / KWH * 0.25,
            0.0,
            MADE_G_PER_S * (end.at.mono_s - first.settlement.closed_to.mono_s),
            0.0,
            0.0,
        ],
        rel=1e-9,
        abs=1e-9,
    )
    # What is on disk is the same, piece by piece.
    rows = kept.booked()
    assert math.fsum(e.energy_j for e in rows) == pytest.approx(energy_j, rel=1e-9)
    assert math.fsum(e.gco2e or 0.0 for e in rows) == pytest.approx(total(now.facility_gco2e), rel=1e-9)
    assert math.fsum(e.embodied_gco2e or 0.0 for e in rows) == pytest.approx(total(now.embodied_gco2e), rel=1e-9)
    kept.database.close()
