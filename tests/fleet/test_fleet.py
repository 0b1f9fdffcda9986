"""The fleet that is made up: its machines balance their books, and its pages are its agents' own."""

from __future__ import annotations

import pytest

from tests.fleet.fleet import EVERY_S, Fleet, agents, kinds, stamped
from tests.fleet.machine import GPUS, PLAIN, Machine, pages, snapshots

MACHINE = Machine("00000000", "DE", ("a", "b"), (0.6, 0.3))


def samples(page: bytes) -> list[bytes]:
    return [line for line in page.splitlines() if not line.startswith(b"#")]


def test_a_machine_has_eight_gpus_two_engines_and_books_that_balance() -> None:
    seen = snapshots(MACHINE, 1.79e9, EVERY_S)
    for snapshot in (next(seen) for _ in range(40)):
        ledger = snapshot.ledger
        told_j = sum(ledger.device_energy_j.values())
        assert sum(ledger.energy_j.values()) + sum(snapshot.pending_j.values()) == pytest.approx(told_j, rel=1e-9)
    assert len(snapshot.devices) == GPUS + 4
    assert {(e, m) for e, m, _, _ in ledger.energy_j} == {("vllm-0", "a"), ("vllm-1", "b")}
    assert snapshot.at.wall_s == 1.79e9 + 39 * EVERY_S


def test_every_agent_serves_its_own_gpus_and_goes_on_at_its_own_pace() -> None:
    fleet = Fleet(agents(12), kinds(5), 1.79e9, stamped=False, last=2)
    with fleet:
        first, other = fleet.answer(0), fleet.answer(5)
        assert b'device="GPU-00000001-' in first
        assert b"GPU-00000000" not in first + other
        assert first.replace(b"GPU-00000001", b"GPU-00000006") == other
        assert fleet.answer(0) != first
        assert fleet.answer(0) == fleet.answer(0), "the last page stands"
        assert len({t["labels"]["instance"] for t in fleet.targets()}) == 12
    assert fleet.served == 0


def test_a_stamp_is_on_every_sample_and_on_nothing_else() -> None:
    page = next(pages(MACHINE, 1.79e9, EVERY_S))
    dated = stamped(page, 1.79e9 + 0.5)
    assert [line.removesuffix(b" 1790000000500") for line in dated.splitlines()] == page.splitlines()
    assert dated.count(b" 1790000000500\n") == len(samples(page))


def test_a_machine_with_fewer_accounts_has_fewer_series() -> None:
    full, plain = (len(samples(next(pages(m, 1.79e9, EVERY_S)))) for m in (kinds(1)[0], kinds(1, PLAIN)[0]))
    assert plain < full
