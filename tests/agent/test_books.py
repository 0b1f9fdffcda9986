"""Whole ticks: readings and pages in, booked joules out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import books
from agent.accounts import Rules
from agent.books import Books, Policy
from agent.model import Device, DeviceKind, EnergyPrice, GridIntensity, Ledger, ProcessUse, Reading, TokenType
from agent.pricing import Site
from agent.settlement import pending_j
from tests.fakes.service import CPU, WALL_S, Service, at, gpu

ONE = Policy(rules=Rules(engines={"a": None}))
TWO = Policy(rules=Rules(engines={"a": ("GPU-0",), "b": ("GPU-1",)}))


def start(policy: Policy, service: Service) -> Books:
    state = books.begin(at(service.mono_s), policy)
    replies = [service.sample(e) for e in policy.rules.engines]
    return books.tick(state, service.tick(*replies), policy)


def by_use(ledger: Ledger, kind: DeviceKind | None = None) -> dict[tuple[str, str, str], float]:
    out: dict[tuple[str, str, str], float] = {}
    for (engine, model, use, k), joules in ledger.energy_j.items():
        if kind in (None, k):
            out[engine, model, use.value] = out.get((engine, model, use.value), 0.0) + joules
    return out


def assert_conserved(state: Books) -> None:
    """In every scrape: shares plus what waits are the devices' joules, per kind."""
    waits = pending_j(state.settlement)
    for kind in DeviceKind:
        devices = sum(j for d, j in state.ledger.device_energy_j.items() if d.kind is kind)
        shares = sum(j for (_, _, _, k), j in state.ledger.energy_j.items() if k is kind)
        assert shares + waits.get(kind, 0.0) == pytest.approx(devices, rel=1e-9, abs=1e-9)


def warm(service: Service, devices: Mapping[Device, float]) -> Service:
    service.go_on(0.0, devices)
    return service


def test_work_is_split_by_weighted_tokens_and_idle_stays_idle() -> None:
    s = warm(Service(), {gpu(0): 90.0})
    s.book("a")
    state = start(ONE, s)
    for second in range(20):
        busy = 5 <= second < 15
        s.running["a"] = 1.0 if busy else 0.0
        s.go_on(1.0, {gpu(0): 500.0 if busy else 90.0})
        if busy:
            s.book("a", generated=40, computed=100, cached=300)
        state = books.tick(state, s.tick(s.sample("a")), ONE)
        assert_conserved(state)
    state = books.finish(state, ONE)
    uses = by_use(state.ledger)
    assert sum(uses.values()) == pytest.approx(10 * 500 + 10 * 90)
    # The boundary seconds are mixed; everything else is exact.
    assert uses["a", "m", "idle"] == pytest.approx(900, abs=100)
    weight = 0.12 * 100 / (0.12 * 100 + 40)
    active = uses["a", "m", "prefill"] + uses["a", "m", "decode"]
    assert uses["a", "m", "prefill"] / active == pytest.approx(weight)
    assert state.ledger.tokens["a", "m", TokenType.GENERATED] == 400
    assert state.ledger.tokens["a", "m", TokenType.PROMPT_CACHED] == 3000


def test_a_gpu_that_serves_nobody_is_charged_to_nobody() -> None:
    s = warm(Service(running={"a": 1.0}), {gpu(0): 300.0, gpu(7): 70.0})
    policy = Policy(rules=Rules(engines={"a": ("GPU-0",)}))
    s.book("a")
    state = start(policy, s)
    for _ in range(10):
        s.go_on(1.0, {gpu(0): 300.0, gpu(7): 70.0})
        s.book("a", generated=10)
        state = books.tick(state, s.tick(s.sample("a")), policy)
    uses = by_use(books.finish(state, policy).ledger)
    assert uses == {("", "", "unassigned"): pytest.approx(700.0), ("a", "m", "decode"): pytest.approx(3000.0)}


