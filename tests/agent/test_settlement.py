"""Who gets the joules when pages come late, seldom, only once or not at all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent import books
from agent.accounts import Rules
from agent.books import Observed, Policy
from agent.model import DeviceKind, GridIntensity, Reading, Use
from agent.pricing import Site
from agent.settlement import pending_j
from agent.work import MAX_MODELS, OTHER_MODEL
from tests.fakes.service import CPU, WALL_S, Service, at, gpu

ONE = Policy(rules=Rules(engines={"a": None}))


def used(state: books.Books) -> dict[tuple[str, str], float]:
    """Joules by engine and use."""
    out: dict[tuple[str, str], float] = {}
    for (engine, _, use, _), joules in state.ledger.energy_j.items():
        out[engine, str(use)] = out.get((engine, str(use)), 0.0) + joules
    return out


def powered(device: object = None) -> Service:
    s = Service()
    s.go_on(0.0, {gpu(0) if device is None else CPU: 90.0})
    s.book("a")
    return s


def test_a_long_request_goes_by_the_last_known_phases_and_not_by_its_prompt_alone() -> None:
    """Generated tokens are told when a request ends, the prompt at its first token; the second one takes 120 s."""
    s = powered()
    state = books.tick(books.begin(at(0), ONE), s.tick(s.sample("a")), ONE)
    for second in range(1, 200):
        s.running["a"] = 1.0 if 10 <= second < 30 or 50 <= second < 170 else 0.0
        s.go_on(1.0, {gpu(0): 400.0 if s.running["a"] else 90.0})
        if second in (10, 50):
            s.book("a", computed=1000)
        if second in (30, 170):
            s.book("a", generated=20 * (20 if second == 30 else 120))
        state = books.tick(state, s.tick(s.sample("a")), ONE)
    uses = used(books.finish(state, ONE))
    assert uses["a", "prefill"] <= 0.25 * (uses["a", "prefill"] + uses["a", "decode"])
    assert uses["a", "prefill"] + uses["a", "decode"] == pytest.approx(140 * 400.0, rel=0.02)


def test_an_engine_that_could_not_be_read_at_first_ran_then_as_on_its_first_page() -> None:
    s = powered()
    s.running["a"] = 1.0
    state = books.begin(at(0), ONE)
    for second in range(41):
        if second:
            s.go_on(1.0, {gpu(0): 400.0})
            s.book("a", generated=10)
        state = books.tick(state, s.tick(s.down("a") if second < 30 else s.sample("a")), ONE)
    assert used(books.finish(state, ONE)) == {("a", "decode"): pytest.approx(40 * 400.0)}


@pytest.mark.parametrize(("busy", "use"), [(False, "idle"), (True, "unattributed")])
def test_one_page_on_the_first_tick_is_enough_to_know_whose_the_joules_are(busy: bool, use: str) -> None:
    s = powered()
    s.running["a"] = float(busy)
    state = books.tick(books.begin(at(0), ONE), s.tick(s.sample("a")), ONE)
    for _ in range(3):
        s.go_on(1.0, {gpu(0): 90.0})
        state = books.tick(state, s.tick(), ONE)
    assert used(books.finish(state, ONE)) == {("a", use): pytest.approx(270.0)}


@pytest.mark.parametrize(("seconds", "everybodys"), [(50, 0.0), (80, 80 * 400.0)])
def test_after_its_last_page_an_engine_went_on_as_it_was_for_as_long_as_anything_may_wait(
    seconds: int, everybodys: float
) -> None:
    s = powered()
    s.running["a"] = 1.0
    state = books.tick(books.begin(at(0), ONE), s.tick(s.sample("a")), ONE)
    for second in range(20 + seconds):
        s.go_on(1.0, {gpu(0): 400.0})
        s.book("a", generated=10)
        state = books.tick(state, s.tick(s.sample("a") if second < 20 else s.down("a")), ONE)
    uses = used(books.finish(state, ONE))
    assert uses.get(("", "unattributed"), 0.0) == pytest.approx(everybodys)
    assert uses["a", "decode"] == pytest.approx((20 + seconds) * 400.0 - everybodys)


def test_the_end_at_the_moment_of_a_close_leaves_nobodys_joules_nobodys() -> None:
    policy = Policy(rules=Rules(engines={"a": ("GPU-7",)}))
    s = powered()
    state = books.tick(books.begin(at(0), policy), s.tick(), policy)
    for _ in range(5):
        s.go_on(1.0, {gpu(0): 100.0, CPU: 50.0})
        state = books.tick(state, s.tick(), policy)
    assert state.settlement.closed_to == at(5)
    state = books.finish(state, policy)
    assert {use for (_, _, use, kind) in state.ledger.energy_j if kind is DeviceKind.GPU} == {Use.UNASSIGNED}
    assert not any(pending_j(state.settlement).values())


@pytest.mark.parametrize("every", [5, 15, 20])
def test_without_gpu_the_floor_is_learned_from_pages_that_come_seldom(every: int) -> None:
    s = powered(CPU)
    state = books.tick(books.begin(at(0), ONE), s.tick(s.sample("a")), ONE)
    for second in range(1, 121):
        busy = 50 < second <= 70
        s.go_on(1.0, {CPU: 400.0 if busy else 90.0})
        s.running["a"] = float(busy)
        s.book("a", generated=10 if busy else 0)
        state = books.tick(state, s.tick(*([s.sample("a")] if second % every == 0 else [])), ONE)
    assert used(books.finish(state, ONE)) == {
        ("a", "decode"): pytest.approx(20 * 400.0),
        ("a", "idle"): pytest.approx(100 * 90.0),
    }


@pytest.mark.parametrize("failing_s", [20, 50, 100])
def test_joules_that_a_device_tells_late_meet_the_work_that_they_were_spent_on(failing_s: int) -> None:
    """No reading from the middle of the work on; the first one after it comes when nothing runs any more."""
    s = powered()
    state = books.tick(books.begin(at(0), ONE), s.tick(s.sample("a")), ONE)
    for second in range(1, 220):
        busy = 30 < second <= 30 + failing_s
        s.running["a"] = float(busy)
        s.go_on(1.0, {gpu(0): 400.0 if busy else 90.0})
        s.book("a", generated=10 if busy else 0)
        unread = 40 <= second <= 30 + failing_s
        state = books.tick(state, s.tick(s.sample("a"), failed=frozenset({gpu(0)} if unread else ())), ONE)
    uses = used(books.finish(state, ONE))
    assert uses["a", "decode"] == pytest.approx(failing_s * 400.0, rel=0.06)
    assert sum(uses.values()) == pytest.approx(failing_s * 400.0 + (219 - failing_s) * 90.0)


def test_a_gpu_that_stays_away_holds_up_the_books_of_its_group_for_a_minute_and_no_longer() -> None:
    s = powered()
    s.running["a"] = 1.0
    s.go_on(0.0, {gpu(1): 300.0})
    state = books.tick(books.begin(at(0), ONE), s.tick(s.sample("a")), ONE)
    for second in range(1, 101):
        s.go_on(1.0, {gpu(0): 300.0, gpu(1): 300.0})
        s.book("a", generated=10)
        state = books.tick(state, s.tick(s.sample("a"), failed=frozenset({gpu(1)} if second > 10 else ())), ONE)
        booked = used(state).get(("a", "decode"), 0.0)
        if second in (60, 80):
            assert booked == pytest.approx(6000.0 if second == 60 else 6000.0 + 70 * 300.0)
    assert used(books.finish(state, ONE)) == {("a", "decode"): pytest.approx(100 * 300.0 + 10 * 300.0)}


def test_joules_that_make_up_for_a_gap_belong_to_all_of_its_time() -> None:
    s = powered()
    s.running["a"] = 1.0
    state = books.tick(books.begin(at(0), ONE), s.tick(s.sample("a")), ONE)
    for second in range(1, 151):
        s.go_on(1.0, {gpu(0): 300.0})
        s.book("a", generated=10)
        state = books.tick(state, s.tick(s.sample("a"), failed=frozenset({gpu(0)} if 10 < second < 111 else ())), ONE)
    (account,) = (a for g, a in state.settlement.accounts.items() if g)
    assert account.floor.busy_w == pytest.approx(300.0)  # not a hundred seconds' joules in one
    (shown,) = books.snapshot(state, ONE).devices
    assert shown.power_w == 300.0
    assert sum(state.ledger.gap_s.values()) == pytest.approx(100.0)
    assert used(books.finish(state, ONE)) == {("a", "decode"): pytest.approx(150 * 300.0)}


# Grams and the node overhead go where the joules go, and at the time when those flowed


@pytest.mark.parametrize(("unread", "every"), [((), 5), ((), 15), (range(43, 58), 5), (range(20, 95), 5)])
def test_joules_are_priced_at_the_moment_when_they_flowed_however_late_they_are_booked(
    unread: tuple[int, ...], every: int
) -> None:
    """The power steps with the intensity, in the middle of a window; the counter alone is known."""
    clean = GridIntensity("Z", 100.0, "test", valid_to_s=WALL_S + 48)
    dirty = GridIntensity("Z", 500.0, "test", valid_from_s=WALL_S + 48)
    s = powered()
    s.grid = (dirty, clean)
    s.running["a"] = 1.0
    state = books.tick(books.begin(at(0), ONE), s.tick(s.sample("a")), ONE)
    for second in range(1, 121):
        s.go_on(1.0, {gpu(0): 100.0 if second <= 48 and not unread else 700.0})
        s.book("a", generated=10)
        failed = frozenset({gpu(0)} if second in unread else ())
        state = books.tick(state, s.tick(*([s.sample("a")] if second % every == 0 else []), failed=failed), ONE)
    truth = 48 * (700.0 if unread else 100.0) * 100.0 + 72 * 700.0 * 500.0
    grams = sum(books.finish(state, ONE).ledger.it_gco2e.values())
    assert grams == pytest.approx(truth / 3.6e6, rel=1e-9)


def test_the_overhead_of_joules_that_wait_for_their_tokens_waits_with_them() -> None:
    policy = Policy(rules=ONE.rules, site=Site(node_overhead_w=50.0))
    s = powered()
    state = books.tick(books.begin(at(0), policy), s.tick(s.sample("a")), policy)
    for second in range(1, 61):
        s.running["a"] = float(second % 30 != 0)
        s.go_on(1.0, {gpu(0): 400.0})
        s.book("a", generated=600 if second % 30 == 0 else 0)
        state = books.tick(state, s.tick(s.sample("a")), policy)
        assert ("", "", Use.UNASSIGNED) not in state.ledger.overhead_j
    assert sum(books.finish(state, policy).ledger.overhead_j.values()) == pytest.approx(60 * 50.0)


def test_the_overhead_of_a_machine_on_which_nothing_is_metered_is_nobodys_and_priced() -> None:
    policy = Policy(site=Site(node_overhead_w=50.0, pue=1.2))
    s = Service(grid=(GridIntensity("Z", 360.0, "test"),))
    state = books.begin(at(0), policy)
    for _ in range(11):
        state = books.tick(state, s.tick(), policy)
        s.go_on(1.0, {})
    ledger = books.finish(state, policy).ledger
    assert ledger.overhead_j == {("", "", Use.UNASSIGNED): pytest.approx(500.0)}
    assert ledger.facility_gco2e == {("", "", Use.UNASSIGNED): pytest.approx(500.0 * 1.2 * 360.0 / 3.6e6)}


# Devices and engines that come and go


@pytest.mark.parametrize("estimated", [False, True])
def test_a_device_that_nothing_tells_of_any_more_is_a_gap_and_has_no_power(estimated: bool) -> None:
    policy = Policy()
    state = books.begin(at(0), policy)
    for second in range(121):
        gone = Reading(gpu(1), at(second), energy_j=200.0 * second, power_w=200.0, estimated=estimated)
        readings = (replace(gone, device=gpu(0)), *([gone] if second <= 20 else []))
        state = books.tick(state, Observed(at(second), readings), policy)
        shown = {d.device: d.power_w for d in books.snapshot(state, policy).devices}
    assert shown == {gpu(0): 200.0, gpu(1): 200.0 if estimated else None}
    assert sum(state.ledger.gap_s.values()) == (0.0 if estimated else 100.0)
    state = books.tick(state, Observed(at(122), (replace(gone, at=at(122), energy_j=122 * 200.0),)), policy)
    assert state.ledger.device_energy_j[gpu(1)] == pytest.approx(122 * 200.0)


def test_a_device_that_vanished_shortly_before_the_end_is_a_gap_too() -> None:
    s = powered()
    s.go_on(0.0, {gpu(1): 100.0})
    state = books.tick(books.begin(at(0), ONE), s.tick(s.sample("a")), ONE)
    del s.energy_j[gpu(1)]
    for _ in range(30):
        s.go_on(1.0, {gpu(0): 90.0})
        state = books.tick(state, s.tick(s.sample("a")), ONE)
    assert books.finish(state, ONE).ledger.gap_s == {(gpu(1), "no later reading"): pytest.approx(30.0)}


def test_a_device_that_is_read_every_half_minute_is_not_missed_in_between() -> None:
    policy = Policy()
    state = books.begin(at(0), policy)
    for second in range(121):
        slow = [Reading(gpu(1), at(second), power_w=100.0)] if second % 30 == 0 else []
        state = books.tick(state, Observed(at(second), tuple(slow)), policy)
    state = books.finish(state, policy)
    assert state.ledger.device_energy_j == {gpu(1): pytest.approx(12_000.0)}
    assert not state.ledger.gap_s


def test_idle_node_joules_are_shared_by_the_engines_and_not_by_the_groups_they_were_once_in() -> None:
    """b joins a on its GPU; from then on each has half of what the idle machine takes."""
    s = powered()
    s.go_on(0.0, {CPU: 50.0})
    alone, both = ONE, Policy(rules=Rules(engines={"a": None, "b": None}))
    state = books.tick(books.begin(at(0), alone), s.tick(s.sample("a")), alone)
    s.book("b")
    for second in range(1, 121):
        s.go_on(1.0, {gpu(0): 90.0, CPU: 50.0})
        policy, more = (both, [s.sample("b")]) if second > 20 else (alone, [])
        state = books.tick(state, s.tick(s.sample("a"), *more), policy)
    cpu = {e: j for (e, _, _, kind), j in books.finish(state, both).ledger.energy_j.items() if kind is DeviceKind.CPU}
    assert cpu == {"a": pytest.approx(70 * 50.0, rel=0.05), "b": pytest.approx(50 * 50.0, rel=0.05)}


@pytest.mark.parametrize("pages", [1, 3])
def test_idle_joules_are_booked_to_no_more_models_than_tokens_are(pages: int) -> None:
    s = powered()
    for n in range(MAX_MODELS + 50):
        s.book("a", model=f"m{n:03}", generated=1)
    state = books.begin(at(0), ONE)
    for second in range(16):
        replies = [s.sample("a")] if second % 5 == 0 and second < 5 * pages else []
        state = books.tick(state, s.tick(*replies), ONE)
        s.go_on(1.0, {gpu(0): 90.0})
    models = {model for _, model, _, _ in books.finish(state, ONE).ledger.energy_j}
    assert len(models) == MAX_MODELS + 1
    assert OTHER_MODEL in models


def test_a_device_whose_reading_failed_shows_no_power() -> None:
    s = powered()
    state = books.tick(books.begin(at(0), ONE), s.tick(), ONE)
    s.go_on(1.0, {gpu(0): 90.0})
    state = books.tick(state, s.tick(), ONE)
    s.go_on(1.0, {gpu(0): 90.0})
    state = books.tick(state, s.tick(failed=frozenset({gpu(0)})), ONE)
    (shown,) = books.snapshot(state, ONE).devices
    assert shown.power_w is None
