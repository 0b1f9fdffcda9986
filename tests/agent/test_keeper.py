"""A restart is one long tick: the next start takes the books up where the last one left them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent import books
from agent.accounts import Account, Rules
from agent.books import Books, Policy
from agent.done import Block, Done
from agent.errors import JoulecarError
from agent.health import Health
from agent.keeper import Keeper, open_keeper
from agent.learn import Fit, learn
from agent.model import (
    Device,
    EngineSample,
    Exemplar,
    GridIntensity,
    Histogram,
    Instant,
    Ledger,
    Part,
    Reading,
    RequestOutcome,
    RequestTotals,
    TokenType,
    Use,
)
from agent.pricing import Site
from agent.remember import MACHINE_RESTARTED, Identity, memory_of, resume
from agent.request_totals import ENERGY_BOUNDS_J
from agent.requests import RequestRules
from agent.settings import AgentSettings, BudgetSettings, Settings, SourcesSettings
from agent.store.database import Database
from agent.store.ledger_store import LedgerStore
from tests.fakes.clock import FakeClock
from tests.fakes.service import CPU, Service, gpu

POLICY = Policy(rules=Rules(engines={"a": None}), site=Site(node_overhead_w=10.0))
HERE = Identity("boot-1", "550.1")
HOUR_S = 3600.0


class Life:
    """The agent from one start to its end, beside a service that runs on."""

    def __init__(
        self,
        folder: Path | None,
        service: Service,
        identity: Identity = HERE,
        budgets: tuple[BudgetSettings, ...] = (),
        policy: Policy = POLICY,
    ) -> None:
        self.policy = policy
        self.health = Health()
        self.final: tuple[GridIntensity, ...] = ()
        self.database = Database(folder, 0.0)
        self.keeper = Keeper(
            LedgerStore(self.database, identity, policy.site.currency),
            identity,
            self.health,
            policy,
            final=lambda: self.final,
            budgets=budgets,
        )
        self.service = service
        seen = service.tick()
        self.books = self.keeper.begin(seen.at, readings=seen.readings)

    def tick(self, *replies: EngineSample) -> None:
        self.books = books.tick(self.books, self.service.tick(*replies), self.policy)
        self.keeper.keep(self.books, None)

    def run(self, seconds: int, power_w: float = 300.0) -> None:
        """With a page every three seconds."""
        for second in range(seconds):
            work(self.service, 1.0, power_w)
            self.tick(*([self.service.sample("a")] if second % 3 == 0 else []))

    def die(self) -> None:
        """As kill -9: nothing is finished."""
        self.keeper.close()


Live = Callable[..., Life]


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    """Begins lives of the agent on one directory; all are over after the test."""
    lives: list[Life] = []

    def begin(
        service: Service,
        identity: Identity = HERE,
        budgets: tuple[BudgetSettings, ...] = (),
        policy: Policy = POLICY,
    ) -> Life:
        lives.append(Life(tmp_path, service, identity, budgets, policy))
        return lives[-1]

    yield begin
    for life in lives:
        life.die()


def work(service: Service, seconds: float, power_w: float = 300.0) -> None:
    service.go_on(seconds, {gpu(0): power_w, CPU: 50.0})
    service.running["a"] = 1.0
    service.book("a", generated=10 * seconds, computed=3 * seconds)


def sums(ledger: Ledger) -> tuple[float, float]:
    generated = sum(n for (_, _, kind), n in ledger.tokens.items() if kind is TokenType.GENERATED)
    return sum(ledger.device_energy_j.values()), generated


def booked_j(state: Books) -> float:
    return sum(books.finish(state, POLICY).ledger.energy_j.values())


def test_the_energy_and_the_tokens_of_the_time_without_the_agent_are_booked(live: Live) -> None:
    service = Service()
    first = live(service)
    first.run(10)
    first.die()
    work(service, 40.0, 500.0)
    second = live(service)
    second.run(10)
    energy_j, generated = sums(second.books.ledger)
    assert energy_j == pytest.approx(service.energy_j[gpu(0)] + service.energy_j[CPU] - 350.0)  # the first reading's
    assert generated == 60 * 10 - 10  # what stood on the first page is history
    assert booked_j(second.books) == pytest.approx(energy_j)
    uses = {use for (_, _, use, _), j in books.finish(second.books, POLICY).ledger.energy_j.items() if j > 0}
    assert uses <= {Use.PREFILL, Use.DECODE}, "the engine's own tokens ran on: it is its energy"


def test_the_time_of_an_engine_that_never_comes_back_is_unattributed(live: Live) -> None:
    service = Service()
    first = live(service)
    first.run(10)
    first.die()
    work(service, 300.0)
    second = live(service)
    for _ in range(30):
        work(service, 1.0)
        second.tick()
    ledger = second.books.ledger
    unattributed_j = sum(j for (_, _, use, _), j in ledger.energy_j.items() if use is Use.UNATTRIBUTED)
    assert unattributed_j == pytest.approx(270 * 350.0, rel=0.1)


def test_no_total_falls_and_none_is_counted_twice_however_often_it_dies(live: Live) -> None:
    service = Service()
    before = (0.0, 0.0)
    for life in range(6):
        agent = live(service)
        assert sums(agent.books.ledger) >= before
        agent.run(1 + life)
        before = sums(agent.books.ledger)
        agent.die()
        work(service, 2.5)
    last = live(service)
    last.run(4)
    assert sums(last.books.ledger)[0] == pytest.approx(service.energy_j[gpu(0)] + service.energy_j[CPU] - 350.0)


def test_after_a_restart_of_the_machine_what_waited_is_booked_and_the_time_between_is_a_gap(live: Live) -> None:
    service = Service()
    first = live(service)
    first.run(10)
    was_j = sum(first.books.ledger.device_energy_j.values())
    first.die()
    rebooted = Service(grid=service.grid)
    second = live(rebooted, Identity("boot-2", "550.1"))
    ledger = second.books.ledger
    assert sum(ledger.device_energy_j.values()) == was_j
    assert sum(ledger.energy_j.values()) == pytest.approx(was_j), "nothing waits any more"
    assert {reason for (_, reason) in ledger.gap_s} == {MACHINE_RESTARTED}
    second.run(10)
    assert sum(second.books.ledger.device_energy_j.values()) == pytest.approx(was_j + 9 * 350.0)


GROUP = frozenset({"a"})
BLOCK = Block(busy_s=4.0, time_s=5.0, energy_j=1500.0, done={("a", "m"): Done(20.0, 50.0, steps=9.0)})
FIT = learn(Fit(), BLOCK, 60.0, quiet=False)


def with_fit(state: Books) -> Books:
    accounts = state.settlement.accounts
    changed = {**accounts, GROUP: replace(accounts.get(GROUP) or Account(state.at), fit=FIT)}
    return replace(state, settlement=replace(state.settlement, accounts=changed))


@pytest.mark.parametrize("same", [True, False])
def test_prices_that_were_learned_outlive_a_restart_of_the_machine_on_the_same_gpus(live: Live, same: bool) -> None:
    service = Service()
    first = live(service)
    first.run(60)
    first.books = with_fit(first.books)
    first.keeper.keep(first.books, None)
    first.die()
    now = gpu(0 if same else 1)
    rebooted = Service(tokens=service.tokens, energy_j={now: 0.0, CPU: 0.0}, power_w={now: 0.0, CPU: 0.0})
    second = live(rebooted, Identity("boot-2", "550.1"))
    accounts = second.books.settlement.accounts
    assert {g: a.fit for g, a in accounts.items()} == ({GROUP: replace(FIT, last=(), quiet=True)} if same else {})
    was_j = sum(second.books.ledger.device_energy_j.values())
    for second_s in range(10):
        rebooted.go_on(1.0, {now: 300.0, CPU: 50.0})
        rebooted.book("a", generated=10, computed=3)
        second.tick(*([rebooted.sample("a")] if second_s % 3 == 0 else []))
    ended = books.finish(second.books, POLICY).ledger
    assert sum(ended.device_energy_j.values()) == pytest.approx(was_j + 9 * 350.0)
    assert sum(ended.energy_j.values()) == pytest.approx(sum(ended.device_energy_j.values()))


def test_processors_are_known_by_their_limits_where_no_gpu_is(live: Live) -> None:
    def only_cpu(max_power_w: float) -> tuple[Reading, ...]:
        return (Reading(CPU, Instant(5.0, 5.0), energy_j=1.0, max_power_w=max_power_w),)

    state = with_fit(replace(books.begin(Instant(0.0, 0.0), POLICY), named={CPU: only_cpu(200.0)[0]}))
    memory = memory_of(state, HERE)
    for limit_w, kept in ((200.0, True), (350.0, False)):
        found = resume(Ledger(), memory, Instant(5.0, 5.0), Identity("boot-2", ""), POLICY, readings=only_cpu(limit_w))
        assert (GROUP in found.settlement.accounts) is kept


def test_counters_of_another_driver_are_not_compared(live: Live) -> None:
    service = Service()
    first = live(service)
    first.run(10)
    first.die()
    gpu_j = first.books.ledger.device_energy_j[gpu(0)]
    service.energy_j[gpu(0)] = 5.0 + service.energy_j[gpu(0)]
    second = live(service, Identity("boot-1", "560.2"))
    second.run(5)
    assert second.books.ledger.device_energy_j[gpu(0)] == pytest.approx(gpu_j + 4 * 300.0)


def test_grams_of_revised_hours_are_settled_and_outlive_the_agent(live: Live) -> None:
    service = Service()
    service.grid = (GridIntensity("DE", 400.0, "p", kind="forecast"),)
    first = live(service)
    first.run(30)
    counted_g = sum(first.books.ledger.facility_gco2e.values())
    wall_s = service.tick().at.wall_s
    hour_s = wall_s // HOUR_S * HOUR_S
    first.final = (GridIntensity("DE", 300.0, "p", valid_from_s=hour_s - HOUR_S, valid_to_s=hour_s + 2 * HOUR_S),)
    first.tick()
    shown = first.keeper.shown(books.snapshot(first.books, POLICY))
    assert sum(shown.settlement_gco2e.values()) == pytest.approx(-counted_g / 4)
    assert sum(first.books.ledger.facility_gco2e.values()) == counted_g, "the counter itself does not go back"
    first.die()
    again = live(service)
    again.final = first.final
    again.tick()
    kept = again.keeper.shown(books.snapshot(again.books, POLICY)).settlement_gco2e
    assert kept == shown.settlement_gco2e


def test_energy_that_is_booked_after_its_time_was_told_is_settled_all_the_same(live: Live) -> None:
    """Of hours without the agent the source has told the last word before their energy is booked."""
    service = Service()
    first = live(service)
    first.run(10)
    first.die()
    work(service, 6 * HOUR_S)
    hour_s = service.tick().at.wall_s // HOUR_S * HOUR_S
    told = tuple(
        GridIntensity("DE", 300.0, "p", valid_from_s=hour_s - n * HOUR_S, valid_to_s=hour_s - (n - 1) * HOUR_S)
        for n in range(9)
    )
    service.grid = told[:3]  # what is known at a tick reaches back a little only
    again = live(service)
    again.final = told
    again.tick()  # the engine has not been heard yet
    again.run(20)
    ledger = again.books.ledger
    assert ledger.unpriced_j > 3 * HOUR_S * 350.0
    settled_g = sum(again.keeper.shown(books.snapshot(again.books, POLICY)).settlement_gco2e.values())
    facility_j = sum(ledger.energy_j.values()) + sum(ledger.overhead_j.values())
    assert sum(ledger.facility_gco2e.values()) + settled_g == pytest.approx(facility_j / 3.6e6 * 300.0, rel=1e-3)
    assert settled_g == sum(again.keeper.shown(books.snapshot(again.books, POLICY)).settlement_gco2e.values())


def test_engines_that_the_configuration_does_not_name_any_more_get_nothing_of_the_new_time(live: Live) -> None:
    service = Service()
    first = live(service)
    first.run(30)
    first.die()
    second = live(service, policy=replace(POLICY, rules=Rules()))
    for _ in range(120):
        work(service, 1.0)
        second.tick()
    now = second.books.ledger
    unassigned_j = sum(j for (_, _, use, _), j in now.energy_j.items() if use is Use.UNASSIGNED)
    assert unassigned_j == pytest.approx(120 * 350.0, rel=0.05)


def test_a_clock_that_a_reboot_set_back_does_not_hide_the_engines_work(live: Live) -> None:
    service = Service()
    first = live(service)
    first.run(10)
    first.die()
    generated = sums(first.books.ledger)[1]
    rebooted = Service(wall_s=service.wall_s - 24 * HOUR_S, tokens=service.tokens)  # it serves elsewhere
    second = live(rebooted, Identity("boot-2", "550.1"))
    second.run(10)
    assert sums(second.books.ledger)[1] == pytest.approx(generated + 100.0 - 20.0 + 20.0, abs=30.0)


def test_what_a_device_used_before_its_driver_changed_is_a_gap_or_booked(live: Live) -> None:
    service = Service()
    first = live(service)
    first.run(10)
    for _ in range(5):  # the counter cannot be read
        work(service, 1.0)
        first.books = books.tick(first.books, service.tick(failed=frozenset({gpu(0)})), POLICY)
        first.keeper.keep(first.books, None)
    first.die()
    work(service, 5.0)
    second = live(service, Identity("boot-1", "560.2"))
    second.run(3)
    assert sum(s for (d, _), s in second.books.ledger.gap_s.items() if d == gpu(0)) == pytest.approx(10.0)


def test_a_device_that_was_gone_at_the_end_of_a_run_is_not_looked_for_in_the_next(live: Live) -> None:
    service = Service()
    first = live(service)
    first.run(5)
    service.energy_j.pop(gpu(0))
    for _ in range(80):
        service.go_on(1.0, {CPU: 50.0})
        first.tick()
    first.die()
    service.go_on(10.0, {CPU: 50.0})
    second = live(service)
    were = second.books.ledger.gap_s
    for _ in range(80):
        service.go_on(1.0, {CPU: 50.0})
        second.tick()
    assert second.books.ledger.gap_s == were


def test_costs_of_another_currency_begin_anew(live: Live) -> None:
    def charged(currency: str) -> Policy:
        return replace(POLICY, site=Site(currency=currency))

    service = Service()
    first = live(service, policy=charged("EUR"))
    first.run(30)
    first.books = replace(first.books, ledger=replace(first.books.ledger, cost={("a", "m", Use.DECODE): 5.0}))
    first.keeper.keep(first.books, None)
    first.die()
    same = live(service, policy=charged("EUR"))
    assert sum(same.books.ledger.cost.values()) == 5.0
    same.die()
    other = live(service, policy=charged("DKK"))
    assert not sum(other.books.ledger.cost.values())
    other.run(3)
    other.die()
    assert not sum(live(service, policy=charged("DKK")).books.ledger.cost.values())


def test_another_basis_settles_nothing_that_was_booked_on_the_first(live: Live) -> None:
    service = Service()
    service.grid = (GridIntensity("GB", 200.0, "p", basis="lifecycle"),)
    hour_s = service.tick().at.wall_s // HOUR_S * HOUR_S

    def told(g_per_kwh: float, basis: str) -> tuple[GridIntensity, ...]:
        from_s, to_s = hour_s - HOUR_S, hour_s + 2 * HOUR_S
        return (GridIntensity("GB", g_per_kwh, "p", basis=basis, valid_from_s=from_s, valid_to_s=to_s),)

    first = live(service)
    first.run(20)
    first.final = told(220.0, "lifecycle")
    first.tick()
    was_g = sum(first.keeper.shown(books.snapshot(first.books, POLICY)).settlement_gco2e.values())
    assert was_g > 0
    first.die()
    second = live(service)
    second.final = told(120.0, "direct")
    service.grid = second.final
    second.run(20)
    shown = second.keeper.shown(books.snapshot(second.books, POLICY)).settlement_gco2e
    assert sum(shown.values()) == pytest.approx(was_g)


@pytest.mark.parametrize("years", [-40.0, -1 / 365, 1 / 365, 40.0])
def test_a_wall_clock_that_is_set_loses_no_joule_and_no_gram_and_makes_no_piece_of_the_years_between(
    live: Live, years: float
) -> None:
    service = Service(grid=(GridIntensity("DE", 400.0, "p"),))
    agent = live(service)
    agent.run(12)
    service.wall_s += years * 365 * 24 * HOUR_S
    agent.run(21)
    ledger = books.finish(agent.books, POLICY).ledger
    facility_j = sum(ledger.energy_j.values()) + sum(ledger.overhead_j.values())
    assert sum(ledger.device_energy_j.values()) == pytest.approx(32 * 350.0)
    assert sum(ledger.facility_gco2e.values()) == pytest.approx(facility_j / 3.6e6 * 400.0)
    ((rows,),) = agent.database.db.execute("SELECT count(*) FROM energy")
    assert rows < 20
    agent.die()
    again = live(service)
    again.run(9)
    assert sum(again.books.ledger.device_energy_j.values()) == pytest.approx(41 * 350.0)


def test_a_clock_that_leaps_ahead_for_a_moment_makes_no_year_of_the_books_old(live: Live) -> None:
    service = Service()
    agent = live(service)
    agent.run(10)
    service.wall_s += 3 * 365 * 24 * HOUR_S
    agent.run(10)
    service.wall_s -= 3 * 365 * 24 * HOUR_S
    agent.run(10)
    (kept_j,) = agent.database.db.execute("SELECT sum(energy_j) FROM energy").fetchone()
    assert kept_j == pytest.approx(sum(agent.books.ledger.energy_j.values()))


def test_a_full_disk_costs_no_joule_and_is_told(live: Live) -> None:
    service = Service()
    agent = live(service)
    agent.run(3)
    pages = agent.database.db.execute("PRAGMA page_count").fetchone()[0]
    agent.database.db.execute(f"PRAGMA max_page_count = {pages}")
    for n in range(40):  # every engine's name takes room
        service.book("a", generated=5, model=f"{'long' * 100}{n}")
    agent.run(3)
    (part,) = [p for p in agent.health.states() if p.name == "state"]
    assert not part.up
    assert "full" in part.message
    agent.database.db.execute("PRAGMA max_page_count = 1000000")
    agent.run(3)
    assert all(p.up for p in agent.health.states())
    were = sums(agent.books.ledger)
    agent.die()
    assert sums(live(service).books.ledger) == were


def test_a_budget_goes_on_from_what_the_last_run_used(live: Live) -> None:
    month = BudgetSettings("b", "energy", 1e6, "joules")
    service = Service()
    first = live(service, budgets=(month,))
    first.run(30)
    (used,) = first.keeper.shown(books.snapshot(first.books, POLICY)).budgets
    assert used.used > 0
    first.die()
    second = live(service, budgets=(month,))
    (again,) = second.keeper.shown(books.snapshot(second.books, POLICY)).budgets
    assert again.used == pytest.approx(used.used)


def test_errors_of_parts_are_counted_on(live: Live) -> None:
    service = Service()
    first = live(service)
    first.health.failed(Part.ENGINE, "a", "refused")
    first.run(2)
    first.die()
    second = live(service)
    second.health.ok(Part.ENGINE, "a", 0.0)
    assert [p.errors_total for p in second.health.states() if p.name == "a"] == [1]


def test_memory_of_another_shape_costs_the_time_between_and_not_the_totals(live: Live) -> None:
    service = Service()
    first = live(service)
    first.run(10)
    were = sums(first.books.ledger)
    first.database.db.execute("UPDATE memory SET value = '[1, 2]' WHERE name = 'meters'")
    first.die()
    second = live(service)
    assert sums(second.books.ledger) == were
    assert [p.errors_total for p in second.health.states() if p.name == "state"] == [1]


def with_spans(*group_by: str) -> Policy:
    return replace(POLICY, requests=RequestRules(group_by=group_by))


def test_sums_over_requests_go_on_and_groups_by_other_attributes_do_not(tmp_path: Path) -> None:
    service = Service()
    policy = with_spans("tenant")
    first = Life(tmp_path, service, policy=policy)
    first.run(1)
    bounds = ENERGY_BOUNDS_J
    spent = Histogram(bounds, (3, *(0,) * len(bounds)), 0.2, (Exemplar("t1", 0.1, 5.0), *(None,) * len(bounds)))
    known = RequestTotals(
        {("a", RequestOutcome.ATTRIBUTED): 3}, {("a", "m"): spent}, {}, ("tenant",), {("a", "m", ("x",)): 0.2},
        groups_gco2e={("a", "m", ("x",)): 0.01},
    )  # fmt: skip
    assert first.books.requests is not None
    first.books = replace(first.books, requests=replace(first.books.requests, totals=known))
    first.keeper.keep(first.books, None)
    first.die()
    second = Life(tmp_path, service, policy=policy)
    assert second.books.requests is not None
    assert second.books.requests.totals == known
    second.die()
    third = Life(tmp_path, service, policy=with_spans("route"))
    assert third.books.requests is not None
    assert third.books.requests.totals == replace(known, group_by=("route",), groups={}, groups_gco2e={})
    third.die()


def settings_in(folder: Path | None) -> Settings:
    return replace(Settings(), agent=AgentSettings(state_dir=folder), sources=SourcesSettings(sysfs=Path("/none")))


def opened(folder: Path | None, health: Health) -> Keeper:
    final: Callable[[], tuple[GridIntensity, ...]] = lambda: ()  # noqa: E731 - typed
    return open_keeper(settings_in(folder), POLICY, FakeClock(), health, final)


def test_all_that_is_remembered_comes_back_as_it_was_while_a_device_cannot_be_read_and_after(live: Live) -> None:
    service = Service()
    life = live(service)
    life.run(7)
    for failed in (frozenset({gpu(0)}), frozenset({gpu(0), CPU}), frozenset[Device]()):
        work(service, 1.0)
        life.books = books.tick(life.books, service.tick(service.sample("a"), failed=failed), POLICY)
        life.keeper.keep(life.books, None)
        loaded = LedgerStore(life.database, HERE).load()
        assert loaded.memory == memory_of(life.books, HERE)
        assert loaded.ledger == life.books.ledger


def test_without_a_directory_the_books_are_in_memory_and_no_part_is_down() -> None:
    health = Health()
    keeper = opened(None, health)
    assert keeper.begin(Instant(1.0, 2.0)).ledger == Ledger()
    keeper.keep(books.begin(Instant(1.0, 2.0), POLICY), None)
    assert not health.states()
    keeper.close()


def test_a_disk_that_cannot_be_used_at_the_start_does_not_stop_the_measuring(tmp_path: Path) -> None:
    health = Health()
    keeper = opened(tmp_path / "gone", health)
    keeper.begin(Instant(1.0, 2.0))
    assert [(p.name, p.up) for p in health.states()] == [("state", False)]
    keeper.close()


def test_a_second_agent_on_the_directory_does_not_start(tmp_path: Path) -> None:
    keeper = opened(tmp_path, Health())
    with pytest.raises(JoulecarError, match="in use"):
        opened(tmp_path, Health())
    keeper.close()


def test_a_database_that_breaks_while_running_is_a_part_that_is_down(live: Live) -> None:
    agent = live(Service())
    agent.run(3)
    agent.database.db.execute("DROP TABLE total")
    agent.run(3)
    assert [p.up for p in agent.health.states() if p.name == "state"] == [False]
    with pytest.raises(sqlite3.OperationalError):
        agent.database.db.execute("SELECT * FROM total")


def test_a_checkpoint_that_fails_keeps_the_part_down_until_one_works(live: Live, tmp_path: Path) -> None:
    agent = live(Service())
    (tmp_path / "joulecar.db").rename(tmp_path / "elsewhere")
    agent.keeper.checkpoint()
    agent.run(3)
    assert [p.up for p in agent.health.states() if p.name == "state"] == [False]
    (tmp_path / "elsewhere").rename(tmp_path / "joulecar.db")
    agent.keeper.checkpoint()
    agent.run(3)
    assert [p.up for p in agent.health.states() if p.name == "state"] == [True]


def test_a_damaged_total_costs_itself_alone(live: Live) -> None:
    first = live(Service())
    first.run(10)
    was_j = first.books.ledger.device_energy_j
    first.database.db.execute("INSERT INTO total VALUES ('tokens', '[1, 2', 7.0)")
    first.die()
    assert live(Service()).books.ledger.device_energy_j == was_j