def test_an_index_names_a_gpu_as_well_as_its_uuid() -> None:
    s = warm(Service(running={"a": 1.0}), {gpu(3): 300.0})
    policy = Policy(rules=Rules(engines={"a": (3,)}))
    s.book("a")
    state = start(policy, s)
    for _ in range(5):
        s.go_on(1.0, {gpu(3): 300.0})
        s.book("a", generated=10)
        seen = s.tick(s.sample("a"))
        seen = replace(seen, readings=tuple(replace(r, index=3) for r in seen.readings))
        state = books.tick(state, seen, policy)
    assert by_use(books.finish(state, policy).ledger)["a", "m", "decode"] == pytest.approx(1500.0)


def test_two_engines_on_their_own_gpus_share_the_node_by_gpu_work() -> None:
    s = warm(Service(running={"a": 1.0, "b": 1.0}), {gpu(0): 600.0, gpu(1): 200.0, CPU: 100.0})
    s.book("a")
    s.book("b")
    state = start(TWO, s)
    for _ in range(10):
        s.go_on(1.0, {gpu(0): 600.0, gpu(1): 200.0, CPU: 100.0})
        s.book("a", generated=50)
        s.book("b", generated=50)
        state = books.tick(state, s.tick(s.sample("a"), s.sample("b")), TWO)
        assert_conserved(state)
    cpu = by_use(books.finish(state, TWO).ledger, DeviceKind.CPU)
    assert cpu["a", "m", "decode"] == pytest.approx(750.0)
    assert cpu["b", "m", "decode"] == pytest.approx(250.0)


def test_two_engines_on_one_gpu_share_it_by_weighted_tokens() -> None:
    policy = Policy(rules=Rules(engines={"a": None, "b": None}))
    s = warm(Service(running={"a": 1.0, "b": 1.0}), {gpu(0): 400.0})
    s.book("a")
    s.book("b")
    state = start(policy, s)
    for _ in range(10):
        s.go_on(1.0, {gpu(0): 400.0})
        s.book("a", generated=30)
        s.book("b", generated=10)
        state = books.tick(state, s.tick(s.sample("a"), s.sample("b")), policy)
    uses = by_use(books.finish(state, policy).ledger)
    assert uses["a", "m", "decode"] == pytest.approx(3000.0)
    assert uses["b", "m", "decode"] == pytest.approx(1000.0)


def shared_gpu(sm: dict[int, float], seconds: int = 20) -> dict[tuple[str, str, str], float]:
    """Two engines with as many tokens each on one GPU; sm by process: 1 is a's, 2 is b's, others are strangers."""
    policy = Policy(rules=Rules(engines={"a": None, "b": None}))
    s = warm(Service(running={"a": 1.0, "b": 1.0}), {gpu(0): 400.0})
    s.book("a")
    s.book("b")
    state = start(policy, s)
    for _ in range(seconds):
        s.go_on(1.0, {gpu(0): 400.0})
        s.book("a", generated=10)
        s.book("b", generated=10)
        seen = s.tick(s.sample("a"), s.sample("b"))
        uses = tuple(ProcessUse(pid, share) for pid, share in sm.items())
        readings = tuple(replace(r, processes=uses) for r in seen.readings)
        seen = replace(seen, readings=readings, pids={"a": frozenset({1}), "b": frozenset({2})})
        state = books.tick(state, seen, policy)
        assert_conserved(state)
    return by_use(books.finish(state, policy).ledger)


def test_on_a_shared_gpu_the_drivers_word_on_processes_goes_before_tokens() -> None:
    uses = shared_gpu({1: 0.6, 2: 0.2})
    assert uses["a", "m", "decode"] == pytest.approx(6000.0)
    assert uses["b", "m", "decode"] == pytest.approx(2000.0)


def test_a_stranger_on_a_shared_gpu_is_foreign_and_nobodys() -> None:
    uses = shared_gpu({1: 0.3, 2: 0.3, 77: 0.2})
    assert uses["", "", "foreign"] == pytest.approx(2000.0)
    assert uses["a", "m", "decode"] == pytest.approx(3000.0)


def test_without_the_drivers_word_a_shared_gpu_goes_by_tokens() -> None:
    assert shared_gpu({}) == {
        ("a", "m", "decode"): pytest.approx(4000.0),
        ("b", "m", "decode"): pytest.approx(4000.0),
    }


