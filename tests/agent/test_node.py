"""The node's joules (cpu, dram, host) among several engines, case by case."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent import books
from agent.accounts import Rules
from agent.books import Books, Policy
from agent.model import DeviceKind, ProcessUse
from tests.fakes.service import CPU, Service, at, gpu

OWN = Policy(rules=Rules(engines={"a": ("GPU-0",), "b": ("GPU-1",)}))
ALL = Policy(rules=Rules(engines={"a": None, "b": None}))


def started(policy: Policy, *, gpus: int = 2, running: tuple[float, float] = (1.0, 1.0)) -> tuple[Service, Books]:
    s = Service(running={"a": running[0], "b": running[1]})
    s.go_on(0.0, {CPU: 100.0, **{gpu(n): 300.0 for n in range(gpus)}})
    s.book("a")
    s.book("b")
    return s, books.tick(books.begin(at(0), policy), s.tick(s.sample("a"), s.sample("b")), policy)


def of(state: Books, kind: DeviceKind = DeviceKind.CPU) -> dict[tuple[str, str], float]:
    """Joules of a kind by engine and use."""
    out: dict[tuple[str, str], float] = {}
    for (engine, _, use, k), joules in state.ledger.energy_j.items():
        if k is kind:
            out[engine, str(use)] = out.get((engine, str(use)), 0.0) + joules
    return out


def test_node_joules_that_are_not_to_be_shared_are_nobodys() -> None:
    policy = Policy(rules=replace(OWN.rules, node_shared=False))
    s, state = started(policy)
    for _ in range(10):
        s.go_on(1.0, {gpu(0): 300.0, gpu(1): 300.0, CPU: 100.0})
        s.book("a", generated=5)
        s.book("b", generated=5)
        state = books.tick(state, s.tick(s.sample("a"), s.sample("b")), policy)
    assert of(books.finish(state, policy)) == {("", "unassigned"): pytest.approx(1000.0)}


def test_an_engine_whose_pages_come_seldom_has_no_larger_claim_on_a_window() -> None:
    s, state = started(OWN)
    for second in range(1, 121):
        s.go_on(1.0, {gpu(0): 300.0, gpu(1): 300.0, CPU: 100.0})
        s.book("a", generated=5)
        s.book("b", generated=5)
        replies = [s.sample("a")] if second % 15 else [s.sample("a"), s.sample("b")]
        state = books.tick(state, s.tick(*replies), OWN)
    cpu = of(books.finish(state, OWN))
    assert cpu == {("a", "decode"): pytest.approx(6000.0), ("b", "decode"): pytest.approx(6000.0)}


def test_an_engine_that_cannot_be_read_claims_the_node_by_its_power_above_the_floor_alone() -> None:
    s, state = started(OWN, running=(1.0, 0.0))
    for second in range(1, 51):
        s.go_on(1.0, {gpu(0): 300.0, gpu(1): 80.0, CPU: 100.0})
        s.book("a", generated=5)
        state = books.tick(state, s.tick(s.sample("a"), s.sample("b") if second <= 20 else s.down("b")), OWN)
    cpu = of(books.finish(state, OWN))
    assert cpu == {("a", "decode"): pytest.approx(5000.0)}


def test_cpu_time_counts_in_the_window_in_which_it_was_used() -> None:
    """a works for half a minute, then b; process seconds that fall, when one ends, tell nothing."""
    s, state = started(ALL, gpus=0)
    cpu_s = {"a": 50.0, "b": 900.0}
    for second in range(1, 61):
        worker = "a" if second <= 30 else "b"
        cpu_s[worker] += 1.0
        if second == 30:
            cpu_s["b"] = 0.0
        s.running = {"a": float(worker == "a"), "b": float(worker == "b")}
        s.go_on(1.0, {CPU: 100.0})
        s.book(worker, generated=10)
        seen = replace(s.tick(s.sample("a"), s.sample("b")), cpu_s=dict(cpu_s))
        state = books.tick(state, seen, ALL)
    cpu = of(books.finish(state, ALL))
    assert cpu["a", "decode"] == pytest.approx(3000.0, rel=0.05)
    assert cpu["b", "decode"] == pytest.approx(3000.0, rel=0.05)


def test_processes_count_in_the_window_in_which_they_ran() -> None:
    s, state = started(ALL, gpus=1)
    for second in range(1, 61):
        s.go_on(1.0, {gpu(0): 300.0})
        s.book("a", generated=10)
        s.book("b", generated=10)
        ran = (ProcessUse(1 if second <= 30 else 2, 0.9),)
        seen = s.tick(s.sample("a"), s.sample("b"))
        readings = tuple(replace(r, processes=ran) for r in seen.readings)
        pids = {"a": frozenset({1}), "b": frozenset({2})}
        state = books.tick(state, replace(seen, readings=readings, pids=pids), ALL)
    gpus = of(books.finish(state, ALL), DeviceKind.GPU)
    assert gpus == {("a", "decode"): pytest.approx(9000.0), ("b", "decode"): pytest.approx(9000.0)}


def test_a_neighbour_whose_processes_are_not_seen_is_no_stranger() -> None:
    s, state = started(ALL, gpus=1)
    for _ in range(10):
        s.go_on(1.0, {gpu(0): 300.0})
        s.book("a", generated=10)
        s.book("b", generated=10)
        seen = s.tick(s.sample("a"), s.sample("b"))
        readings = tuple(replace(r, processes=(ProcessUse(1, 0.4), ProcessUse(2, 0.4))) for r in seen.readings)
        state = books.tick(state, replace(seen, readings=readings, pids={"a": frozenset({1})}), ALL)
    gpus = of(books.finish(state, ALL), DeviceKind.GPU)
    assert gpus == {("a", "decode"): pytest.approx(1500.0), ("b", "decode"): pytest.approx(1500.0)}
