"""The books only grow."""

from __future__ import annotations

import math

import pytest

from agent.ledger import add, post_shares, post_work
from agent.model import DeviceKind, Instant, Ledger, ModelWork, Posting, Share, TokenType, Use, Work


def test_adding_leaves_the_old_totals_alone() -> None:
    old = {"a": 1.0}
    assert add(old, [("a", 2.0), ("b", 3.0), ("a", 1.0)]) == {"a": 4.0, "b": 3.0}
    assert old == {"a": 1.0}


@pytest.mark.parametrize("amount", [-1e-9, math.nan, math.inf])
def test_what_cannot_be_a_total_is_refused(amount: float) -> None:
    with pytest.raises(ValueError, match="cannot be booked"):
        add({}, [("a", amount)])


def test_shares_of_the_same_owner_add_up() -> None:
    share = Share(DeviceKind.GPU, Use.DECODE, "e", "m", 2.0)
    ledger = post_shares(Ledger(), Posting(Instant(0, 0), Instant(1, 1), (share, share)))
    assert ledger.energy_j == {("e", "m", Use.DECODE, DeviceKind.GPU): 4.0}


def test_tokens_that_the_engine_does_not_count_are_not_zero() -> None:
    work = Work("e", Instant(0, 0), Instant(1, 1), {"m": ModelWork(generated=5.0, requests={"stop": 1.0})}, 0, 0)
    ledger = post_work(Ledger(), work)
    assert ledger.tokens == {("e", "m", TokenType.GENERATED): 5.0}
    assert ledger.requests == {("e", "m", "stop"): 1.0}