def test_a_tensor_parallel_engine_gets_the_sum_over_its_group_only() -> None:
    policy = Policy(rules=Rules(engines={"a": ("GPU-0", "GPU-1"), "b": ("GPU-2",)}))
    s = warm(Service(running={"a": 1.0, "b": 1.0}), {gpu(n): 300.0 for n in range(3)})
    s.book("a")
    s.book("b")
    state = start(policy, s)
    for _ in range(10):
        s.go_on(1.0, {gpu(n): 300.0 for n in range(3)})
        s.book("a", generated=5)
        s.book("b", generated=500)
        state = books.tick(state, s.tick(s.sample("a"), s.sample("b")), policy)
    uses = by_use(books.finish(state, policy).ledger)
    assert uses["a", "m", "decode"] == pytest.approx(6000.0)
    assert uses["b", "m", "decode"] == pytest.approx(3000.0)


def test_several_models_of_one_engine_share_by_their_tokens() -> None:
    s = warm(Service(running={"a": 2.0}, models={"a": ("x", "y")}), {gpu(0): 400.0})
    s.book("a", model="x")
    s.book("a", model="y")
    state = start(ONE, s)
    for _ in range(10):
        s.go_on(1.0, {gpu(0): 400.0})
        s.book("a", generated=30, model="x")
        s.book("a", generated=10, model="y")
        state = books.tick(state, s.tick(s.sample("a")), ONE)
    uses = by_use(books.finish(state, ONE).ledger)
    assert uses["a", "x", "decode"] == pytest.approx(3000.0)
    assert uses["a", "y", "decode"] == pytest.approx(1000.0)


def test_energy_waits_for_tokens_that_are_booked_at_the_end_of_a_request() -> None:
    s = warm(Service(running={"a": 0.0}), {gpu(0): 90.0})
    s.book("a")
    state = start(ONE, s)
    for second in range(30):
        s.running["a"] = 1.0
        s.go_on(1.0, {gpu(0): 400.0})
        if second == 1:
            s.book("a", computed=800)  # at the first token
        state = books.tick(state, s.tick(s.sample("a")), ONE)
        assert_conserved(state)
    assert pending_j(state.settlement)[DeviceKind.GPU] == pytest.approx(30 * 400.0, rel=0.05)
    assert not by_use(state.ledger).get(("a", "m", "prefill"))
    s.running["a"] = 0.0
    s.book("a", generated=600)
    s.go_on(1.0, {gpu(0): 400.0})
    state = books.tick(state, s.tick(s.sample("a")), ONE)
    uses = by_use(books.finish(state, ONE).ledger)
    assert uses["a", "m", "decode"] / uses["a", "m", "prefill"] == pytest.approx(600 / (0.12 * 800))
    assert sum(uses.values()) == pytest.approx(31 * 400.0)


def test_a_prefill_only_service_is_work() -> None:
    s = warm(Service(running={"a": 1.0}), {gpu(0): 400.0})
    s.book("a")
    state = start(ONE, s)
    for _ in range(200):
        s.go_on(1.0, {gpu(0): 400.0})
        s.book("a", computed=5000)
        state = books.tick(state, s.tick(s.sample("a")), ONE)
        assert pending_j(state.settlement).get(DeviceKind.GPU, 0.0) <= 400.0 * 71
    uses = by_use(books.finish(state, ONE).ledger)
    assert uses == {("a", "m", "prefill"): pytest.approx(200 * 400.0)}


def test_tokens_that_never_come_leave_energy_unattributed_but_with_its_engine() -> None:
    s = warm(Service(running={"a": 1.0}), {gpu(0): 400.0})
    s.book("a")
    state = start(ONE, s)
    for _ in range(120):
        s.go_on(1.0, {gpu(0): 400.0})
        state = books.tick(state, s.tick(s.sample("a")), ONE)
        assert pending_j(state.settlement)[DeviceKind.GPU] <= 400.0 * 71
    assert by_use(books.finish(state, ONE).ledger) == {("a", "", "unattributed"): pytest.approx(120 * 400.0)}


