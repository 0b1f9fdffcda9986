"""MIG instances in the place of GPUs: whose GPU it is, and what a token on each weighs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent import books, sharing
from agent.accounts import Rules
from agent.books import Policy
from agent.instances import in_view, parts_held, token_sizes
from agent.model import Instance, Reading
from tests.agent.test_books import assert_conserved, by_use, start, warm
from tests.fakes.service import Service, at, gpu

BIG, SMALL, OTHER = "MIG-b", "MIG-s", "MIG-o"
SEEN = (Instance(BIG, 40e9), Instance(SMALL, 10e9), Instance("MIG-free", 10e9))
GPU = Reading(gpu(0), at(1.0), index=0, instances=SEEN)


def test_an_instance_stands_for_the_gpu_that_it_is_a_part_of() -> None:
    rules = in_view(Rules(engines={"a": (BIG,), "b": (SMALL, "GPU-7"), "c": None, "d": (1,)}), [GPU])
    assert rules.engines == {"a": ("GPU-0",), "b": ("GPU-0", "GPU-7"), "c": None, "d": (1,)}
    assert rules.instances == {"a": (40e9,), "b": (10e9,)}


def test_an_instance_that_nobody_has_seen_names_no_gpu() -> None:
    rules = in_view(Rules(engines={"a": (OTHER,)}), [GPU])
    assert (rules.engines, rules.instances) == ({"a": (OTHER,)}, {})


def test_two_instances_of_one_gpu_are_one_gpu_and_a_token_weighs_as_one_of_them() -> None:
    rules = in_view(Rules(engines={"a": (BIG, SMALL), "b": (SMALL,)}), [GPU])
    assert rules.engines["a"] == ("GPU-0",)
    assert token_sizes(rules.instances, {"a", "b"}) == {"a": 25 / 40, "b": 10 / 40}
    assert parts_held(rules.instances, {"a", "b"}) == {"a": 50e9, "b": 10e9}


def test_beside_an_engine_whose_instance_is_not_known_tokens_weigh_the_same() -> None:
    assert token_sizes({"a": (40e9,)}, {"a", "b"}) == {"a": 1.0, "b": 1.0}
    assert parts_held({"a": (40e9,)}, {"a", "b"}) == {"a": 1.0, "b": 1.0}


def test_rules_without_instances_are_the_very_same() -> None:
    rules = Rules(engines={"a": None, "b": ("GPU-0",)})
    assert in_view(rules, [GPU]) is rules


@pytest.mark.parametrize(("gpus", "shares", "by"), [
    ({"a": (BIG,), "b": (SMALL,)}, (0.8, 0.2), "memory_tokens"),
    ({"a": (0,), "b": (SMALL,)}, (0.5, 0.5), "tokens"),
])  # fmt: skip
def test_engines_on_instances_share_work_by_memory_and_tokens_and_idle_by_memory(
    gpus: dict[str, tuple[str | int, ...]], shares: tuple[float, float], by: str
) -> None:
    policy = Policy(rules=Rules(engines=gpus, prefill_weight=0.12))
    s = warm(Service(running={"a": 1.0, "b": 1.0}), {gpu(0): 400.0})
    s.book("a")
    s.book("b")
    state = start(policy, s)
    for second in range(40):
        busy = second < 20
        s.running.update(a=float(busy), b=float(busy))
        s.go_on(1.0, {gpu(0): 400.0 if busy else 100.0})
        for e in "ab" if busy else "":
            s.book(e, generated=10)
        seen = s.tick(s.sample("a"), s.sample("b"))
        readings = tuple(replace(r, index=0, instances=SEEN) for r in seen.readings)
        state = books.tick(state, replace(seen, readings=readings), policy)
        assert_conserved(state)
    uses = by_use(books.finish(state, policy).ledger)
    work_j, idle_j = 20 * 400.0, 20 * 100.0
    for engine, share in zip("ab", shares, strict=True):
        assert uses[engine, "m", "decode"] == pytest.approx(share * work_j, rel=0.03)
        assert uses[engine, "m", "idle"] == pytest.approx(share * idle_j, rel=0.1)
        assert sharing.ways(state.settlement.accounts, engine) == (by,)