def test_work_whose_tokens_never_came_goes_where_the_last_known_work_went() -> None:
    s = warm(Service(running={"a": 1.0}), {gpu(0): 400.0})
    s.book("a")
    state = start(ONE, s)
    for second in range(130):
        s.go_on(1.0, {gpu(0): 400.0})
        if second < 10:
            s.book("a", generated=60, computed=500)
        state = books.tick(state, s.tick(s.sample("a")), ONE)
    uses = by_use(books.finish(state, ONE).ledger)
    assert sum(uses.values()) == pytest.approx(130 * 400.0)
    assert uses["a", "m", "prefill"] == pytest.approx(uses["a", "m", "decode"])


def test_energy_of_an_engine_that_cannot_be_read_waits_and_is_then_nobodys() -> None:
    s = warm(Service(running={"a": 1.0}), {gpu(0): 400.0})
    s.book("a", generated=0)
    state = start(ONE, s)
    for _ in range(50):
        s.go_on(1.0, {gpu(0): 400.0})
        state = books.tick(state, s.tick(s.down("a")), ONE)
        assert_conserved(state)
    assert not state.ledger.energy_j
    for _ in range(60):
        s.go_on(1.0, {gpu(0): 400.0})
        state = books.tick(state, s.tick(s.down("a")), ONE)
        assert_conserved(state)
    assert set(by_use(state.ledger)) == {("", "", "unattributed")}
    assert pending_j(state.settlement)[DeviceKind.GPU] <= 400.0 * 71


def test_energy_of_a_short_outage_goes_to_the_engine_when_it_is_back() -> None:
    s = warm(Service(running={"a": 1.0}), {gpu(0): 400.0})
    s.book("a")
    state = start(ONE, s)
    for second in range(40):
        s.go_on(1.0, {gpu(0): 400.0})
        s.book("a", generated=10)
        reply = s.down("a") if 5 <= second < 35 else s.sample("a")
        state = books.tick(state, s.tick(reply), ONE)
    uses = by_use(books.finish(state, ONE).ledger)
    assert uses == {("a", "m", "decode"): pytest.approx(16_000.0)}
    assert state.ledger.tokens["a", "m", TokenType.GENERATED] == 400


def test_one_unreadable_engine_does_not_delay_the_others() -> None:
    s = warm(Service(running={"a": 1.0, "b": 1.0}), {gpu(0): 300.0, gpu(1): 300.0})
    s.book("a")
    s.book("b")
    state = start(TWO, s)
    for _ in range(40):
        s.go_on(1.0, {gpu(0): 300.0, gpu(1): 300.0})
        s.book("a", generated=10)
        state = books.tick(state, s.tick(s.sample("a"), s.down("b")), TWO)
    uses = by_use(state.ledger)
    assert uses["a", "m", "decode"] >= 300.0 * 30
    assert not any(engine == "b" for engine, _, _ in uses)


def test_an_unreadable_neighbour_on_a_shared_gpu_is_not_guessed_at() -> None:
    policy = Policy(rules=Rules(engines={"a": None, "b": None}))
    s = warm(Service(running={"a": 1.0, "b": 1.0}), {gpu(0): 300.0})
    s.book("a")
    s.book("b")
    state = start(policy, s)
    for _ in range(200):
        s.go_on(1.0, {gpu(0): 300.0})
        s.book("a", generated=10)
        state = books.tick(state, s.tick(s.sample("a"), s.down("b")), policy)
        assert_conserved(state)
    assert set(by_use(books.finish(state, policy).ledger)) == {("", "", "unattributed")}


def test_an_engine_restart_loses_no_token_and_no_joule() -> None:
    s = warm(Service(running={"a": 1.0}), {gpu(0): 300.0})
    s.book("a", generated=1_000_000)
    state = start(ONE, s)
    for second in range(20):
        s.go_on(1.0, {gpu(0): 300.0})
        if second == 10:
            s.tokens = dict.fromkeys(s.tokens, 0.0)
        s.book("a", generated=10)
        state = books.tick(state, s.tick(s.sample("a")), ONE)
        assert_conserved(state)
    state = books.finish(state, ONE)
    assert state.ledger.tokens["a", "m", TokenType.GENERATED] == 200
    assert sum(by_use(state.ledger).values()) == pytest.approx(6000.0)


def test_without_engines_energy_is_measured_and_unassigned() -> None:
    s = warm(Service(), {gpu(0): 300.0, CPU: 50.0})
    policy = Policy()
    state = start(policy, s)
    for _ in range(10):
        s.go_on(1.0, {gpu(0): 300.0, CPU: 50.0})
        state = books.tick(state, s.tick(), policy)
    assert by_use(books.finish(state, policy).ledger) == {("", "", "unassigned"): pytest.approx(3500.0)}


def test_on_a_machine_without_gpu_the_cpu_is_the_engines() -> None:
    s = warm(Service(), {CPU: 20.0})
    s.book("a")
    state = start(ONE, s)
    for second in range(30):
        busy = 10 <= second < 20
        s.running["a"] = 1.0 if busy else 0.0
        s.go_on(1.0, {CPU: 80.0 if busy else 20.0})
        s.book("a", generated=10 if busy else 0)
        state = books.tick(state, s.tick(s.sample("a")), ONE)
    uses = by_use(books.finish(state, ONE).ledger)
    assert uses["a", "m", "decode"] == pytest.approx(800.0, abs=100)
    assert uses["a", "m", "idle"] == pytest.approx(400.0, abs=100)


def test_without_gpus_two_engines_share_the_cpu_by_their_cpu_time() -> None:
    policy = Policy(rules=Rules(engines={"a": None, "b": None}))
    s = warm(Service(running={"a": 1.0, "b": 1.0}), {CPU: 80.0})
    s.book("a")
    s.book("b")
    state = start(policy, s)
    for second in range(20):
        s.go_on(1.0, {CPU: 80.0})
        s.book("a", generated=10)
        s.book("b", generated=10)
        seen = replace(s.tick(s.sample("a"), s.sample("b")), cpu_s={"a": 0.75 * second, "b": 0.25 * second})
        state = books.tick(state, seen, policy)
    uses = by_use(books.finish(state, policy).ledger)
    assert uses["a", "m", "decode"] / uses["b", "m", "decode"] == pytest.approx(3.0, rel=0.05)


def test_grams_are_summed_by_interval_and_never_from_a_mean() -> None:
    clean = GridIntensity("Z", 100.0, "test", valid_to_s=WALL_S + 50)
    dirty = GridIntensity("Z", 500.0, "test", valid_from_s=WALL_S + 50)
    policy = replace(ONE, site=Site(pue=1.5))
    s = warm(Service(grid=(clean, dirty), running={"a": 1.0}), {gpu(0): 100.0})
    s.book("a")
    state = start(policy, s)
    for second in range(100):
        s.go_on(1.0, {gpu(0): 100.0 if second < 50 else 700.0})
        s.book("a", generated=10)
        state = books.tick(state, s.tick(s.sample("a")), policy)
    ledger = books.finish(state, policy).ledger
    grams = (50 * 100.0 * 100.0 + 50 * 700.0 * 500.0) / 3.6e6
    assert sum(ledger.it_gco2e.values()) == pytest.approx(grams, rel=1e-6)
    assert sum(ledger.facility_gco2e.values()) == pytest.approx(1.5 * grams, rel=1e-6)


def test_without_an_intensity_there_are_no_grams_at_all() -> None:
    s = warm(Service(running={"a": 1.0}), {gpu(0): 100.0})
    s.book("a")
    state = start(ONE, s)
    s.go_on(6.0, {gpu(0): 100.0})
    s.book("a", generated=10)
    state = books.finish(books.tick(state, s.tick(s.sample("a")), ONE), ONE)
    assert state.ledger.energy_j
    assert not state.ledger.facility_gco2e


def test_node_overhead_is_priced_and_shared_but_never_in_the_joules() -> None:
    policy = replace(ONE, site=Site(node_overhead_w=50.0, pue=2.0))
    grid = (GridIntensity("Z", 360.0, "test"),)
    s = warm(Service(grid=grid, running={"a": 1.0}), {gpu(0): 100.0})
    s.book("a")
    state = start(policy, s)
    for _ in range(10):
        s.go_on(1.0, {gpu(0): 100.0})
        s.book("a", generated=10)
        state = books.tick(state, s.tick(s.sample("a")), policy)
    ledger = books.finish(state, policy).ledger
    assert sum(ledger.energy_j.values()) == pytest.approx(1000.0)
    assert sum(ledger.overhead_j.values()) == pytest.approx(500.0)
    assert sum(ledger.facility_gco2e.values()) == pytest.approx(1500.0 * 2 * 360.0 / 3.6e6)


def test_headlines_are_ratios_of_the_books_and_absent_without_tokens() -> None:
    s = warm(Service(running={"a": 1.0}), {gpu(0): 200.0})
    s.book("a")
    state = start(ONE, s)
    for _ in range(60):
        s.go_on(1.0, {gpu(0): 200.0})
        s.book("a", generated=20, computed=10)
        state = books.tick(state, s.tick(s.sample("a")), ONE)
    shown = {(h.window, h.boundary): h for h in books.snapshot(state, ONE).headlines}
    assert shown["1m", "active"].generated_per_joule == pytest.approx(0.1)
    assert shown["1m", "serving"].all_per_joule == pytest.approx(0.15)
    assert shown["1m", "active"].joules_per_request is None
    for _ in range(70):
        s.running["a"] = 0.0
        s.go_on(1.0, {gpu(0): 90.0})
        state = books.tick(state, s.tick(s.sample("a")), ONE)
    assert {h.window for h in books.snapshot(state, ONE).headlines} == {"5m", "1h"}


# -- properties over any devices, engines, resets and gaps

steps = st.lists(
    st.fixed_dictionaries(
        {
            "seconds": st.sampled_from([0.5, 1.0, 1.0, 5.0, 30.0]),
            "watts": st.lists(st.floats(0, 700), min_size=3, max_size=3),
            "tokens": st.lists(st.integers(0, 500), min_size=2, max_size=2),
            "prompts": st.lists(st.integers(0, 500), min_size=2, max_size=2),
            "running": st.lists(st.integers(0, 3), min_size=2, max_size=2),
            "replies": st.lists(st.sampled_from(["page", "page", "page", "down", "nothing"]), min_size=2, max_size=2),
            "failed": st.sets(st.integers(0, 2)),
            "reset": st.sets(st.integers(0, 2)),
            "restart": st.booleans(),
        }
    ),
    min_size=1,
    max_size=40,
)
Story = list[dict[str, Any]]
layouts = st.sampled_from(
    [
        Rules(engines={}),
        Rules(engines={"a": None}),
        Rules(engines={"a": None, "b": None}),
        Rules(engines={"a": ("GPU-0",), "b": ("GPU-1",)}),
        Rules(engines={"a": ("GPU-0", "GPU-1"), "b": ("GPU-1",)}, max_pending_s=8.0),
        Rules(engines={"a": ()}, node_shared=False),
    ]
)


def play(
    story: Story,
    policy: Policy,
    *,
    shuffled: bool = False,
    grid: tuple[GridIntensity, ...] = (),
    prices: tuple[EnergyPrice, ...] = (),
    after: Callable[[Books], Books] = lambda state: state,
) -> list[Books]:
    """after: what becomes of the books after each tick."""
    devices = [gpu(0), gpu(1), CPU]
    s = warm(Service(grid=grid), dict.fromkeys(devices, 50.0))
    for e in ("a", "b"):
        s.book(e)
    state = start(policy, s)
    history = [state]
    for step in story:
        s.go_on(step["seconds"], dict(zip(devices, step["watts"], strict=True)))
        for n in step["reset"]:
            s.energy_j[devices[n]] = 0.0
        if step["restart"]:
            s.tokens = dict.fromkeys(s.tokens, 0.0)
        replies = []
        for n, e in enumerate(("a", "b")):
            s.running[e] = step["running"][n]
            s.book(e, generated=step["tokens"][n], computed=step["prompts"][n])
            how = step["replies"][n]
            if e in policy.rules.engines and how != "nothing":
                replies.append(s.sample(e) if how == "page" else s.down(e))
        seen = s.tick(*replies, failed=frozenset(devices[n] for n in step["failed"]))
        if shuffled:
            seen = replace(seen, readings=seen.readings[::-1], engines=seen.engines[::-1])
        state = after(books.tick(state, replace(seen, prices=prices), policy))
        history.append(state)
    history.append(books.finish(state, policy))
    return history


@settings(max_examples=150, deadline=None)
@given(steps, layouts)
def test_every_joule_is_in_exactly_one_place_at_every_tick(story: Story, rules: Rules) -> None:
    for state in play(story, Policy(rules=rules)):
        assert_conserved(state)
    assert not any(j > 1e-6 for j in pending_j(state.settlement).values())


@settings(max_examples=60, deadline=None)
@given(steps, layouts)
def test_no_total_ever_goes_down(story: Story, rules: Rules) -> None:
    policy = Policy(rules=rules, site=Site(pue=1.2, node_overhead_w=20.0))
    history = play(story, policy, grid=(GridIntensity("Z", 300.0, "test"),))
    assert history[-1].ledger.facility_gco2e or not history[-1].ledger.energy_j
    for before, after in pairwise(history):
        for name in ("device_energy_j", "gap_s", "energy_j", "tokens", "requests", "overhead_j", "facility_gco2e"):
            old, new = getattr(before.ledger, name), getattr(after.ledger, name)
            assert all(new[k] >= v for k, v in old.items())


@settings(max_examples=60, deadline=None)
@given(steps, layouts)
def test_the_order_of_devices_and_engines_does_not_matter(story: Story, rules: Rules) -> None:
    plain = play(story, Policy(rules=rules))[-1].ledger
    shuffled = play(story, Policy(rules=rules), shuffled=True)[-1].ledger
    assert plain.tokens == shuffled.tokens
    for key in {*plain.energy_j, *shuffled.energy_j}:
        joules = plain.energy_j.get(key, 0.0)  # a sum's last digit may round to nothing at all
        assert shuffled.energy_j.get(key, 0.0) == pytest.approx(joules, rel=1e-9, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.floats(100, 600), st.integers(1, 400), st.integers(0, 400))
def test_splitting_a_window_in_two_changes_no_total(windows: int, watts: float, generated: int, prompt: int) -> None:
    """The same steady service, accounted every 5 s and every 10 s."""
    totals = []
    for window_s in (5.0, 10.0):
        # A fixed weight: what is learned depends on what was booked until then, and so on the windows.
        policy = Policy(rules=Rules(engines={"a": None}, prefill_weight=0.12, window_s=window_s))
        s = warm(Service(running={"a": 1.0}), {gpu(0): watts, CPU: 60.0})
        s.book("a")
        state = start(policy, s)
        for _ in range(windows * 10):
            s.go_on(1.0, {gpu(0): watts, CPU: 60.0})
            s.book("a", generated=generated, computed=prompt)
            state = books.tick(state, s.tick(s.sample("a")), policy)
        totals.append(by_use(books.finish(state, policy).ledger))
    assert totals[0] == pytest.approx(totals[1], rel=1e-9)


def test_a_device_seen_for_the_first_time_is_shown_with_what_is_known() -> None:
    state = books.begin(at(0), ONE)
    reading = Reading(gpu(0), at(1), energy_j=5.0, name="H100", index=2)
    error = Reading(gpu(1), at(1), error="gone")
    state = books.tick(state, replace(Service().tick(), at=at(1), readings=(reading, error)), ONE)
    (shown,) = books.snapshot(state, ONE).devices
    assert (shown.device, shown.name, shown.index, shown.power_w) == (gpu(0), "H100", 2, None)


def test_readings_a_little_later_than_the_last_tick_leave_nothing_pending_at_the_end() -> None:
    """Devices are read one after the other, so each is dated a few milliseconds after the tick that asked it."""
    s = warm(Service(), {gpu(0): 100.0, CPU: 50.0})
    state = start(ONE, s)
    for _ in range(7):
        s.go_on(1.0, {gpu(0): 100.0, CPU: 50.0})
        late = replace(s.tick(s.sample("a")), at=at(s.mono_s - 0.004))
        state = books.tick(state, late, ONE)
    state = books.finish(state, ONE)
    assert sum(pending_j(state.settlement).values()) == 0.0
    assert_conserved(state)
